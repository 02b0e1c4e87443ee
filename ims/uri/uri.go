// Package uri reads, compares and writes the URIs of SIP: sip and sips as in
// RFC 3261 clauses 19.1 and 25.1, tel as in RFC 3966 (also where it stands in
// the user part of a sip URI with user=phone, RFC 3261 19.1.6).
//
// A URI is a small value whose strings are pieces of the string it was parsed
// from: parsing copies nothing and allocates nothing. Whoever parses out of a
// buffer that will be reused must clone what it keeps.
//
// The parser is strict where RFC 3261 and RFC 3966 are, except for four forms
// that phones and home subscriber servers really use: '_' in host names, host
// labels of digits alone, '=' and nothing at all as a parameter's value, and
// local telephone numbers without a phone-context.
package uri

import (
	"net/netip"
	"strconv"
	"strings"
)

// Schemes that Parse knows. URI.Scheme of a parsed URI is always one of these,
// in lower case, whatever was on the wire.
const (
	SIP  = "sip"
	SIPS = "sips"
	TEL  = "tel"
)

// URI is a sip, sips or tel URI in its parts, still escaped as on the wire.
// It is comparable with ==, which is stricter than Equal.
type URI struct {
	Scheme string
	// User is the part before '@', without the password; empty when the URI
	// has none. For user=phone it may carry telephone parameters, as in
	// "0612;phone-context=example.org". In a tel URI it is the number with its
	// visual separators.
	User string
	// Password is what follows ':' in the user part. "sip:u:@h" has none.
	Password string
	// Host is a host name, an IPv4 address, or an IPv6 address in brackets;
	// empty in a tel URI. Addr and HostName give it without brackets.
	Host string
	// Port is 0 when the URI names none.
	Port uint16
	// Params holds the parameters without the first ';': "transport=udp;lr".
	Params string
	// Headers holds the headers of the URI without the '?': "Subject=x&To=y".
	Headers string
}

// IsZero reports whether u is the zero URI, which no string parses to.
func (u URI) IsZero() bool { return u == URI{} }

// IsSIP reports whether u is a sip or sips URI.
func (u URI) IsSIP() bool { return u.Scheme == SIP || u.Scheme == SIPS }

// IsTel reports whether u is a tel URI.
func (u URI) IsTel() bool { return u.Scheme == TEL }

// Addr returns the host as an address, and false if the host is a name.
func (u URI) Addr() (netip.Addr, bool) {
	h := u.HostName()
	if h == "" || !looksNumeric(u.Host) {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(h)
	return a, err == nil
}

// HostName returns the host without the brackets of an IPv6 address.
func (u URI) HostName() string {
	if n := len(u.Host); n >= 2 && u.Host[0] == '[' && u.Host[n-1] == ']' {
		return u.Host[1 : n-1]
	}
	return u.Host
}

// PortOr returns the port, or def when the URI names none.
func (u URI) PortOr(def uint16) uint16 {
	if u.Port == 0 {
		return def
	}
	return u.Port
}

// String returns the URI as it goes on the wire. Parts are written as they
// stand; build foreign text into them with EscapeUser and WithParam.
func (u URI) String() string {
	var buf [128]byte
	return string(u.AppendTo(buf[:0]))
}

// AppendTo appends the URI as it goes on the wire to dst.
func (u URI) AppendTo(dst []byte) []byte {
	dst = append(dst, u.Scheme...)
	dst = append(dst, ':')
	if u.User != "" {
		dst = append(dst, u.User...)
		if u.Password != "" {
			dst = append(dst, ':')
			dst = append(dst, u.Password...)
		}
		if u.Scheme != TEL {
			dst = append(dst, '@')
		}
	}
	dst = append(dst, u.Host...)
	if u.Port != 0 {
		dst = append(dst, ':')
		dst = strconv.AppendUint(dst, uint64(u.Port), 10)
	}
	if u.Params != "" {
		dst = append(dst, ';')
		dst = append(dst, u.Params...)
	}
	if u.Headers != "" {
		dst = append(dst, '?')
		dst = append(dst, u.Headers...)
	}
	return dst
}

// Clone returns a URI that shares no memory with u.
func (u URI) Clone() URI {
	scheme := u.Scheme
	switch scheme {
	case SIP:
		scheme = SIP
	case SIPS:
		scheme = SIPS
	case TEL:
		scheme = TEL
	default:
		scheme = strings.Clone(scheme)
	}
	return URI{
		Scheme: scheme, Port: u.Port,
		User: strings.Clone(u.User), Password: strings.Clone(u.Password),
		Host: strings.Clone(u.Host), Params: strings.Clone(u.Params), Headers: strings.Clone(u.Headers),
	}
}

// looksNumeric tells an address from a name by its form alone: RFC 3261 lets a
// host name's last label begin with a letter only.
func looksNumeric(host string) bool {
	if host == "" || host[0] == '[' {
		return host != ""
	}
	for i := 0; i < len(host); i++ {
		if c := host[i]; c != '.' && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
