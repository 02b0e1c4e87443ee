package uri

import (
	"net/netip"
	"strings"
)

// Equal compares as RFC 3261 19.1.4 and RFC 3966 clause 4 say. It is not
// transitive, so it cannot order a map: use Key for that.
func Equal(a, b URI) bool {
	if a.Scheme != b.Scheme {
		return false // also sip against sips
	}
	if a.Scheme == TEL {
		return equalTel(a, b)
	}
	// Absent is not the default: "sip:h" and "sip:h:5060" differ.
	return equalEscaped(a.User, b.User, false) &&
		equalEscaped(a.Password, b.Password, false) &&
		SameHost(a.Host, b.Host) && a.Port == b.Port &&
		halfEqualParams(a, b) && halfEqualParams(b, a) &&
		halfEqualHeaders(a, b) && halfEqualHeaders(b, a)
}

// SameHost compares two hosts without case, and IPv6 addresses by value.
func SameHost(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	if a == "" || b == "" || a[0] != '[' || b[0] != '[' {
		return false
	}
	x, errX := netip.ParseAddr(strings.Trim(a, "[]"))
	y, errY := netip.ParseAddr(strings.Trim(b, "[]"))
	return errX == nil && errY == nil && x == y
}

// never lists the parameters that make a difference even if only one URI has
// them; any other parameter that only one has is ignored.
var never = [...]string{"transport", "user", "ttl", "method", "maddr"}

func halfEqualParams(a, b URI) bool {
	for name := range a.AllParams() {
		v, _ := a.Param(name) // the first counts if a name is repeated
		w, ok := b.Param(name)
		if ok {
			if !equalEscaped(v, w, true) {
				return false
			}
			continue
		}
		for _, n := range never {
			if equalEscaped(name, n, true) {
				return false
			}
		}
	}
	return true
}

func halfEqualHeaders(a, b URI) bool {
	for name, v := range a.AllHeaders() {
		found := false
		for n, w := range b.AllHeaders() {
			found = found || equalEscaped(name, n, true) && equalEscaped(v, w, true)
		}
		if !found {
			return false
		}
	}
	return true
}

// equalEscaped compares octet by octet. An escaped octet equals itself
// unescaped unless it is of the reserved set (RFC 3261 19.1.4).
func equalEscaped(a, b string, fold bool) bool {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		c, ce, n := next(a, i)
		d, de, m := next(b, j)
		if fold {
			c, d = lower(c), lower(d)
		}
		if c != d || ce != de && is(c, cReserved) {
			return false
		}
		i, j = i+n, j+m
	}
	return i == len(a) && j == len(b)
}

func equalTel(a, b URI) bool {
	return sameNumber(a.User, b.User) && halfEqualTelParams(a, b) && halfEqualTelParams(b, a)
}

// halfEqualTelParams: with tel, a parameter that only one has does make a difference.
func halfEqualTelParams(a, b URI) bool {
	for name := range a.AllParams() {
		v, _ := a.Param(name)
		w, ok := b.Param(name)
		if !ok {
			return false
		}
		number := equalEscaped(name, "ext", true) ||
			equalEscaped(name, "phone-context", true) && strings.HasPrefix(v, "+")
		if number && !sameNumber(v, w) || !number && !equalEscaped(v, w, true) {
			return false
		}
	}
	return true
}

// sameNumber compares digits without case and visual separators. A global
// number differs from a local one by its '+'.
func sameNumber(a, b string) bool {
	i, j := 0, 0
	for {
		c, okC := nextDigit(a, &i)
		d, okD := nextDigit(b, &j)
		if c != d || okC != okD {
			return false
		}
		if !okC {
			return true
		}
	}
}

func nextDigit(s string, i *int) (byte, bool) {
	for *i < len(s) {
		c, _, n := next(s, *i)
		*i += n
		if !isSeparator(c) {
			return lower(c), true
		}
	}
	return 0, false
}
