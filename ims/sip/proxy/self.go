package proxy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gocscf/gocscf/ims/uri"
)

// Ports that a URI without one means (RFC 3261 19.1.2).
const (
	defaultPort    = 5060
	defaultTLSPort = 5061
)

// self knows which URIs are this element: those of its sockets, its configured
// names, and whatever the function adds. Sockets may come while requests are
// running, so readers take a snapshot.
type self struct {
	set     atomic.Pointer[selfSet]
	extra   func(uri.URI) bool
	aliases map[netip.AddrPort]bool // those that are addresses

	mu      sync.Mutex
	sockets []netip.AddrPort
}

type selfSet struct {
	addrs map[netip.AddrPort]bool
	ports map[uint16]bool // of all our sockets
	names map[alias]bool
}

// alias is a configured name; port 0 stands for any port of our sockets.
type alias struct {
	host string // lower case, without the root's dot
	port uint16
}

func newSelf(aliases []string, extra func(uri.URI) bool) (*self, error) {
	set := &selfSet{addrs: map[netip.AddrPort]bool{}, ports: map[uint16]bool{}, names: map[alias]bool{}}
	for _, a := range aliases {
		u, err := uri.Parse("sip:" + a)
		if err != nil || u.User != "" || u.Params != "" || u.Headers != "" {
			return nil, fmt.Errorf("reading alias %q: want host or host:port", a)
		}
		if ip, ok := u.Addr(); ok {
			set.addrs[netip.AddrPortFrom(ip.Unmap(), u.PortOr(defaultPort))] = true
			continue
		}
		set.names[alias{hostKey(u.Host), u.Port}] = true
	}
	s := &self{extra: extra, aliases: maps.Clone(set.addrs)}
	s.set.Store(set)
	return s, nil
}

// add makes a socket's address ours.
func (s *self) add(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets = append(s.sockets, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	s.refresh()
}

// remove takes an address of ours back.
func (s *self) remove(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets = slices.DeleteFunc(s.sockets, func(o netip.AddrPort) bool {
		return o == netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	})
	s.refresh()
}

// refresh makes what readers see anew. The caller holds s.mu.
func (s *self) refresh() {
	set := &selfSet{addrs: maps.Clone(s.aliases), ports: map[uint16]bool{}, names: s.set.Load().names}
	for _, a := range s.sockets {
		set.addrs[a] = true
		set.ports[a.Port()] = true
	}
	s.set.Store(set)
}

// is reports whether u names this element by host and port; the user part and
// the parameters do not matter.
func (s *self) is(u uri.URI) bool {
	if !u.IsSIP() {
		return false
	}
	if s.hostPort(u, u.Port) {
		return true
	}
	return s.extra != nil && s.extra(u)
}

func (s *self) hostPort(u uri.URI, port uint16) bool {
	set := s.set.Load()
	std := uint16(defaultPort)
	if u.Scheme == uri.SIPS {
		std = defaultTLSPort
	}
	if ip, ok := u.Addr(); ok {
		if port == 0 {
			port = std
		}
		return set.addrs[netip.AddrPortFrom(ip.Unmap(), port)]
	}
	if len(set.names) == 0 {
		return false
	}
	host := hostKey(u.Host)
	if set.names[alias{host, port}] {
		return true
	}
	if port == 0 {
		return set.names[alias{host, std}]
	}
	return set.names[alias{host, 0}] && (port == std || set.ports[port])
}

// hostKey is the comparable form of a host name; it allocates only for capitals.
func hostKey(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
