package identity

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/gocscf/gocscf/ims/uri"
)

// maxWildcard bounds a wildcarded identity, in octets. The expression comes
// from the HSS; Go's engine runs in linear time whatever it is.
const maxWildcard = 512

// Wildcard is a wildcarded identity, such as "sip:chatlist!.*!@example.com" or
// "tel:+4930!.*!": an extended regular expression (POSIX 1003.1) between two
// '!' in the user part stands for many identities (TS 23.003 13.4A, 13.5).
type Wildcard struct {
	text           IMPU
	prefix, suffix string // literal, canonical, around the expression
	expr           *regexp.Regexp
}

// ParseWildcard reads a wildcarded identity.
func ParseWildcard(s string) (*Wildcard, error) {
	if len(s) > maxWildcard {
		return nil, fmt.Errorf("wildcarded identity of %d octets, more than %d", len(s), maxWildcard)
	}
	scheme, rest, _ := strings.Cut(s, ":")
	scheme = lowerASCII(scheme)
	user, host := rest, ""
	switch at := strings.LastIndexByte(rest, '@'); {
	case scheme == "tel" && at < 0:
	case (scheme == "sip" || scheme == "sips") && at > 0 && at < len(rest)-1:
		user, host = rest[:at], lowerASCII(rest[at:])
	default:
		return nil, fmt.Errorf("wildcarded identity %q: neither sip:…@host nor tel:…", s)
	}
	first, last := strings.IndexByte(user, '!'), strings.LastIndexByte(user, '!')
	if last <= first+1 {
		return nil, fmt.Errorf("wildcarded identity %q: no expression between two '!'", s)
	}
	// Compiled alone first: "a)|(b" must not escape the anchors.
	text := user[first+1 : last]
	if _, err := regexp.CompilePOSIX(text); err != nil {
		return nil, fmt.Errorf("wildcarded identity %q: %w", s, err)
	}
	expr, err := regexp.CompilePOSIX("^(" + text + ")$")
	if err != nil {
		return nil, fmt.Errorf("wildcarded identity %q: %w", s, err)
	}
	prefix := user[:first]
	if scheme == "tel" {
		prefix = uri.CanonicalNumber(prefix)
	}
	return &Wildcard{
		text:   IMPU(scheme + ":" + user + host),
		prefix: scheme + ":" + prefix,
		suffix: user[last+1:] + host,
		expr:   expr,
	}, nil
}

// IMPU returns the wildcarded identity itself, the key of its profile and the
// value of P-Profile-Key and Wildcarded-Public-Identity.
func (w *Wildcard) IMPU() IMPU { return w.text }

// Match reports whether u, in canonical form, is one of the identities. It
// allocates nothing.
func (w *Wildcard) Match(u IMPU) bool {
	s := string(u)
	if len(s) < len(w.prefix)+len(w.suffix) || !strings.HasPrefix(s, w.prefix) || !strings.HasSuffix(s, w.suffix) {
		return false
	}
	return w.expr.MatchString(s[len(w.prefix) : len(s)-len(w.suffix)])
}

// Literal returns how many octets of the wildcarded identity are literal. Of
// several that match, the one with the most is the most specific.
func (w *Wildcard) Literal() int { return len(w.prefix) + len(w.suffix) }
