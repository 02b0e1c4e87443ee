package uri

import (
	"net/netip"
	"strings"
)

// MaxLen bounds the URIs that Parse accepts, in octets.
const MaxLen = 8192

// maxItems bounds parameters and headers, because Equal compares each with each.
const maxItems = 128

// Parse reads a sip, sips or tel URI: the whole of s, without angle brackets or
// spaces around it. The result refers to s. An error is an *Error.
func Parse(s string) (URI, error) {
	if len(s) > MaxLen {
		return URI{}, &Error{Part: "length", Offset: len(s), Kind: ErrTooLong}
	}
	colon := 0
	for colon < len(s) && is(s[colon], cScheme) {
		colon++
	}
	if colon == 0 || colon == len(s) || s[colon] != ':' || !is(s[0], cAlpha) {
		return fail(s, "scheme", colon, ErrSyntax)
	}
	rest := colon + 1
	switch name := s[:colon]; {
	case equalFold(name, SIP):
		return parseSIP(s, rest, SIP)
	case equalFold(name, SIPS):
		return parseSIP(s, rest, SIPS)
	case equalFold(name, TEL):
		return parseTel(s, rest)
	}
	return fail(s, "scheme", 0, ErrScheme)
}

func parseSIP(s string, i int, scheme string) (URI, error) {
	u := URI{Scheme: scheme}
	// '@' stands unescaped nowhere but after the user part, which itself may
	// hold ';' and '?': look for it first.
	if at := strings.IndexByte(s[i:], '@'); at >= 0 {
		at += i
		end := at
		if c := strings.IndexByte(s[i:at], ':'); c >= 0 {
			end = i + c
			u.Password = s[end+1 : at]
			if n := scan(u.Password, cPassword); n < len(u.Password) {
				return fail(s, "password", end+1+n, ErrSyntax)
			}
		}
		u.User = s[i:end]
		if n := scan(u.User, cUser|cHash); n < len(u.User) || u.User == "" {
			return fail(s, "user", i+n, ErrSyntax)
		}
		i = at + 1
	}

	end, bad := hostEnd(s, i)
	if bad {
		return fail(s, "host", end, ErrSyntax)
	}
	u.Host = s[i:end]
	i = end

	if i < len(s) && s[i] == ':' {
		i++
		start, port := i, 0
		for ; i < len(s) && is(s[i], cDigit); i++ {
			if port = port*10 + int(s[i]-'0'); port > 65535 {
				return fail(s, "port", start, ErrSyntax)
			}
		}
		if port == 0 { // also when no digit was there
			return fail(s, "port", start, ErrSyntax)
		}
		u.Port = uint16(port)
	}

	if i < len(s) && s[i] == ';' {
		i++
		end := len(s)
		if q := strings.IndexByte(s[i:], '?'); q >= 0 {
			end = i + q
		}
		u.Params = s[i:end]
		if n := checkParams(u.Params); n >= 0 {
			return fail(s, "parameters", i+n, ErrSyntax)
		}
		i = end
	}
	if i < len(s) && s[i] == '?' {
		u.Headers = s[i+1:]
		if n := checkHeaders(u.Headers); n >= 0 {
			return fail(s, "headers", i+1+n, ErrSyntax)
		}
		return u, nil
	}
	if i < len(s) {
		return fail(s, "host", i, ErrSyntax)
	}
	return u, nil
}

// hostEnd returns where the host that begins at i ends, or where it is wrong.
func hostEnd(s string, i int) (end int, bad bool) {
	if i < len(s) && s[i] == '[' {
		n := strings.IndexByte(s[i:], ']')
		if n < 0 {
			return len(s), true
		}
		lit := s[i+1 : i+n]
		// netip also reads IPv4 and zones, which have no place in brackets here.
		if a, err := netip.ParseAddr(lit); err != nil || !a.Is6() || strings.IndexByte(lit, '%') >= 0 {
			return i, true
		}
		return i + n + 1, false
	}
	start := i
	for ; i < len(s) && is(s[i], cHost); i++ {
		// No empty label: neither a leading dot nor two in a row. And no hyphen at either
		// end of one (RFC 3261 25.1).
		if s[i] == '.' && (i == start || s[i-1] == '.' || s[i-1] == '-') || s[i] == '-' && i > start && s[i-1] == '.' {
			return i, true
		}
	}
	if i == start {
		return i, true
	}
	if s[start] == '-' || s[i-1] == '-' {
		return start, true
	}
	return i, false
}

// checkParams returns the index of the first wrong octet of params, -1 if none.
func checkParams(params string) int {
	for start, n := 0, 1; ; n++ {
		p := params[start:]
		if semi := strings.IndexByte(p, ';'); semi >= 0 {
			p = p[:semi]
		}
		if p == "" || p[0] == '=' || n > maxItems {
			return start
		}
		if n := scan(p, cParam); n < len(p) {
			return start + n
		}
		start += len(p) + 1
		if start > len(params) {
			return -1
		}
	}
}

// checkHeaders does the same for headers.
func checkHeaders(headers string) int {
	for start, n := 0, 1; ; n++ {
		h := headers[start:]
		if amp := strings.IndexByte(h, '&'); amp >= 0 {
			h = h[:amp]
		}
		eq := strings.IndexByte(h, '=')
		if eq <= 0 || n > maxItems {
			return start
		}
		if n := scan(h[:eq], cHeader); n < eq {
			return start + n
		}
		if n := scan(h[eq+1:], cHeader); n < len(h)-eq-1 {
			return start + eq + 1 + n
		}
		start += len(h) + 1
		if start > len(headers) {
			return -1
		}
	}
}

// parseTel reads what follows "tel:" (RFC 3966 clause 3). A number may also be
// escaped ("%23" for '#'), because phones send service codes so.
func parseTel(s string, i int) (URI, error) {
	u := URI{Scheme: TEL}
	end := len(s)
	if semi := strings.IndexByte(s[i:], ';'); semi >= 0 {
		end = i + semi
	}
	u.User = s[i:end]
	if n, ok := checkNumber(u.User); !ok {
		return fail(s, "number", i+n, ErrSyntax)
	}
	if end < len(s) {
		u.Params = s[end+1:]
		if n := checkParams(u.Params); n >= 0 {
			return fail(s, "parameters", end+1+n, ErrSyntax)
		}
	}
	return u, nil
}

// checkNumber returns where number is not a telephone number: an optional '+',
// then digits (after '+' decimal only) with visual separators, one digit at least.
func checkNumber(number string) (int, bool) {
	i, global, digits := 0, false, 0
	for i < len(number) {
		c, _, n := next(number, i)
		switch {
		case c == '+' && i == 0:
			global = true
		case isSeparator(c):
		case is(c, cDigit), !global && is(c, cPhone):
			digits++
		default:
			return i, false
		}
		i += n
	}
	return i, digits > 0
}

// isSeparator reports RFC 3966's visual separators.
func isSeparator(c byte) bool { return c == '-' || c == '.' || c == '(' || c == ')' }

func equalFold(s, lowered string) bool {
	if len(s) != len(lowered) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if lower(s[i]) != lowered[i] {
			return false
		}
	}
	return true
}
