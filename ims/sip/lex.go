package sip

import "strings"

// isLWS reports linear white space. CR and LF are part of it because a typed
// header may be read from text that is still folded.
func isLWS(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trimLeftLWS(s string) string {
	for s != "" && isLWS(s[0]) {
		s = s[1:]
	}
	return s
}

func trimRightLWS(s string) string {
	for s != "" && isLWS(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func trimLWS(s string) string { return trimRightLWS(trimLeftLWS(s)) }

// tokenChars are the octets of a token (RFC 3261 §25.1).
var tokenChars = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "-.!%*_+`'~" {
		t[c] = true
	}
	return t
}()

func isToken(s string) bool { return s != "" && tokenLen(s) == len(s) }

// hasWhite reports whether a space or tab is in s.
func hasWhite(s string) bool {
	return strings.IndexByte(s, ' ') >= 0 || strings.IndexByte(s, '\t') >= 0
}

// tokenLen returns how many octets at the start of s form a token.
func tokenLen(s string) int {
	for i := 0; i < len(s); i++ {
		if !tokenChars[s[i]] {
			return i
		}
	}
	return len(s)
}

// parseUint reads decimal digits, leading zeros allowed, not above max.
func parseUint(s string, max uint64) (uint64, bool) {
	if s == "" {
		return 0, false
	}
	var n uint64
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		if n = n*10 + uint64(c); n > max {
			return 0, false
		}
	}
	return n, true
}

// quotedLen returns the length of the quoted-string at the start of s, which
// begins with '"'; -1 when it is not closed.
func quotedLen(s string) int {
	n := strings.IndexByte(s[1:], '"')
	if n < 0 {
		return -1
	}
	if strings.IndexByte(s[1:1+n], '\\') < 0 {
		return n + 2
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// commentLen returns the length of the comment at the start of s, which begins
// with '('; comments nest. -1 when it is not closed.
func commentLen(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// Unquote returns the content of a quoted-string without quotes and escapes, a
// copy only when there are escapes. Text that is not quoted is returned as it is.
func Unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// Quote returns s as a quoted-string.
func Quote(s string) string { return string(appendQuoted(nil, s)) }

func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if strings.IndexByte(s, '"') < 0 && strings.IndexByte(s, '\\') < 0 {
		return append(append(dst, s...), '"')
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// What splitAt reads over besides quoted strings.
const (
	inAngles   = 1 << iota // a URI in angle brackets may hold any separator
	inComments             // parentheses enclose comments in few headers (Via)
)

// splitAt cuts s at the first sep that is not inside a quoted string or what
// inside names. ok is false when there is none. Text that is never closed runs
// to the end: the parser of that header complains about it.
func splitAt(s string, sep byte, inside int) (elem, rest string, ok bool) {
	// Most values have no separator, or nothing before it that encloses.
	at := strings.IndexByte(s, sep)
	if at < 0 {
		return s, "", false
	}
	if elem = s[:at]; strings.IndexByte(elem, '"') < 0 &&
		(inside&inAngles == 0 || strings.IndexByte(elem, '<') < 0) &&
		(inside&inComments == 0 || strings.IndexByte(elem, '(') < 0) {
		return elem, s[at+1:], true
	}
	for i := 0; i < len(s); i++ {
		n := 1
		switch c := s[i]; {
		case c == sep:
			return s[:i], s[i+1:], true
		case c == '"':
			n = quotedLen(s[i:])
		case c == '<' && inside&inAngles != 0:
			n = strings.IndexByte(s[i:], '>') + 1
		case c == '(' && inside&inComments != 0:
			n = commentLen(s[i:])
		}
		if n <= 0 {
			return s, "", false
		}
		i += n - 1
	}
	return s, "", false
}
