package transport

import "net/netip"

// counts are the connections that limits are about: those that take a descriptor, and
// those that are being dialled. One that has ended, and waits for its peer to have read
// what was written, is not found any more but counts until it is closed. Its fields are
// under Transport.mu.
type counts struct {
	all    int
	byAddr map[netip.Addr]int // accepted ones, by Flow.Source
}

// enter counts a connection.
func (n *counts) enter(c *conn) {
	c.counted = true
	n.all++
	if c.accepted {
		n.byAddr[c.flow.Source()]++
	}
}

// uncount gives a connection's place back, once: it is closed.
func (t *Transport) uncount(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !c.counted {
		return
	}
	c.counted = false
	n := &t.counts
	n.all--
	if !c.accepted {
		return
	}
	a := c.flow.Source()
	if n.byAddr[a]--; n.byAddr[a] == 0 {
		delete(n.byAddr, a)
	}
}
