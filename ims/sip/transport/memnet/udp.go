package memnet

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	maxPayload = 65507   // of a datagram over IPv4
	maxBacklog = 4 << 20 // octets that wait to be read; what comes then is lost
)

// packetConn is a UDP socket. Besides net.PacketConn it has the methods of
// transport.BatchConn and transport.UnreachableNotifier.
type packetConn struct {
	host  *Host
	local netip.AddrPort // as it was asked for
	bound []netip.AddrPort

	mu     sync.Mutex
	cond   sync.Cond
	queue  []datagram
	octets int
	closed bool
	read   deadline
	notify func(netip.AddrPort, error)
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

func newPacketConn(h *Host) *packetConn {
	c := &packetConn{host: h}
	c.cond.L = &c.mu
	return c
}

func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

func (c *packetConn) NotifyUnreachable(f func(netip.AddrPort, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notify = f
}

func (c *packetConn) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 || c.closed || c.read.passed() {
		if c.closed {
			return 0, opError("read", "udp", c.local, net.ErrClosed)
		}
		if c.read.passed() {
			return 0, opError("read", "udp", c.local, os.ErrDeadlineExceeded)
		}
		c.cond.Wait()
	}
	n := min(len(c.queue), len(bufs))
	for i, d := range c.queue[:n] {
		sizes[i], from[i] = copy(bufs[i], d.data), d.from
		c.octets -= len(d.data)
	}
	clear(c.queue[:n])
	c.queue = c.queue[n:]
	return n, nil
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	var size [1]int
	var from [1]netip.AddrPort
	if _, err := c.ReadBatch([][]byte{b}, size[:], from[:]); err != nil {
		return 0, nil, err
	}
	return size[0], net.UDPAddrFromAddrPort(from[0]), nil
}

func (c *packetConn) WriteBatch(bufs [][]byte, to []netip.AddrPort) (int, error) {
	for i, b := range bufs {
		if err := c.write(b, to[i]); err != nil {
			return i, err
		}
	}
	return len(bufs), nil
}

func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, opError("write", "udp", c.local, syscall.EINVAL)
	}
	if err := c.write(b, u.AddrPort()); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *packetConn) write(b []byte, to netip.AddrPort) error {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	from := c.source()
	switch {
	case closed:
		return opError("write", "udp", to, net.ErrClosed)
	case len(b) > maxPayload:
		return opError("write", "udp", to, os.NewSyscallError("sendto", syscall.EMSGSIZE))
	case from.Addr().Is4() != to.Addr().Is4():
		return opError("write", "udp", to, os.NewSyscallError("sendto", syscall.ENETUNREACH))
	}
	n := c.host.net
	p := pair{from.Addr(), to.Addr()}
	switch n.inspect(Packet{Datagram, from, to, b}) {
	case Pass:
	case Refuse:
		n.events.after(n.datagram(p, 0).back, func() { c.unreachable(to, syscall.ECONNREFUSED) })
		return nil
	default:
		return nil
	}
	f := n.datagram(p, len(b))
	if f.err != 0 {
		n.events.after(f.back, func() { c.unreachable(to, f.err) })
	}
	if f.lost {
		return nil
	}
	data := bytes.Clone(b)
	for _, d := range f.delays {
		n.events.after(d, func() {
			if !n.host(to.Addr()).deliver(to, datagram{from, data}) {
				n.events.after(n.linkOf(pair{p.to, p.from}).Delay, func() { c.unreachable(to, syscall.ECONNREFUSED) })
			}
		})
	}
	return nil
}

// source is the address that a datagram leaves from.
func (c *packetConn) source() netip.AddrPort { return c.bound[0] }

// deliver puts a datagram into its socket's queue. It is false where nobody
// listens.
func (h *Host) deliver(to netip.AddrPort, d datagram) bool {
	h.mu.Lock()
	c := h.packets[to]
	h.mu.Unlock()
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.octets+len(d.data) <= maxBacklog {
		c.queue = append(c.queue, d)
		c.octets += len(d.data)
		c.cond.Broadcast()
	}
	return true
}

func (c *packetConn) unreachable(to netip.AddrPort, err syscall.Errno) {
	c.mu.Lock()
	f, closed := c.notify, c.closed
	c.mu.Unlock()
	if f != nil && !closed {
		f(to, err)
	}
}

func (c *packetConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.set(t, &c.cond)
	return nil
}

// SetWriteDeadline does nothing: a write never waits.
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }

func (c *packetConn) Close() error {
	c.host.mu.Lock()
	for _, a := range c.bound {
		if c.host.packets[a] == c {
			delete(c.host.packets, a)
		}
	}
	c.host.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return opError("close", "udp", c.local, net.ErrClosed)
	}
	c.closed = true
	c.queue = nil
	c.read.set(time.Time{}, &c.cond)
	return nil
}
