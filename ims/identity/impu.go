package identity

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gocscf/gocscf/ims/uri"
)

// IMPU is a Public User Identity or Public Service Identity in canonical form:
// the Key of its URI (TS 23.003 13.4, 13.5). It may also be a wildcarded one,
// as the HSS sends it.
type IMPU string

// ErrIMPU is what every refusal of a public identity is.
var ErrIMPU = errors.New("not a public identity (sip:user@host or tel:number)")

// ParseIMPU reads a public identity, as from a To header, Public-Identity or a
// profile, into canonical form. Wildcarded identities, which need not be URIs,
// are taken too.
func ParseIMPU(s string) (IMPU, error) {
	u, err := ParseIMPUIn(s)
	if string(u) == s {
		u = IMPU(strings.Clone(s))
	}
	return u, err
}

// ParseIMPUIn is ParseIMPU without a copy: the identity may be s itself, which it then
// keeps in memory. Most are canonical as they come.
func ParseIMPUIn(s string) (IMPU, error) {
	u, err := uri.Parse(s)
	if err != nil {
		if w, wildErr := ParseWildcard(s); wildErr == nil {
			return w.IMPU(), nil
		}
		return "", fmt.Errorf("%w: %w", ErrIMPU, err)
	}
	if u.User == "" {
		return "", fmt.Errorf("%w: %.80q has no user", ErrIMPU, s)
	}
	var buf [96]byte
	if key := u.AppendKey(buf[:0]); string(key) != s {
		return IMPU(key), nil
	}
	return IMPU(s), nil
}

// IMPUOf returns the canonical form of the identity that u names.
func IMPUOf(u uri.URI) IMPU { return IMPU(u.Key()) }

// URI returns the identity as a URI. It fails for a wildcarded identity whose
// expression has characters that no URI may have.
func (u IMPU) URI() (uri.URI, error) { return uri.Parse(string(u)) }

// IsTel reports whether the identity is a tel URI.
func (u IMPU) IsTel() bool { return strings.HasPrefix(string(u), "tel:") }

// Domain returns the host of a sip identity; empty for tel.
func (u IMPU) Domain() string {
	if u.IsTel() {
		return ""
	}
	if at := strings.LastIndexByte(string(u), '@'); at >= 0 {
		return string(u[at+1:])
	}
	return ""
}

// Number returns the telephone number of a tel identity without its context.
func (u IMPU) Number() (string, bool) {
	n, ok := strings.CutPrefix(string(u), "tel:")
	n, _, _ = strings.Cut(n, ";")
	return n, ok
}

// SIPForm returns the sip identity of the same number in the home domain:
// "tel:+49123" gives "sip:+49123@home". A sip identity is its own.
func (u IMPU) SIPForm(homeDomain string) IMPU {
	n, ok := u.Number()
	if !ok {
		return u
	}
	return IMPU("sip:" + uri.EscapeUser(n) + "@" + lowerASCII(homeDomain))
}

// TelForm returns the tel identity of a sip identity whose user part is a
// global number in the home domain, and false for any other sip identity: that
// a user of digits alone is a telephone number, only user=phone can say, which
// a canonical form has no longer (see NormalizeTarget).
func (u IMPU) TelForm(homeDomain string) (IMPU, bool) {
	if u.IsTel() {
		return u, true
	}
	user, ok := strings.CutPrefix(string(u), "sip:")
	at := strings.LastIndexByte(user, '@')
	if !ok || at < 1 || user[0] != '+' || !uri.SameHost(user[at+1:], homeDomain) {
		return "", false
	}
	n := uri.CanonicalNumber(user[:at])
	if !digits(n[1:]) {
		return "", false
	}
	return IMPU("tel:" + n), true
}
