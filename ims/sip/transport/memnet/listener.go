package memnet

import (
	"net"
	"net/netip"
	"sync"
)

// maxPending is how many connections wait for Accept; who comes then gets no
// answer.
const maxPending = 128

type listener struct {
	host  *Host
	local netip.AddrPort
	bound []netip.AddrPort

	mu     sync.Mutex
	cond   sync.Cond
	queue  []*conn
	closed bool
	fails  int
	err    error
}

func newListener(h *Host, local netip.AddrPort, bound []netip.AddrPort) *listener {
	l := &listener{host: h, local: local, bound: bound}
	l.cond.L = &l.mu
	return l
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// push queues a connection, if there is room.
func (l *listener) push(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queue) >= maxPending {
		return false
	}
	l.queue = append(l.queue, c)
	l.cond.Broadcast()
	return true
}

func (l *listener) failAccepts(n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails, l.err = n, err
	l.cond.Broadcast()
}

func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, opError("accept", "tcp", l.local, net.ErrClosed)
		case l.fails > 0:
			l.fails--
			return nil, opError("accept", "tcp", l.local, l.err)
		case len(l.queue) > 0:
			c := l.queue[0]
			l.queue = l.queue[1:]
			return c, nil
		}
		l.cond.Wait()
	}
}

// Close stops listening, and resets the connections that nobody accepted.
func (l *listener) Close() error {
	l.host.mu.Lock()
	for _, a := range l.bound {
		if l.host.listeners[a] == l {
			delete(l.host.listeners, a)
		}
	}
	l.host.mu.Unlock()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return opError("close", "tcp", l.local, net.ErrClosed)
	}
	l.closed = true
	queue := l.queue
	l.queue = nil
	l.cond.Broadcast()
	l.mu.Unlock()
	for _, c := range queue {
		c.resetBoth()
	}
	return nil
}
