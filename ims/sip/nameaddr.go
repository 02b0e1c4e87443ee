package sip

import (
	"errors"
	"strings"
)

// NameAddr is a name-addr or addr-spec with header parameters: From, To, Contact,
// Route, Record-Route, Path, Service-Route, P-Asserted-Identity and their like
// (RFC 3261 §20.10, §25.1).
type NameAddr struct {
	Display string // without quotes and escapes
	URI     string // without angle brackets, as written
	Params  Params // header parameters, from the first ";" behind the URI
}

var (
	errNameAddrQuote = errors.New("sip: address with an unclosed quoted display name")
	errNameAddrAngle = errors.New("sip: address with unbalanced angle brackets")
	errNameAddrURI   = errors.New("sip: address without a URI")
	errNameAddrTail  = errors.New("sip: address followed by something other than parameters")
)

// ParseNameAddr reads one address. Without angle brackets, parameters belong to
// the header, not to the URI (RFC 3261 §20).
func ParseNameAddr(s string) (NameAddr, error) {
	var a NameAddr
	s = trimLWS(s)
	if s == "" {
		return a, errNameAddrURI
	}
	rest := s
	if s[0] == '"' {
		n := quotedLen(s)
		if n < 0 {
			return a, errNameAddrQuote
		}
		a.Display = Unquote(s[:n])
		if rest = trimLeftLWS(s[n:]); rest == "" || rest[0] != '<' {
			return a, errNameAddrAngle
		}
	}
	if lt := strings.IndexByte(rest, '<'); lt >= 0 && strings.IndexByte(rest[:lt], ';') < 0 {
		if rest[0] != '<' { // an unquoted display name: tokens and white space
			a.Display = trimRightLWS(rest[:lt])
			rest = rest[lt:]
		}
		gt := strings.IndexByte(rest, '>')
		if gt < 0 {
			return a, errNameAddrAngle
		}
		a.URI, rest = trimLWS(rest[1:gt]), trimLeftLWS(rest[gt+1:])
		if a.URI == "" {
			return a, errNameAddrURI
		}
		if rest != "" && rest[0] != ';' {
			return a, errNameAddrTail
		}
		a.Params = Params(rest)
		return a, nil
	}
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		a.Params, rest = Params(rest[i:]), trimRightLWS(rest[:i])
	}
	if rest == "" || strings.ContainsAny(rest, " \t\r\n<>\"") {
		return a, errNameAddrURI
	}
	a.URI = rest
	return a, nil
}

// Param returns a header parameter without quotes, and whether it is there.
func (a NameAddr) Param(name string) (string, bool) { return a.Params.Get(name) }

// Tag returns the tag parameter.
func (a NameAddr) Tag() string {
	v, _ := a.Params.Raw("tag")
	return v
}

// AppendTo appends the address, always with angle brackets.
func (a NameAddr) AppendTo(dst []byte) []byte {
	if a.Display != "" {
		dst = append(appendQuoted(dst, a.Display), ' ')
	}
	dst = append(dst, '<')
	dst = append(dst, a.URI...)
	dst = append(dst, '>')
	return appendParams(dst, a.Params)
}

func (a NameAddr) String() string { return string(a.AppendTo(nil)) }
