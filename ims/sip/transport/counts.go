package transport

import (
	"net/netip"

	"github.com/gocscf/gocscf/ims/sip"
)

// share is whose a connection is. Of Config.MaxConns each has a part that the others
// leave alone, and may take of what is nobody's part.
type share uint8

const (
	strangers share = iota // whoever connects to the open port towards phones
	phones                 // between protected ports, either way
	others                 // functions and application servers that connect to us
	dialled                // by us, and not between protected ports
	shares
)

func shareOf(role sip.Role, accepted bool) share {
	switch {
	case role == sip.RoleProtectedServer || role == sip.RoleProtectedClient:
		return phones
	case !accepted:
		return dialled
	case role == sip.RoleGm:
		return strangers
	}
	return others
}

// source is who has connected to us. What strangers do counts against nobody who has
// their address, behind a NAT or in a lab, and an SA set or a place in the core.
type source struct {
	share share
	addr  netip.Addr // Flow.Source
}

// counts are the connections that limits are about: those that take a descriptor, and
// those that are being dialled. One that has ended, and waits for its peer to have read
// what was written, is not found any more but counts until it is closed. Its fields are
// under Transport.mu.
type counts struct {
	all      int
	of       [shares]int
	bySource map[source]int // accepted ones
}

// enter counts a connection.
func (n *counts) enter(c *conn) {
	c.counted = true
	n.all++
	n.of[c.share()]++
	if c.accepted {
		n.bySource[c.source()]++
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
	n.of[c.share()]--
	if !c.accepted {
		return
	}
	s := c.source()
	if n.bySource[s]--; n.bySource[s] == 0 {
		delete(n.bySource, s)
	}
}

func (c *conn) share() share   { return shareOf(c.peer.role, c.accepted) }
func (c *conn) source() source { return source{c.share(), c.flow.Source()} }

// kept is how many connections of each share always have room: an eighth those that we
// dial and, where we listen for them, others; a quarter phones, of whom each has one.
// Strangers have what is left, half where there are all of these. The caller holds t.mu.
func (t *Transport) kept() (keep [shares]int) {
	eighth := t.cfg.MaxConns / 8
	keep[dialled] = eighth
	for _, l := range t.listens {
		switch shareOf(l.Role, true) {
		case phones:
			keep[phones] = 2 * eighth
		case others:
			keep[others] = eighth
		}
	}
	return keep
}

// room reports whether there is room for one more connection of a share. The caller
// holds t.mu.
func (t *Transport) room(s share) bool {
	if t.cfg.MaxConns < 0 {
		return true
	}
	free := t.cfg.MaxConns - t.counts.all
	for o, keep := range t.kept() {
		if share(o) != s {
			free -= max(0, keep-t.counts.of[o])
		}
	}
	return free > 0
}
