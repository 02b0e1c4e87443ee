package sip

import (
	"iter"
	"strings"
)

// Params is the text of generic parameters, ";name=value;flag" (RFC 3261 §25.1),
// as it came. Names compare without regard to case. White space around ";" and
// "=" and empty parameters are tolerated.
type Params string

// Get returns a parameter's value without quotes and escapes, and whether the
// parameter is there. A flag has the value "".
func (p Params) Get(name string) (value string, ok bool) {
	raw, ok := p.Raw(name)
	return Unquote(raw), ok
}

// Raw returns a parameter's value as it is written, quotes included.
func (p Params) Raw(name string) (value string, ok bool) {
	s := string(p)
	for s != "" {
		var n, v string
		n, v, s = nextParam(s, ';')
		if equalFold(n, name) {
			return v, true
		}
	}
	return "", false
}

// Has reports whether the parameter is there, with or without a value.
func (p Params) Has(name string) bool {
	_, ok := p.Raw(name)
	return ok
}

// All yields names and values as they are written. Empty parameters are left out.
func (p Params) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		s := string(p)
		for s != "" {
			var n, v string
			n, v, s = nextParam(s, ';')
			if (n != "" || v != "") && !yield(n, v) {
				return
			}
		}
	}
}

// nextParam takes one "name[=value]" from s up to sep, which may also lead s.
func nextParam(s string, sep byte) (name, value, rest string) {
	s = trimLeftLWS(s)
	if s != "" && s[0] == sep {
		s = s[1:]
	}
	// The usual forms, read once over: a flag, name=value, name="value".
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case sep:
			return trimLWS(s[:i]), "", s[i+1:]
		case '"':
			return nextOdd(s, sep)
		case '=':
			v := s[i+1:]
			if v != "" && v[0] == '"' {
				switch n := quotedLen(v); {
				case n == len(v):
					return trimLWS(s[:i]), v, ""
				case n > 0 && v[n] == sep:
					return trimLWS(s[:i]), v[:n], v[n+1:]
				}
				return nextOdd(s, sep)
			}
			if at := strings.IndexByte(v, sep); at >= 0 {
				v, rest = v[:at], v[at+1:]
			}
			if strings.IndexByte(v, '"') >= 0 {
				return nextOdd(s, sep)
			}
			return trimLWS(s[:i]), trimLWS(v), rest
		}
	}
	return trimLWS(s), "", ""
}

// nextOdd is nextParam for quotes elsewhere than around a value.
func nextOdd(s string, sep byte) (name, value, rest string) {
	elem, rest, _ := splitAt(s, sep, 0)
	name = elem
	for i := 0; i < len(elem); i++ {
		if elem[i] == '=' {
			name, value = elem[:i], trimLWS(elem[i+1:])
			break
		}
		if elem[i] == '"' {
			break
		}
	}
	return trimLWS(name), value, rest
}

// appendParam appends ";name=value", the value quoted where it is no token and
// not already quoted or a host; ";name" when value is empty.
func appendParam(dst []byte, name, value string) []byte {
	dst = append(append(dst, ';'), name...)
	if value == "" {
		return dst
	}
	dst = append(dst, '=')
	if isGenValue(value) {
		return append(dst, value...)
	}
	return appendQuoted(dst, value)
}

// isGenValue reports whether value may stand in a gen-value without quotes:
// tokens, and what hosts add to them (colons and brackets).
func isGenValue(value string) bool {
	for i := 0; i < len(value); i++ {
		if c := value[i]; !tokenChars[c] && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return true
}

// appendRawParam appends a parameter whose value is written already.
func appendRawParam(dst []byte, name, raw string) []byte {
	dst = append(append(dst, ';'), name...)
	if raw != "" {
		dst = append(append(dst, '='), raw...)
	}
	return dst
}

// cutParams splits "value;params" and trims the value.
func cutParams(s string) (value string, params Params) {
	value, rest, more := splitAt(s, ';', 0)
	if more {
		params = Params(s[len(s)-len(rest)-1:])
	}
	return trimLWS(value), params
}

// appendParams appends p as it came, with a semicolon before it.
func appendParams(dst []byte, p Params) []byte {
	if p != "" && p[0] != ';' {
		dst = append(dst, ';')
	}
	return append(dst, p...)
}

// appendOthers appends the parameters of p for which known is false.
func appendOthers(dst []byte, p Params, known func(name string) bool) []byte {
	for name, v := range p.All() {
		if !known(name) {
			dst = appendRawParam(dst, name, v)
		}
	}
	return dst
}

// oneOf returns a function that finds a name in a list, in any letter case.
func oneOf(names ...string) func(string) bool {
	return func(name string) bool {
		for _, n := range names {
			if equalFold(n, name) {
				return true
			}
		}
		return false
	}
}
