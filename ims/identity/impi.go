// Package identity holds the names of IMS subscribers as TS 23.003 clause 13
// has them: private identities (IMPI), public identities (IMPU), wildcarded
// ones, the names a UE without ISIM derives from its IMSI, and what a dialled
// number or URI names.
//
// IMPI and IMPU values made here are in canonical form and may be compared and
// used as map keys.
package identity

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gocscf/gocscf/ims/uri"
)

// IMPI is a Private User Identity: a network access identifier "user@realm",
// the realm in lower case (TS 23.003 13.3).
type IMPI string

// maxNAI bounds a network access identifier (RFC 7542 2.3).
const maxNAI = 253

// ErrIMPI is what every refusal of a private identity is.
var ErrIMPI = errors.New("not a private identity (user@realm)")

// ParseIMPI checks a private identity as it came in the username of an
// Authorization header or in User-Name. The user part keeps its case.
func ParseIMPI(s string) (IMPI, error) {
	id, err := ParseIMPIIn(s)
	if string(id) == s {
		id = IMPI(strings.Clone(s))
	}
	return id, err
}

// ParseIMPIIn is ParseIMPI without a copy: the identity may be s itself, which it then
// keeps in memory. Most are canonical as they come.
func ParseIMPIIn(s string) (IMPI, error) {
	at := strings.LastIndexByte(s, '@')
	switch {
	case len(s) > maxNAI:
		return "", fmt.Errorf("%w: %d octets, more than %d", ErrIMPI, len(s), maxNAI)
	case at < 0:
		return "", fmt.Errorf("%w: no '@' in %q", ErrIMPI, s)
	case at == 0 || at == len(s)-1:
		return "", fmt.Errorf("%w: %q has an empty user or realm", ErrIMPI, s)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '"' || i > at && c >= 0x80 {
			return "", fmt.Errorf("%w: octet %#02x in %q", ErrIMPI, c, s)
		}
	}
	if plainDomain(s[at+1:]) {
		return IMPI(s), nil
	}
	if _, err := uri.Parse("sip:" + s[at+1:]); err != nil || strings.ContainsAny(s[at+1:], ";?:[") {
		return "", fmt.Errorf("%w: realm of %q is no domain name", ErrIMPI, s)
	}
	return IMPI(s[:at+1] + lowerASCII(s[at+1:])), nil
}

// User returns the part before '@'.
func (p IMPI) User() string {
	user, _ := p.cut()
	return user
}

// Domain returns the realm, which is the home domain of a subscriber whose IMPI
// was derived from an IMSI.
func (p IMPI) Domain() string {
	_, domain := p.cut()
	return domain
}

func (p IMPI) cut() (user, domain string) {
	if at := strings.LastIndexByte(string(p), '@'); at >= 0 {
		return string(p[:at]), string(p[at+1:])
	}
	return string(p), ""
}

// IMSI returns the IMSI in an IMPI of the derived form, false for any other.
func (p IMPI) IMSI() (string, bool) {
	user, domain := p.cut()
	if _, ok := PLMNOf(domain); !ok || checkIMSI(user) != nil {
		return "", false
	}
	return user, true
}

// IMPIFromIMPU derives the private identity from the To of a REGISTER without
// Authorization (TS 24.229 5.3.1.2): the URI without its scheme and parameters.
// A tel URI has no realm and yields none.
func IMPIFromIMPU(u uri.URI) (IMPI, error) {
	if !u.IsSIP() || u.User == "" {
		return "", fmt.Errorf("%w: cannot derive it from %q, which is no sip URI with a user", ErrIMPI, u.Key())
	}
	return ParseIMPI(uri.Unescape(u.User) + "@" + u.Host)
}

// lowerASCII changes A to Z alone: of other letters some become ASCII in lower case, as the
// Kelvin sign does, and what is no UTF-8 would grow.
func lowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// plainDomain reports a domain name as nearly all are: in lower case, labels of
// letters, digits and inner hyphens. Others are looked at more closely.
func plainDomain(s string) bool {
	const longest = 253 // RFC 1035 2.3.4
	before := byte('.')
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '-' && before != '.':
		case c == '.' && before != '.' && before != '-':
		default:
			return false
		}
		before = c
	}
	return before != '.' && before != '-' && len(s) <= longest
}
