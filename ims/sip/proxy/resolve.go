package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/uri"
)

// Resolver finds the addresses of a host name (RFC 3263). Addresses, and the
// names of Config.Hosts, are never asked for.
type Resolver interface {
	// Resolve calls done once, at once or later, on any goroutine: with the
	// addresses in the order in which to try them, or with an error.
	Resolve(ctx context.Context, q Query, done func([]Hop, error))
}

// Query is the next hop as its URI gives it.
type Query struct {
	Host   string    // a name
	Port   uint16    // 0 when the URI has none
	Proto  sip.Proto // meant only with HasProto
	Role   sip.Role  // of the socket that will send
	Secure bool      // a sips URI

	HasProto bool // the URI has a transport parameter
}

// Errors that a branch fails with before anything is sent.
var (
	ErrNoRoute    = errors.New("next hop is no SIP URI")
	ErrUnresolved = errors.New("no address for the next hop")
	ErrNoSocket   = errors.New("no socket that reaches the next hop")
)

// locate finds the addresses of a next hop's URI that need no asking.
// Otherwise it returns the question to ask.
func locate(hosts map[string][]netip.AddrPort, hop string, role sip.Role, dst []Hop) ([]Hop, Query, error) {
	u, err := uri.Parse(hop)
	if err != nil {
		return nil, Query{}, fmt.Errorf("%w: %q: %w", ErrNoRoute, hop, err)
	}
	if !u.IsSIP() {
		return nil, Query{}, fmt.Errorf("%w: %q", ErrNoRoute, hop)
	}
	q := Query{Host: u.HostName(), Port: u.Port, Role: role, Secure: u.Scheme == uri.SIPS}
	if m, ok := u.Param("maddr"); ok && m != "" {
		u.Host = m
		q.Host = u.HostName()
	}
	std := uint16(defaultPort)
	if t, ok := u.Param("transport"); ok {
		if q.Proto, q.HasProto = sip.ParseProto(t); !q.HasProto {
			return nil, q, fmt.Errorf("%w: transport %q of %q", ErrNoSocket, t, hop)
		}
	}
	if q.Secure || q.Proto == sip.TLS {
		q.Proto, std = sip.TLS, defaultTLSPort
	}
	if ip, ok := u.Addr(); ok {
		return append(dst, Hop{Addr: netip.AddrPortFrom(ip.Unmap(), u.PortOr(std)), Proto: q.Proto, Role: role}), q, nil
	}
	for _, a := range hosts[hostKey(q.Host)] {
		port := u.Port
		if port == 0 {
			port = a.Port()
		}
		if port == 0 {
			port = std
		}
		dst = append(dst, Hop{Addr: netip.AddrPortFrom(a.Addr().Unmap(), port), Proto: q.Proto, Role: role})
	}
	return dst, q, nil
}
