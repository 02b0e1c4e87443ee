package sip

import "strings"

// checkAddress returns what is wrong with an address header, "" when nothing is.
// It is stricter than ParseNameAddr, which takes what can be understood.
func checkAddress(s string) string {
	a, err := ParseNameAddr(s)
	if err != nil {
		return err.Error()
	}
	angle := strings.IndexByte(s, '<')
	switch {
	case angle < 0 || s[0] != '"' && strings.IndexByte(s[:angle], ';') >= 0: // addr-spec
		// RFC 3261 §20.10: a URI with these must stand in angle brackets, or
		// nobody knows whose they are (RFC 4475 §3.1.2.13).
		if strings.IndexByte(a.URI, '?') >= 0 || strings.IndexByte(a.URI, ',') >= 0 {
			return "a URI with a question mark or comma, without angle brackets"
		}
	case s[0] != '"' && s[0] != '<':
		// An unquoted display name is tokens. What else phones put there is let
		// through, but for what separates values and parameters (§3.1.2.15).
		if strings.ContainsAny(s[:angle], ",;\"\\>") {
			return "an unquoted display name with separators"
		}
	}
	if angle >= 0 {
		if in := s[angle+1:]; in != "" && isLWS(in[0]) || hasWhite(a.URI) ||
			len(a.URI) < len(in) && isLWS(in[len(a.URI)]) {
			return "white space in a URI" // §3.1.2.14
		}
	}
	if _, ok := Scheme(a.URI); !ok {
		return "a URI without scheme"
	}
	if emptyParams(string(a.Params)) {
		return "empty parameters"
	}
	return ""
}

// emptyParams reports two semicolons with nothing between them. A single one at
// the end is left alone: there are phones that send it.
func emptyParams(s string) bool {
	last := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ';':
			if last {
				return true
			}
			last = true
		case c == '"':
			n := quotedLen(s[i:])
			if n < 0 {
				return true
			}
			i += n - 1
			last = false
		case !isLWS(c):
			last = false
		}
	}
	return false
}

// Scheme returns the scheme of a URI, as written, and whether there is one
// (RFC 3986 §3.1).
func Scheme(uri string) (string, bool) {
	for i := 0; i < len(uri); i++ {
		switch c := uri[i]; {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return uri[:i], true
		default:
			return "", false
		}
	}
	return "", false
}

// checkURI returns what is wrong with a Request-URI. Of a sip or sips URI the
// host is read, since the request goes there, and headers are refused: they are
// not allowed here (RFC 3261 §19.1.1, RFC 4475 §3.1.2.11). Other schemes are
// nobody's syntax error: a proxy answers 416.
func checkURI(uri string) string {
	scheme, ok := Scheme(uri)
	if !ok {
		return "the Request-URI has no scheme" // §3.1.2.7: "<sip:…>"
	}
	for i := 0; i < len(uri); i++ {
		if c := uri[i]; isLWS(c) || c == '<' || c == '>' || c == '"' {
			return "white space, angle bracket or quote in the Request-URI"
		}
	}
	if !equalFold(scheme, "sip") && !equalFold(scheme, "sips") {
		return ""
	}
	rest := uri[len(scheme)+1:]
	if at := strings.IndexByte(rest, '@'); at >= 0 { // ; ? and / may stand in the user part
		rest = rest[at+1:]
	}
	if strings.IndexByte(rest, '?') >= 0 {
		return "the Request-URI has headers"
	}
	host, _, _ := strings.Cut(rest, ";")
	if _, _, ok := splitHostPort(host); !ok {
		return "the host of the Request-URI cannot be read"
	}
	return ""
}
