package sip

import (
	"errors"
	"strings"
)

var errUserDatabase = errors.New("sip: P-User-Database that names no Diameter host")

// maxDiameterHost is the length of a domain name.
const maxDiameterHost = 255

// ParseUserDatabase returns the Diameter host that a P-User-Database names:
// "<aaa://host.example.com;transport=tcp>" (RFC 4457 §4; RFC 6733 §4.3.1).
func ParseUserDatabase(s string) (string, error) {
	s = trimLWS(s)
	if len(s) < 2 || s[0] != '<' || s[len(s)-1] != '>' {
		return "", errUserDatabase
	}
	scheme, host, ok := strings.Cut(s[1:len(s)-1], "://")
	if !ok || !equalFold(scheme, "aaa") && !equalFold(scheme, "aaas") {
		return "", errUserDatabase
	}
	if i := strings.IndexAny(host, ":;"); i >= 0 {
		host = host[:i]
	}
	if host == "" || len(host) > maxDiameterHost {
		return "", errUserDatabase
	}
	for i := range len(host) {
		c := host[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return "", errUserDatabase
		}
	}
	return host, nil
}

// UserDatabase is the P-User-Database that names a Diameter host.
func UserDatabase(host string) string { return "<aaa://" + host + ">" }
