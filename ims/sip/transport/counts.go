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
	dialled                // by us, for a request, and not between protected ports
	shares
)

// maxAnswering is how many connections to one source may be on their way up at a time
// because a response has to be sent whose own connection has ended: whoever sends
// requests decides how many there are, and to which ports.
const maxAnswering = 16

// shareOf says whose a connection is. Asked is one that somebody else is the cause of:
// he has opened it, or is owed a response.
func shareOf(role sip.Role, asked bool) share {
	switch {
	case role == sip.RoleProtectedServer || role == sip.RoleProtectedClient:
		return phones
	case !asked:
		return dialled
	case role == sip.RoleGm:
		return strangers
	}
	return others
}

// source is who has connected to us, or has us connect to him. What strangers do counts
// against nobody who has their address, behind a NAT or in a lab, and an SA set or a
// place in the core.
type source struct {
	share share
	addr  netip.Addr // Flow.Source
}

// counts are the connections that limits are about: those that take a descriptor, and
// those that are being dialled. One that has ended, and waits for its peer to have read
// what was written, is not found any more but counts until it is closed. Its fields are
// under Transport.mu.
type counts struct {
	all       int
	of        [shares]int
	bySource  map[source]int // of those that are asked for
	answering map[source]int // of these, those that are being dialled
}

func newCounts() counts {
	return counts{bySource: make(map[source]int), answering: make(map[source]int)}
}

// enter counts a connection.
func (n *counts) enter(c *conn) {
	c.counted = true
	n.all++
	n.of[c.share()]++
	if !c.asked {
		return
	}
	n.bySource[c.source()]++
	if !c.opened {
		c.answering = true
		n.answering[c.source()]++
	}
}

// dialOver notes that a connection is no longer being dialled.
func (n *counts) dialOver(c *conn) {
	if c.answering {
		c.answering = false
		less(n.answering, c.source())
	}
}

func less(m map[source]int, s source) {
	if m[s]--; m[s] == 0 {
		delete(m, s)
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
	t.newcomers.leave(c)
	n := &t.counts
	n.all--
	n.of[c.share()]--
	n.dialOver(c)
	if c.asked {
		less(n.bySource, c.source())
	}
}

func (c *conn) share() share   { return shareOf(c.peer.role, c.asked) }
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

// full reports which limit keeps one more connection out, if any does. The caller holds
// t.mu.
func (t *Transport) full(s source, asked, dial bool) (why Reason, full bool) {
	switch {
	case !t.room(s.share):
		return ConnLimit, true
	case asked && over(t.counts.bySource[s], t.cfg.MaxConnsPerAddr):
		return AddrLimit, true
	// Phones with SAs may have the same address, each behind a NAT of his own.
	case asked && dial && s.share != phones && t.counts.answering[s] >= maxAnswering:
		return AddrLimit, true
	}
	return 0, false
}

// room reports whether there is room for one more connection of a share.
func (t *Transport) room(s share) bool { return t.cfg.MaxConns < 0 || t.free(s) > 0 }

// free is how many more connections of a share there is room for.
func (t *Transport) free(s share) int {
	free := t.cfg.MaxConns - t.counts.all
	for o, keep := range t.kept() {
		if share(o) != s {
			free -= max(0, keep-t.counts.of[o])
		}
	}
	return free
}
