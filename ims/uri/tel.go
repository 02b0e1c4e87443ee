package uri

import "strings"

// IsPhone reports whether the user part is a telephone number: a tel URI, or a
// sip URI with user=phone.
func (u URI) IsPhone() bool {
	if u.Scheme == TEL {
		return true
	}
	v, ok := u.Param("user")
	return ok && equalFold(v, "phone")
}

// Number returns the telephone number as written, with visual separators and
// without the parameters that a user part may carry. For a URI that is no
// telephone number it is the user part up to the first ';'.
func (u URI) Number() string {
	n, _, _ := strings.Cut(u.User, ";")
	return n
}

// IsGlobalNumber reports whether u is a telephone number that begins with '+'.
func (u URI) IsGlobalNumber() bool {
	return len(u.User) > 1 && u.IsPhone() && nth(u.User, 0) == '+'
}

// nth returns the decoded octet at i.
func nth(s string, i int) byte {
	c, _, _ := next(s, i)
	return c
}

// UserParam returns a parameter that stands inside the user part, as
// phone-context does in "sip:0612;phone-context=h@h;user=phone".
func (u URI) UserParam(name string) (value string, ok bool) {
	_, params, _ := strings.Cut(u.User, ";")
	return lookup(params, name)
}

// PhoneContext returns the phone-context of a telephone number (RFC 3966
// 5.1.5), still escaped: of a tel URI, of the user part with user=phone, or,
// as some phones place it, of the URI parameters beside user=phone.
func (u URI) PhoneContext() (string, bool) {
	if !u.IsPhone() {
		return "", false
	}
	if u.Scheme != TEL {
		if v, ok := u.UserParam("phone-context"); ok {
			return v, ok
		}
	}
	return u.Param("phone-context")
}

// TelFromUserPhone turns "sip:+49123@home;user=phone" into "tel:+49123", with
// the telephone parameters of the user part, copying nothing (TS 24.229
// 5.3.2.1, RFC 3261 19.1.6). It is false unless u is a sip URI with user=phone
// and a telephone number as user, whose host is homeDomain; an empty homeDomain
// accepts every host. A phone-context among the URI parameters is not taken
// over: PhoneContext finds it.
func (u URI) TelFromUserPhone(homeDomain string) (URI, bool) {
	if !u.IsSIP() || !u.IsPhone() {
		return URI{}, false
	}
	if homeDomain != "" && !SameHost(u.Host, homeDomain) {
		return URI{}, false
	}
	number, params, has := strings.Cut(u.User, ";")
	if _, ok := checkNumber(number); !ok {
		return URI{}, false
	}
	if has && (checkParams(params) >= 0) {
		return URI{}, false
	}
	return URI{Scheme: TEL, User: number, Params: params}, true
}

// CanonicalNumber returns a telephone number without visual separators and
// escapes, hexadecimal digits in lower case. It allocates only if number
// is not so already.
func CanonicalNumber(number string) string {
	for i := 0; i < len(number); i++ {
		if c := number[i]; c == '%' || isSeparator(c) || lower(c) != c {
			return string(appendDigits(make([]byte, 0, len(number)), number, cPhone))
		}
	}
	return number
}
