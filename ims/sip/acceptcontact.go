package sip

import "errors"

// AcceptContact is one value of Accept-Contact or Reject-Contact (RFC 3841 §9.2).
// Features are also parameters of a Contact: see [Features].
type AcceptContact struct {
	Features Features
	Require  bool
	Explicit bool
}

// Features are parameters that carry feature tags (RFC 3840 §9): "+g.3gpp.smsip",
// "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"", "audio".
type Features struct{ Params }

var errAcceptContact = errors.New("sip: Accept-Contact does not begin with an asterisk")

// ParseAcceptContact reads one value.
func ParseAcceptContact(s string) (AcceptContact, error) {
	v, params := cutParams(s)
	if v != "*" {
		return AcceptContact{}, errAcceptContact
	}
	return AcceptContact{Features{params}, params.Has("require"), params.Has("explicit")}, nil
}

// AppendTo appends the value. Require and Explicit are written first.
func (a AcceptContact) AppendTo(dst []byte) []byte {
	dst = append(dst, '*')
	if a.Require {
		dst = append(dst, ";require"...)
	}
	if a.Explicit {
		dst = append(dst, ";explicit"...)
	}
	return appendOthers(dst, a.Features.Params, acceptContactField)
}

var acceptContactField = oneOf("require", "explicit")

func (a AcceptContact) String() string { return string(a.AppendTo(nil)) }

// Contains reports whether the feature tag lists value, or has no value when
// value is "". Escapes in either do not matter (RFC 6050 §4 writes the colons of
// a URN as %3A); nor does letter case.
func (f Features) Contains(tag, value string) bool {
	raw, ok := f.Get(tag)
	if !ok || raw == "" || value == "" {
		return ok && raw == value
	}
	for v := range SplitValues(raw) {
		if equalFold(unescape(v), unescape(value)) {
			return true
		}
	}
	return false
}
