package uri

import "strings"

// Character classes of RFC 3261 25.1 and RFC 3966 clause 3.
const (
	cAlpha      uint16 = 1 << iota
	cDigit             // 0-9
	cHex               // 0-9 a-f A-F
	cUnreserved        // alphanum and mark
	cUser              // unreserved and user-unreserved
	cHash              // '#', which a telephone-subscriber in a user part may hold: read, never written
	cPassword
	cParam    // paramchar, and '=' in the value
	cHeader   // unreserved and hnv-unreserved
	cHost     // octets of a host name
	cScheme   // after the first letter
	cPhone    // phonedigit-hex with visual separators
	cReserved // RFC 3261 25.1 "reserved": escaped and not escaped differ
)

var class = makeClasses()

func makeClasses() (t [256]uint16) {
	set := func(chars string, bits uint16) {
		for i := 0; i < len(chars); i++ {
			t[chars[i]] |= bits
		}
	}
	const (
		letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		digits  = "0123456789"
		mark    = "-_.!~*'()"
	)
	set(letters, cAlpha|cScheme|cHost)
	set(digits, cDigit|cScheme|cHost)
	set(digits+"abcdefABCDEF", cHex|cPhone)
	set(letters+digits+mark, cUnreserved|cUser|cPassword|cParam|cHeader)
	set("&=+$,;?/", cUser)
	set("#", cHash)
	set("&=+$,", cPassword)
	set("[]/:&+$=", cParam)
	set("[]/?:+$", cHeader)
	set("-._", cHost)
	set("+-.", cScheme)
	set("*#-.()", cPhone)
	set(";/?:@&=+$,", cReserved)
	return t
}

func is(c byte, bits uint16) bool { return class[c]&bits != 0 }

// scan returns the index of the first octet of s that is neither in the class
// nor part of a %HH escape, len(s) if there is none.
func scan(s string, bits uint16) int {
	for i := 0; i < len(s); i++ {
		if is(s[i], bits) {
			continue
		}
		if s[i] == '%' && i+2 < len(s) && is(s[i+1], cHex) && is(s[i+2], cHex) {
			i += 2
			continue
		}
		return i
	}
	return len(s)
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// next reads one octet of s at i, decoded, and how many octets it took. escaped
// tells %HH from the octet itself. An invalid escape is read as its '%'.
func next(s string, i int) (c byte, escaped bool, n int) {
	if s[i] == '%' && i+2 < len(s) && is(s[i+1], cHex) && is(s[i+2], cHex) {
		return unhex(s[i+1])<<4 | unhex(s[i+2]), true, 3
	}
	return s[i], false, 1
}

// Unescape decodes every %HH of s; the result may hold any octet, NUL too. It
// allocates only if there is something to decode.
func Unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		c, _, n := next(s, i)
		b = append(b, c)
		i += n
	}
	return string(b)
}

// EscapeUser makes any text fit for URI.User: each octet that may not stand
// there is escaped, '%' included.
func EscapeUser(text string) string {
	clean := true
	for i := 0; i < len(text) && clean; i++ {
		clean = is(text[i], cUser)
	}
	if clean {
		return text
	}
	b := make([]byte, 0, len(text)+8)
	for i := 0; i < len(text); i++ {
		b = appendOctet(b, text[i], cUser)
	}
	return string(b)
}

// escapeParam escapes what may not stand in a parameter and keeps the escapes
// that s already has.
func escapeParam(s string) string {
	if scan(s, cParam) == len(s) {
		return s
	}
	b := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); {
		c, escaped, n := next(s, i)
		if escaped {
			b = append(b, s[i:i+n]...)
		} else {
			b = appendOctet(b, c, cParam)
		}
		i += n
	}
	return string(b)
}

// appendOctet appends c as it is if it is in the class, else escaped.
func appendOctet(dst []byte, c byte, bits uint16) []byte {
	const hex = "0123456789ABCDEF"
	if is(c, bits) {
		return append(dst, c)
	}
	return append(dst, '%', hex[c>>4], hex[c&15])
}
