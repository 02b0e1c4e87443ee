// Package inproc lets functions that share a process hand their messages over in
// memory: a [transport.Net] that keeps what goes from one function's address to
// another's away from the kernel, and leaves everything else to the Net below it.
//
// For the functions nothing changes: they have the addresses, the Vias (RFC 3261
// 18.1.1 still chooses UDP or TCP), the trace and the limits that they have as
// processes of their own. What crosses is octets, never a parsed message: the
// sender's buffer, lent until Write returns, is given to the receiver's
// transport on the sender's writing goroutine, and copied there.
package inproc

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/gocscf/gocscf/ims/sip/transport"
)

// Hub knows which addresses are in the process. The zero value is ready to use.
type Hub struct {
	mu        sync.RWMutex
	sockets   map[netip.AddrPort]*packetConn
	listeners map[netip.AddrPort]*listener
	lastPort  uint16
}

// Net returns the Net of a function. What is opened at one of the addresses own can
// be reached in memory; other addresses, those towards phones, cannot. A wildcard
// address, or one without a port, is the network's below alone.
func (h *Hub) Net(below transport.Net, own ...netip.AddrPort) transport.Net {
	n := &hubNet{hub: h, below: below}
	for _, a := range own {
		if a = unmap(a); a.Port() != 0 && !a.Addr().IsUnspecified() {
			n.own = append(n.own, a)
		}
	}
	return n
}

func (h *Hub) socket(at netip.AddrPort) *packetConn {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.sockets[at]
}

func (h *Hub) listener(at netip.AddrPort) *listener {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.listeners[at]
}

// port returns the source port of a connection that asks for none. No socket has
// it; it only tells connections apart.
func (h *Hub) port() uint16 {
	const first = 32768
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastPort = max(h.lastPort+1, first)
	return h.lastPort
}

type hubNet struct {
	hub   *Hub
	below transport.Net
	own   []netip.AddrPort
}

// ListenPacket opens a UDP socket of the network below; it is reached in memory
// as well where it is the function's own.
func (n *hubNet) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	pc, err := n.below.ListenPacket(local)
	local = unmap(local)
	if err != nil || !slices.Contains(n.own, local) {
		return pc, err
	}
	c := &packetConn{PacketConn: pc, hub: n.hub, local: local}
	c.batch, _ = pc.(transport.BatchConn)
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	if n.hub.sockets == nil {
		n.hub.sockets = map[netip.AddrPort]*packetConn{}
	}
	n.hub.sockets[local] = c
	return c, nil
}

// Listen opens a listening socket of the network below; connections come in memory
// as well where it is the function's own.
func (n *hubNet) Listen(local netip.AddrPort) (net.Listener, error) {
	below, err := n.below.Listen(local)
	local = unmap(local)
	if err != nil || !slices.Contains(n.own, local) {
		return below, err
	}
	l := newListener(n.hub, below, local)
	n.hub.mu.Lock()
	defer n.hub.mu.Unlock()
	if n.hub.listeners == nil {
		n.hub.listeners = map[netip.AddrPort]*listener{}
	}
	n.hub.listeners[local] = l
	return l, nil
}

// Dial connects in memory where somebody in the process listens at remote. That is
// for functions' own addresses: what leaves from elsewhere goes over the network.
func (n *hubNet) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	local, remote = unmap(local), unmap(remote)
	l := n.hub.listener(remote)
	if l == nil || !n.mayLeave(local) {
		return n.below.Dial(ctx, local, remote)
	}
	if !local.Addr().IsValid() {
		local = netip.AddrPortFrom(remote.Addr(), 0)
	}
	if local.Port() == 0 {
		local = netip.AddrPortFrom(local.Addr(), n.hub.port())
	}
	return l.dial(ctx, local)
}

// mayLeave reports whether local is an address of the function's own, with any port.
func (n *hubNet) mayLeave(local netip.AddrPort) bool {
	return slices.ContainsFunc(n.own, func(a netip.AddrPort) bool {
		return !local.Addr().IsValid() || a.Addr() == local.Addr()
	})
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// PathMTU is what the network below knows.
func (n *hubNet) PathMTU(local, remote netip.Addr) int {
	if k, ok := n.below.(transport.MTUKnower); ok {
		return k.PathMTU(local, remote)
	}
	return 0
}
