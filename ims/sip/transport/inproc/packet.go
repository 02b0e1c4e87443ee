package inproc

import (
	"net"
	"net/netip"
	"sync"

	"github.com/gocscf/gocscf/ims/sip/transport"
)

// packetConn is a UDP socket of the network below that sends in memory to those of
// other functions.
type packetConn struct {
	net.PacketConn
	batch transport.BatchConn // PacketConn's, if it has one
	hub   *Hub
	local netip.AddrPort

	mu      sync.Mutex // held while a datagram is delivered
	deliver func(data []byte, from netip.AddrPort)
	closed  bool
}

var (
	_ transport.BatchConn           = (*packetConn)(nil)
	_ transport.Neighbour           = (*packetConn)(nil)
	_ transport.UnreachableNotifier = (*packetConn)(nil)
)

// DeliverNear has f called with what comes in memory.
func (c *packetConn) DeliverNear(f func(data []byte, from netip.AddrPort)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deliver = f
}

// take delivers a datagram; false where the socket is closed, or not yet in use.
func (c *packetConn) take(data []byte, from netip.AddrPort) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.deliver == nil {
		return false
	}
	c.deliver(data, from)
	return true
}

// ReadBatch reads what comes over the network below.
func (c *packetConn) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	if c.batch != nil {
		return c.batch.ReadBatch(bufs, sizes, from)
	}
	n, addr, err := c.ReadFrom(bufs[0])
	if err != nil {
		return 0, err
	}
	sizes[0] = n
	if a, ok := addr.(*net.UDPAddr); ok {
		from[0] = unmap(a.AddrPort())
	}
	return 1, nil
}

// WriteBatch delivers in memory what goes to a neighbour, and leaves the rest, in
// order, to the network below.
func (c *packetConn) WriteBatch(bufs [][]byte, to []netip.AddrPort) (int, error) {
	for i := 0; i < len(bufs); {
		if near := c.hub.socket(to[i]); near != nil && near.take(bufs[i], c.local) {
			i++
			continue
		}
		end := i + 1
		for end < len(bufs) && c.hub.socket(to[end]) == nil {
			end++
		}
		n, err := c.writeFar(bufs[i:end], to[i:end])
		if i += n; err != nil || i < end {
			return i, err
		}
	}
	return len(bufs), nil
}

func (c *packetConn) writeFar(bufs [][]byte, to []netip.AddrPort) (int, error) {
	if c.batch != nil {
		return c.batch.WriteBatch(bufs, to)
	}
	for i := range bufs {
		if _, err := c.WriteTo(bufs[i], net.UDPAddrFromAddrPort(to[i])); err != nil {
			return i, err
		}
	}
	return len(bufs), nil
}

// NotifyUnreachable passes on what the network below learns.
func (c *packetConn) NotifyUnreachable(f func(remote netip.AddrPort, err error)) {
	if n, ok := c.PacketConn.(transport.UnreachableNotifier); ok {
		n.NotifyUnreachable(f)
	}
}

// Close ends the socket. No datagram is delivered after it.
func (c *packetConn) Close() error {
	c.hub.mu.Lock()
	if c.hub.sockets[c.local] == c {
		delete(c.hub.sockets, c.local)
	}
	c.hub.mu.Unlock()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.PacketConn.Close()
}
