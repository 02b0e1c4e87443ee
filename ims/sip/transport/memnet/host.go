package memnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	firstPort = 40000 // ports that are picked
	lastPort  = 65535

	synTimeout = 127 * time.Second // how long a connect is tried where its context says nothing
)

// Host is one machine on the network. It has the methods of transport.Net.
type Host struct {
	net   *Network
	addrs []netip.Addr

	mu        sync.Mutex
	nextPort  uint16
	packets   map[netip.AddrPort]*packetConn
	listeners map[netip.AddrPort]*listener
	streams   map[[2]netip.AddrPort]*conn // by local and remote
}

// Addrs returns the host's addresses in the order they were given.
func (h *Host) Addrs() []netip.Addr { return append([]netip.Addr(nil), h.addrs...) }

// ListenPacket opens a UDP socket. An unspecified address listens on all of the
// host's addresses of that family.
func (h *Host) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := newPacketConn(h)
	addrs, err := h.bind(local, func(a netip.AddrPort) bool { return h.packets[a] != nil })
	if err != nil {
		return nil, opError("listen", "udp", local, err)
	}
	for _, a := range addrs {
		h.packets[a] = c
	}
	c.bound = addrs
	c.local = netip.AddrPortFrom(local.Addr().Unmap(), addrs[0].Port())
	return c, nil
}

// Listen opens a listening TCP socket, on an unspecified address like
// ListenPacket.
func (h *Host) Listen(local netip.AddrPort) (net.Listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	addrs, err := h.bind(local, func(a netip.AddrPort) bool { return h.listeners[a] != nil })
	if err != nil {
		return nil, opError("listen", "tcp", local, err)
	}
	l := newListener(h, netip.AddrPortFrom(local.Addr().Unmap(), addrs[0].Port()), addrs)
	for _, a := range addrs {
		h.listeners[a] = l
	}
	return l, nil
}

// bind returns the addresses that local stands for, with a port. The caller
// holds h.mu.
func (h *Host) bind(local netip.AddrPort, taken func(netip.AddrPort) bool) ([]netip.AddrPort, error) {
	want := local.Addr().Unmap()
	var addrs []netip.Addr
	for _, a := range h.addrs {
		if a == want || want.IsUnspecified() && a.Is4() == want.Is4() {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	free := func(port uint16) bool {
		for _, a := range addrs {
			if taken(netip.AddrPortFrom(a, port)) {
				return false
			}
		}
		return true
	}
	port := local.Port()
	if port == 0 {
		port = h.pickPort(free)
	} else if !free(port) {
		port = 0
	}
	if port == 0 {
		return nil, os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	bound := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		bound[i] = netip.AddrPortFrom(a, port)
	}
	return bound, nil
}

// pickPort returns the next free port, 0 when there is none. The caller holds
// h.mu.
func (h *Host) pickPort(free func(uint16) bool) uint16 {
	for range lastPort - firstPort + 1 {
		p := h.nextPort
		if h.nextPort == lastPort {
			h.nextPort = firstPort
		} else {
			h.nextPort++
		}
		if free(p) {
			return p
		}
	}
	return 0
}

// Dial opens a TCP connection. The context bounds it; without one it is given
// up after 127 s.
func (h *Host) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	c, err := h.connect(ctx, local, netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()))
	if err != nil {
		return nil, opError("dial", "tcp", remote, err)
	}
	return c, nil
}

func (h *Host) connect(ctx context.Context, local, remote netip.AddrPort) (*conn, error) {
	c, err := h.newStream(local, remote)
	if err != nil {
		return nil, err
	}
	answer := make(chan error, 1)
	c.syn(answer)
	giveUp := time.NewTimer(synTimeout)
	defer giveUp.Stop()
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = ctx.Err()
	case <-giveUp.C:
		err = os.NewSyscallError("connect", syscall.ETIMEDOUT)
	}
	if err != nil {
		c.abandon()
		return nil, err
	}
	return c, nil
}

// newStream enters the near end of a connection.
func (h *Host) newStream(local, remote netip.AddrPort) (*conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	addr := local.Addr().Unmap()
	if !addr.IsValid() || addr.IsUnspecified() {
		for _, a := range h.addrs {
			if a.Is4() == remote.Addr().Is4() {
				addr = a
				break
			}
		}
	}
	known := false
	for _, a := range h.addrs {
		known = known || a == addr
	}
	switch {
	case !addr.IsValid() || addr.IsUnspecified():
		return nil, os.NewSyscallError("connect", syscall.ENETUNREACH)
	case !known:
		return nil, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	case addr.Is4() != remote.Addr().Is4():
		return nil, os.NewSyscallError("connect", syscall.EINVAL)
	}
	free := func(port uint16) bool {
		return h.streams[[2]netip.AddrPort{netip.AddrPortFrom(addr, port), remote}] == nil
	}
	port := local.Port()
	if port == 0 {
		port = h.pickPort(func(p uint16) bool { return free(p) && h.listeners[netip.AddrPortFrom(addr, p)] == nil })
	} else if !free(port) {
		port = 0
	}
	if port == 0 {
		return nil, os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	c := newConn(h, netip.AddrPortFrom(addr, port), remote)
	h.streams[c.key()] = c
	return c, nil
}

// FailAccepts makes the next n calls of Accept on the host's listener at addr
// fail with err, for example syscall.EMFILE. It reports whether there is one.
func (h *Host) FailAccepts(addr netip.AddrPort, n int, err error) bool {
	h.mu.Lock()
	l := h.listeners[addr]
	h.mu.Unlock()
	if l == nil {
		return false
	}
	l.failAccepts(n, err)
	return true
}

// Reset resets every connection of the host, as when it loses power and comes
// back.
func (h *Host) Reset() {
	h.mu.Lock()
	var conns []*conn
	for _, c := range h.streams {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	for _, c := range conns {
		c.resetBoth()
	}
}

func opError(op, network string, a netip.AddrPort, err error) error {
	e := &net.OpError{Op: op, Net: network, Err: err}
	if network == "udp" {
		e.Addr = net.UDPAddrFromAddrPort(a)
	} else {
		e.Addr = net.TCPAddrFromAddrPort(a)
	}
	return e
}
