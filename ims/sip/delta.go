package sip

import "math"

// ParseDelta reads delta-seconds (RFC 3261 §25.1). A number that does not fit is
// taken as 2^32-1 (§20.19); ok is false for what is no number, which counts as
// if it were absent (RFC 4475 §3.1.2.4).
func ParseDelta(s string) (seconds uint32, ok bool) {
	s = trimLWS(s)
	if s == "" {
		return 0, false
	}
	n := uint64(0)
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		if n = n*10 + uint64(c); n > math.MaxUint32 {
			n = math.MaxUint32
		}
	}
	return uint32(n), true
}

// Expires returns the value of the Expires header and whether there is a usable one.
func (m *Message) Expires() (seconds uint32, ok bool) { return ParseDelta(m.Get(HExpires)) }

// Expires returns the expires parameter of a Contact and whether there is a
// usable one.
func (a NameAddr) Expires() (seconds uint32, ok bool) {
	v, _ := a.Params.Get("expires")
	return ParseDelta(v)
}

// ParseRetryAfter reads the seconds of a Retry-After: what follows them, a
// comment or parameters, is left out (RFC 3261 §20.33).
func ParseRetryAfter(s string) (seconds uint32, ok bool) {
	v, _ := cutParams(s)
	if before, _, has := splitAt(v, '(', 0); has {
		v = before
	}
	return ParseDelta(v)
}
