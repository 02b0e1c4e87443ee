package netstack

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gocscf/gocscf/ipsec/esp"
)

// packetConn is a UDP socket. Besides net.PacketConn it has the methods of the SIP
// engine's BatchConn and Deliverer.
type packetConn struct {
	stack *Stack
	local netip.AddrPort

	mu      sync.Mutex
	cond    sync.Cond
	queue   []datagram // the first have been read
	read    int
	memory  int // what waits takes
	closed  bool
	until   deadline
	deliver func(data []byte, from netip.AddrPort)
	busy    bool // deliver runs, or what waited for it is handed over
}

func newPacketConn(s *Stack, local netip.AddrPort) *packetConn {
	c := &packetConn{stack: s, local: local}
	c.cond.L = &c.mu
	return c
}

func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// push hands a datagram over, or queues it for a reader.
func (c *packetConn) push(from netip.AddrPort, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deliver == nil {
		return c.enqueue(from, payload)
	}
	for c.busy {
		c.cond.Wait()
	}
	if c.closed {
		return esp.ErrNoListener
	}
	c.hand(func() { c.deliver(payload, from) })
	return nil
}

// hand runs f without the lock, and nothing else of its kind beside it. The caller
// holds c.mu.
func (c *packetConn) hand(f func()) {
	c.busy = true
	c.mu.Unlock()
	f()
	c.mu.Lock()
	c.busy = false
	c.cond.Broadcast()
}

// enqueue keeps a copy of a datagram. The caller holds c.mu.
func (c *packetConn) enqueue(from netip.AddrPort, payload []byte) error {
	if c.closed {
		return esp.ErrNoListener
	}
	d := keep(from, payload)
	if c.memory+d.cost() > c.stack.cfg.SocketBuffer {
		d.release()
		return esp.ErrQueueFull
	}
	if c.read == len(c.queue) {
		c.queue, c.read = c.queue[:0], 0
	} else if c.read > 64 && c.read > len(c.queue)/2 {
		n := copy(c.queue, c.queue[c.read:])
		clear(c.queue[n:])
		c.queue, c.read = c.queue[:n], 0
	}
	c.queue = append(c.queue, d)
	c.memory += d.cost()
	c.cond.Signal()
	return nil
}

// Deliver has f called with each datagram, one at a time, instead of keeping them
// for a reader. f does not block and keeps no data.
func (c *packetConn) Deliver(f func(data []byte, from netip.AddrPort)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deliver = f
	waiting := c.queue[c.read:] // none where it is closed
	c.queue, c.read, c.memory = nil, 0, 0
	c.hand(func() {
		for i := range waiting {
			f(waiting[i].payload(), waiting[i].from)
			waiting[i].release()
		}
	})
}

func (c *packetConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// ReadBatch waits for a datagram and returns all that are there and fit.
func (c *packetConn) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, opError("read", "udp", c.local, net.ErrClosed)
		case c.until.passed():
			return 0, opError("read", "udp", c.local, os.ErrDeadlineExceeded)
		case c.read < len(c.queue):
			n := min(len(c.queue)-c.read, len(bufs))
			for i := range n {
				d := &c.queue[c.read+i]
				sizes[i], from[i] = copy(bufs[i], d.payload()), d.from
				c.memory -= d.cost()
				d.release()
			}
			c.read += n
			return n, nil
		}
		c.cond.Wait()
	}
}

// ReadFromUDPAddrPort reads one datagram without an allocation.
func (c *packetConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	var size [1]int
	var from [1]netip.AddrPort
	bufs := [1][]byte{b}
	if _, err := c.ReadBatch(bufs[:], size[:], from[:]); err != nil {
		return 0, netip.AddrPort{}, err
	}
	return size[0], from[0], nil
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteBatch sends the datagrams in order.
func (c *packetConn) WriteBatch(bufs [][]byte, to []netip.AddrPort) (int, error) {
	for i, b := range bufs {
		if _, err := c.WriteToUDPAddrPort(b, to[i]); err != nil {
			return i, err
		}
	}
	return len(bufs), nil
}

// WriteToUDPAddrPort sends one datagram without an allocation.
func (c *packetConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if c.isClosed() {
		return 0, opError("write", "udp", to, net.ErrClosed)
	}
	if err := c.stack.SendUDP(c.local, unmap(to), b); err != nil {
		return 0, opError("write", "udp", to, err)
	}
	return len(b), nil
}

func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, opError("write", "udp", c.local, syscall.EINVAL)
	}
	return c.WriteToUDPAddrPort(b, u.AddrPort())
}

// Close also waits for a function given to Deliver that runs.
func (c *packetConn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return opError("close", "udp", c.local, net.ErrClosed)
	}
	c.closed = true
	for i := c.read; i < len(c.queue); i++ {
		c.queue[i].release()
	}
	c.queue, c.memory, c.read = nil, 0, 0
	c.until.set(time.Time{}, &c.cond) // wakes the reader too
	for c.busy {
		c.cond.Wait()
	}
	c.mu.Unlock()
	c.stack.forget(c)
	return nil
}

func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return opError("set", "udp", c.local, net.ErrClosed)
	}
	c.until.set(t, &c.cond)
	return nil
}

func (c *packetConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: a write does not wait.
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }
