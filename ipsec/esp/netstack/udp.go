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
// engine's BatchConn.
type packetConn struct {
	stack *Stack
	local netip.AddrPort

	mu     sync.Mutex
	cond   sync.Cond
	queue  []datagram // the first have been read
	read   int
	octets int
	closed bool
	until  deadline
}

type datagram struct {
	from netip.AddrPort
	n    int
	buf  *[]byte // from buffers
}

// small and large buffers hold datagrams that wait: most are SIP messages under
// 2 KiB.
var small, large = newPool(2 << 10), newPool(1 << 16)

func newPool(size int) *sync.Pool {
	return &sync.Pool{New: func() any {
		b := make([]byte, size)
		return &b
	}}
}

func keep(from netip.AddrPort, payload []byte) datagram {
	pool := small
	if len(payload) > 2<<10 {
		pool = large
	}
	d := datagram{from, len(payload), pool.Get().(*[]byte)}
	copy(*d.buf, payload)
	return d
}

func (d *datagram) release() {
	if len(*d.buf) > 2<<10 {
		large.Put(d.buf)
	} else {
		small.Put(d.buf)
	}
	d.buf = nil
}

func newPacketConn(s *Stack, local netip.AddrPort) *packetConn {
	c := &packetConn{stack: s, local: local}
	c.cond.L = &c.mu
	return c
}

func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// push queues a datagram.
func (c *packetConn) push(from netip.AddrPort, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return esp.ErrNoListener
	case c.octets+len(payload) > c.stack.cfg.SocketBuffer:
		return esp.ErrQueueFull
	}
	if c.read == len(c.queue) {
		c.queue, c.read = c.queue[:0], 0
	} else if c.read > 64 && c.read > len(c.queue)/2 {
		n := copy(c.queue, c.queue[c.read:])
		clear(c.queue[n:])
		c.queue, c.read = c.queue[:n], 0
	}
	c.queue = append(c.queue, keep(from, payload))
	c.octets += len(payload)
	c.cond.Signal()
	return nil
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
				sizes[i], from[i] = copy(bufs[i], (*d.buf)[:d.n]), d.from
				c.octets -= d.n
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
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
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
	c.queue, c.octets, c.read = nil, 0, 0
	c.until.set(time.Time{}, &c.cond) // wakes the reader too
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

// deadline wakes those who wait on a condition when a time has come. Its mutex is
// the condition's.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set changes the deadline. The caller holds cond.L.
func (d *deadline) set(t time.Time, cond *sync.Cond) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			cond.L.Lock()
			defer cond.L.Unlock()
			cond.Broadcast()
		})
	}
	cond.Broadcast()
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
