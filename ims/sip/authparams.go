package sip

import (
	"errors"
	"iter"
)

// AuthParams is the text of the comma-separated parameters of a challenge, of
// credentials or of an Authentication-Info (RFC 3261 §25.1), as it came.
type AuthParams string

// Get returns a parameter without quotes and escapes, and whether it is there.
func (p AuthParams) Get(name string) (value string, ok bool) {
	for s := string(p); s != ""; {
		var n, v string
		if n, v, s = nextParam(s, ','); len(n) == len(name) && equalFold(n, name) && (n != "" || v != "") {
			return Unquote(v), true
		}
	}
	return "", false
}

// All yields names and values as they are written.
func (p AuthParams) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		s := string(p)
		for s != "" {
			var n, v string
			n, v, s = nextParam(s, ',')
			if (n != "" || v != "") && !yield(n, v) {
				return
			}
		}
	}
}

var (
	errAuthScheme = errors.New("sip: no authentication scheme")
	errAuthParam  = errors.New("sip: malformed authentication parameter")
	errAuthTwice  = errors.New("sip: an authentication parameter occurs twice")
)

// authField says where a parameter's value goes and how it is written.
type authField struct {
	name   string
	quoted bool
	always bool // written even when it is empty
	value  *string
}

// parseAuth splits the scheme from the parameters and fills fields. A known
// parameter that comes twice is refused: two servers could read different ones.
func parseAuth(s string, fields []authField) (scheme string, params AuthParams, err error) {
	s = trimLWS(s)
	n := tokenLen(s)
	if n == 0 || n < len(s) && !isLWS(s[n]) {
		return "", "", errAuthScheme
	}
	scheme, params = s[:n], AuthParams(trimLeftLWS(s[n:]))
	if !equalFold(scheme, "Digest") {
		return scheme, params, nil
	}
	scheme = "Digest"
	var seen uint32
	for rest := string(params); rest != ""; {
		var name, v string
		if name, v, rest = nextParam(rest, ','); name == "" && v == "" {
			continue
		}
		if !isToken(name) || v != "" && v[0] == '"' && quotedLen(v) != len(v) {
			return "", "", errAuthParam
		}
		for i := range fields {
			if f := &fields[i]; len(f.name) == len(name) && equalFold(f.name, name) {
				if seen&(1<<i) != 0 {
					return "", "", errAuthTwice
				}
				seen |= 1 << i
				*f.value = Unquote(v)
			}
		}
	}
	return scheme, params, nil
}

// appendAuth writes the scheme, the fields, and those of params that are none of
// the fields.
func appendAuth(dst []byte, scheme string, fields []authField, params AuthParams) []byte {
	dst = append(dst, scheme...)
	sep := byte(' ')
	for i := range fields {
		f := &fields[i]
		if *f.value == "" && !f.always {
			continue
		}
		dst = append(append(append(dst, sep), f.name...), '=')
		if f.quoted || !isToken(*f.value) {
			dst = appendQuoted(dst, *f.value)
		} else {
			dst = append(dst, *f.value...)
		}
		sep = ','
	}
	for rest := string(params); rest != ""; {
		var name, v string
		if name, v, rest = nextParam(rest, ','); name == "" && v == "" {
			continue
		}
		known := false
		for i := 0; i < len(fields) && !known; i++ {
			known = len(fields[i].name) == len(name) && equalFold(fields[i].name, name)
		}
		if !known {
			dst = append(append(append(dst, sep), name...), '=')
			dst = append(dst, v...)
			sep = ','
		}
	}
	return dst
}

// hidden replaces a key where a value is made to be read by people.
func hidden(s string) string {
	if s == "" {
		return ""
	}
	return "hidden"
}
