package sip

import "errors"

// AccessNetworkInfo is one value of a P-Access-Network-Info (RFC 7315 §4.4, §5.4;
// access types in TS 24.229 §7.2A.4).
type AccessNetworkInfo struct {
	Type   string // "3GPP-E-UTRAN-FDD", "3GPP-NR-TDD", "IEEE-802.11", …; access-class likewise
	Params Params
}

var errAccessType = errors.New("sip: P-Access-Network-Info without an access type")

// ParseAccessNetworkInfo reads one value. Phones put white space around the
// semicolons and in front of the value.
func ParseAccessNetworkInfo(s string) (AccessNetworkInfo, error) {
	var a AccessNetworkInfo
	a.Type, a.Params = cutParams(s)
	if !isToken(a.Type) {
		return AccessNetworkInfo{}, errAccessType
	}
	return a, nil
}

// NetworkProvided reports whether the network put the value in, not the phone.
func (a AccessNetworkInfo) NetworkProvided() bool { return a.Params.Has("network-provided") }

// CellID returns the identity of the serving cell or access point, whatever the
// access calls it; "" when there is none.
func (a AccessNetworkInfo) CellID() string {
	for _, name := range [...]string{"utran-cell-id-3gpp", "cgi-3gpp", "ci-3gpp2", "utran-sai-3gpp", "i-wlan-node-id"} {
		if v, ok := a.Params.Get(name); ok {
			return v
		}
	}
	return ""
}

// AppendTo appends the value.
func (a AccessNetworkInfo) AppendTo(dst []byte) []byte {
	return appendParams(append(dst, a.Type...), a.Params)
}

func (a AccessNetworkInfo) String() string { return string(a.AppendTo(nil)) }
