package inproc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/gocscf/gocscf/ims/sip/transport"
)

// listener takes connections from the network below and from neighbours.
type listener struct {
	hub   *Hub
	below net.Listener
	local netip.AddrPort
	came  chan accepted
	end   chan struct{}
	once  sync.Once
	run   sync.WaitGroup
}

type accepted struct {
	conn net.Conn
	err  error
}

func newListener(h *Hub, below net.Listener, local netip.AddrPort) *listener {
	l := &listener{hub: h, below: below, local: local, came: make(chan accepted), end: make(chan struct{})}
	l.run.Go(l.acceptBelow)
	return l
}

// acceptBelow takes one at a time: what is not wanted yet waits in the network's own
// queue.
func (l *listener) acceptBelow() {
	for {
		c, err := l.below.Accept()
		select {
		case l.came <- accepted{c, err}:
		case <-l.end:
			if c != nil {
				_ = c.Close()
			}
			return
		}
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.came:
		return a.conn, a.err
	case <-l.end:
		return nil, opError("accept", l.local, net.ErrClosed)
	}
}

func (l *listener) Addr() net.Addr { return l.below.Addr() }

// Close stops listening. Connections that were accepted stay.
func (l *listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		l.hub.mu.Lock()
		if l.hub.listeners[l.local] == l {
			delete(l.hub.listeners, l.local)
		}
		l.hub.mu.Unlock()
		close(l.end)
		err = l.below.Close()
		l.run.Wait()
	})
	return err
}

// dial makes a connection from local, and has it accepted.
func (l *listener) dial(ctx context.Context, local netip.AddrPort) (net.Conn, error) {
	near, far := newPair(local, l.local)
	select {
	case l.came <- accepted{conn: far}:
		return near, nil
	case <-l.end:
		return nil, opError("dial", l.local, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, opError("dial", l.local, ctx.Err())
	}
}

// conn is one end of a connection in memory. What one end writes, the other's
// DeliverStream hands on, on the writer's goroutine.
type conn struct {
	local, remote netip.AddrPort
	peer          *conn
	link          *link

	mu      sync.Mutex // held while octets are delivered
	deliver func(data []byte) error
	err     error         // deliver's
	ready   chan struct{} // closed when deliver is set
	enough  chan struct{} // closed when deliver has given up
}

// link is what the two ends share: it ends once, for both.
type link struct {
	once sync.Once
	end  chan struct{}
	by   *conn
}

var _ transport.StreamDeliverer = (*conn)(nil)

func newPair(a, b netip.AddrPort) (near, far *conn) {
	l := &link{end: make(chan struct{})}
	newEnd := func(local, remote netip.AddrPort) *conn {
		return &conn{local: local, remote: remote, link: l, ready: make(chan struct{}), enough: make(chan struct{})}
	}
	near, far = newEnd(a, b), newEnd(b, a)
	near.peer, far.peer = far, near
	return near, far
}

// DeliverStream hands what the peer writes to f until the connection ends: with
// io.EOF by the peer, with net.ErrClosed by ourselves. An error of f ends it as well;
// then the peer may still be written to. f is not called afterwards.
func (c *conn) DeliverStream(f func(data []byte) error) error {
	c.mu.Lock()
	c.deliver = f
	c.mu.Unlock()
	close(c.ready)
	select {
	case <-c.enough:
	case <-c.link.end:
	}
	c.mu.Lock() // a delivery that runs ends first
	defer c.mu.Unlock()
	c.deliver = nil
	if c.err != nil {
		return c.err
	}
	if c.link.by == c {
		return opError("read", c.local, net.ErrClosed)
	}
	return io.EOF
}

// Write delivers b to the peer, who keeps nothing of it.
func (c *conn) Write(b []byte) (int, error) {
	select {
	case <-c.peer.ready:
	case <-c.link.end:
	}
	if c.peer.take(b) {
		return len(b), nil
	}
	select {
	case <-c.link.end: // by is written before that
		if c.link.by == c {
			return 0, opError("write", c.local, net.ErrClosed)
		}
	default: // the peer has had enough
	}
	return 0, opError("write", c.local, syscall.EPIPE)
}

func (c *conn) take(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.link.end:
		return false
	default:
	}
	if c.deliver == nil {
		return false
	}
	if c.err = c.deliver(b); c.err != nil {
		c.deliver = nil
		close(c.enough)
	}
	return true
}

// Close ends the connection for both ends.
func (c *conn) Close() error {
	c.link.once.Do(func() {
		c.link.by = c
		close(c.link.end)
	})
	return nil
}

// Read is not for these connections: they call.
func (c *conn) Read([]byte) (int, error) {
	return 0, opError("read", c.local, errors.ErrUnsupported)
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// Nothing waits here for longer than the peer takes to accept, so that there is
// nothing to set a deadline for.

func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func opError(op string, at netip.AddrPort, err error) error {
	return &net.OpError{Op: op, Net: "inproc", Addr: net.TCPAddrFromAddrPort(at), Err: err}
}
