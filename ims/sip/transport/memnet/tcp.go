package memnet

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how many octets of a connection may be written and not yet read.
const window = 64 << 10

var errReset = os.NewSyscallError("read", syscall.ECONNRESET)

// conn is one end of a connection. What the other end writes travels through
// the network into its buffer.
type conn struct {
	host          *Host
	local, remote netip.AddrPort

	*shared
	peer     *conn         // nil until the far host has admitted the connection
	in       []byte        // arrived, not read
	travel   int           // octets written by the peer, not arrived
	line     []func(*conn) // what will arrive, in order
	finished bool          // nothing more arrives
	noWrite  bool          // we have finished writing
	err      error         // the connection was reset
	closed   bool
	read     deadline
	write    deadline
}

// shared is the lock of both ends, and the condition that either waits on.
type shared struct {
	mu   sync.Mutex
	cond sync.Cond
}

func newConn(h *Host, local, remote netip.AddrPort) *conn {
	c := &conn{host: h, local: local, remote: remote, shared: new(shared)}
	c.cond.L = &c.mu
	return c
}

func (c *conn) key() [2]netip.AddrPort { return [2]netip.AddrPort{c.local, c.remote} }
func (c *conn) out() pair              { return pair{c.local.Addr(), c.remote.Addr()} }

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// syn asks the remote for a connection. What it says goes to answer; it may
// say nothing.
func (c *conn) syn(answer chan<- error) {
	n := c.host.net
	there, back := c.out(), pair{c.remote.Addr(), c.local.Addr()}
	say := func(errno syscall.Errno) {
		var err error
		if errno != 0 {
			err = os.NewSyscallError("connect", errno)
		}
		n.events.after(n.segmentDelay(back), func() { answer <- err })
	}
	verdict := n.inspect(Packet{Kind: Connect, From: c.local, To: c.remote})
	l := n.linkOf(there)
	if l.Blackhole || verdict == Drop || verdict == Cut {
		return
	}
	n.events.after(n.segmentDelay(there), func() {
		switch h := n.host(c.remote.Addr()); {
		case l.Unreachable || h == nil:
			say(syscall.EHOSTUNREACH)
		case l.Refuse || verdict == Refuse || !h.admit(c, func() { say(0) }):
			say(syscall.ECONNREFUSED)
		}
	})
}

// admit makes the far end of a connection and queues it for Accept; yes is
// called if there was room. It is false where nobody listens.
func (h *Host) admit(near *conn, yes func()) bool {
	h.mu.Lock()
	l := h.listeners[near.remote]
	h.mu.Unlock()
	if l == nil {
		return false
	}
	far := &conn{host: h, local: near.remote, remote: near.local, shared: near.shared}
	near.mu.Lock()
	given := near.closed || near.err != nil // up: whoever dialled waits no more
	if !given {
		near.peer, far.peer = far, near
	}
	near.mu.Unlock()
	if given {
		return true
	}
	h.mu.Lock()
	h.streams[far.key()] = far
	h.mu.Unlock()
	if l.push(far) {
		yes()
	}
	return true
}

func (c *conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, opError("read", "tcp", c.remote, net.ErrClosed)
		case c.read.passed():
			return 0, opError("read", "tcp", c.remote, os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case len(c.in) > 0:
			n := copy(b, c.in)
			c.in = c.in[n:]
			c.cond.Broadcast() // the peer has room again
			return n, nil
		case c.err != nil:
			return 0, opError("read", "tcp", c.remote, c.err)
		case c.finished:
			return 0, io.EOF
		}
		c.cond.Wait()
	}
}

// Write waits while the peer does not read.
func (c *conn) Write(b []byte) (int, error) {
	wrote := 0
	for wrote < len(b) {
		n, err := c.room(len(b) - wrote)
		if err == nil {
			err = c.segment(b[wrote : wrote+n])
		}
		if err != nil {
			return wrote, opError("write", "tcp", c.remote, err)
		}
		wrote += n
	}
	return wrote, nil
}

