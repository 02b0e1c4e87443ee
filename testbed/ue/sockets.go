package ue

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ipsec"
)

// Stack protects packets, and opens the sockets that they come to and go from: a
// netstack.Stack, or the kernel's sockets beside xfrm.
type Stack interface {
	ipsec.Backend
	transport.Net
}

// sockets is a phone's transport.Net: protected ports are on the stack, the others
// on the network as it is.
type sockets struct {
	clear transport.Net
	stack transport.Net // nil without IPsec

	mu        sync.Mutex
	protected map[netip.AddrPort]bool
	port      uint16 // where the phone listens in clear
}

// protect says that an address is one of the stack's.
func (s *sockets) protect(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.protected == nil {
		s.protected = map[netip.AddrPort]bool{}
	}
	s.protected[a] = true
}

// unprotect takes that back.
func (s *sockets) unprotect(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.protected, a)
}

// listening says at which port the phone listens in clear.
func (s *sockets) listening(port uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.port = port
}

// on returns where a local address is.
func (s *sockets) on(local netip.AddrPort) transport.Net {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.protected[local] {
		return s.stack
	}
	return s.clear
}

func (s *sockets) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	return s.on(local).ListenPacket(local)
}

func (s *sockets) Listen(local netip.AddrPort) (net.Listener, error) {
	return s.on(local).Listen(local)
}

// Dial dials in clear from the port that the phone listens on: its address and
// port are all that a P-CSCF knows it by then.
func (s *sockets) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	s.mu.Lock()
	n, port := s.clear, s.port
	if s.protected[local] {
		n, port = s.stack, local.Port()
	}
	s.mu.Unlock()
	switch local.Port() {
	case port:
	case 0:
		local = netip.AddrPortFrom(local.Addr(), port)
	default:
		return nil, fmt.Errorf("connecting from %v to %v: its security associations are gone: %w", local, remote, net.ErrClosed)
	}
	return n.Dial(ctx, local, remote)
}
