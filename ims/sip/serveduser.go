package sip

// ServedUser is a P-Served-User (RFC 5502 §6; orig-cdiv of RFC 8498).
type ServedUser struct {
	Addr     NameAddr
	SesCase  string // "orig", "term" or ""
	RegState string // "reg", "unreg" or ""
	OrigCDIV bool
}

// ParseServedUser reads a header value.
func ParseServedUser(s string) (ServedUser, error) {
	a, err := ParseNameAddr(s)
	if err != nil {
		return ServedUser{}, err
	}
	u := ServedUser{Addr: a, OrigCDIV: a.Params.Has("orig-cdiv")}
	u.SesCase, _ = a.Params.Get("sescase")
	u.RegState, _ = a.Params.Get("regstate")
	return u, nil
}

// AppendTo appends the header value. Other parameters of Addr follow as they are.
func (u ServedUser) AppendTo(dst []byte) []byte {
	dst = NameAddr{Display: u.Addr.Display, URI: u.Addr.URI}.AppendTo(dst)
	if u.SesCase != "" {
		dst = appendParam(dst, "sescase", u.SesCase)
	}
	if u.RegState != "" {
		dst = appendParam(dst, "regstate", u.RegState)
	}
	if u.OrigCDIV {
		dst = appendParam(dst, "orig-cdiv", "")
	}
	return appendOthers(dst, u.Addr.Params, servedUserField)
}

var servedUserField = oneOf("sescase", "regstate", "orig-cdiv")

func (u ServedUser) String() string { return string(u.AppendTo(nil)) }