// room waits until the window takes something, and reserves that much.
func (c *conn) room(want int) (int, error) {
	if s := c.host.net.linkOf(c.out()).Segment; s > 0 {
		want = min(want, s)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case c.err != nil:
			return 0, c.err
		case c.noWrite:
			return 0, os.NewSyscallError("write", syscall.EPIPE)
		case c.write.passed():
			return 0, os.ErrDeadlineExceeded
		}
		if free := window - len(c.peer.in) - c.peer.travel; free > 0 {
			n := min(want, free)
			c.peer.travel += n
			return n, nil
		}
		c.cond.Wait()
	}
}

// segment sends octets for which room was reserved.
func (c *conn) segment(b []byte) error {
	verdict := c.host.net.inspect(Packet{Segment, c.local, c.remote, b})
	arriving := bytes.Clone(b)
	switch verdict {
	case Pass:
	case Cut:
		arriving = arriving[:len(b)/2]
	default:
		arriving = nil
	}
	c.later(func(p *conn) {
		p.travel -= len(b)
		switch {
		case p.closed && c.err == nil:
			c.err = errReset // octets for nobody are answered by a reset
		case p.err == nil && !p.closed:
			p.in = append(p.in, arriving...)
		}
		if verdict != Pass {
			c.resetBothLocked()
		}
	})
	return nil
}

// later lets something happen at the peer when a packet sent now arrives, and
// never before what was sent earlier: each arrival takes what is first in line.
// The function is called with the lock held.
func (c *conn) later(do func(peer *conn)) {
	n := c.host.net
	c.mu.Lock()
	p := c.peer
	p.line = append(p.line, do)
	c.mu.Unlock()
	n.events.after(n.segmentDelay(c.out()), func() {
		n.arrive(c.out(), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			first := p.line[0]
			p.line = p.line[1:]
			first(p)
			p.cond.Broadcast()
		})
	})
}

// CloseWrite tells the peer that nothing more comes. Reading goes on.
func (c *conn) CloseWrite() error {
	c.mu.Lock()
	if c.closed || c.noWrite || c.err != nil {
		c.mu.Unlock()
		return opError("close", "tcp", c.remote, net.ErrClosed)
	}
	c.noWrite = true
	c.cond.Broadcast()
	c.mu.Unlock()
	c.finish()
	return nil
}

// finish sends a FIN. A hook that does not let it pass resets the connection.
func (c *conn) finish() {
	pass := c.host.net.inspect(Packet{Kind: Finish, From: c.local, To: c.remote}) == Pass
	c.later(func(p *conn) {
		p.finished = true
		if !pass {
			c.resetBothLocked()
		}
	})
}

// Close ends the connection. As with a real stack, the peer is reset rather
// than told of the end when there was something unread.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return opError("close", "tcp", c.remote, net.ErrClosed)
	}
	unread, told := len(c.in) > 0, c.noWrite
	c.end()
	c.mu.Unlock()
	switch {
	case unread:
		c.later(func(p *conn) { p.resetBothLocked() })
	case !told:
		c.finish()
	}
	return nil
}

// abandon ends a connection that did not come up.
func (c *conn) abandon() {
	c.mu.Lock()
	admitted := c.peer != nil
	c.end()
	c.mu.Unlock()
	if admitted {
		c.later(func(p *conn) { p.resetBothLocked() })
	}
}

// end frees what this end holds. The caller holds the lock.
func (c *conn) end() {
	c.closed = true
	c.in = nil
	c.read.set(time.Time{}, &c.cond)
	c.write.set(time.Time{}, &c.cond)
	c.host.forget(c)
}

func (c *conn) resetBoth() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resetBothLocked()
}

// resetBothLocked resets both ends; what has arrived can still be read.
func (c *conn) resetBothLocked() {
	for _, e := range []*conn{c, c.peer} {
		if e != nil && e.err == nil {
			e.err = errReset
			e.host.forget(e)
		}
	}
	c.cond.Broadcast()
}

// forget frees a connection's ports. It may be called with the connection's
// lock held; a host's lock is never held when a connection's is taken.
func (h *Host) forget(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[c.key()] == c {
		delete(h.streams, c.key())
	}
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return opError("set", "tcp", c.remote, net.ErrClosed)
	}
	c.read.set(t, &c.cond)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return opError("set", "tcp", c.remote, net.ErrClosed)
	}
	c.write.set(t, &c.cond)
	return nil
}
