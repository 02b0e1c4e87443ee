package transport

import (
	"container/list"
	"errors"
)

var errDisplaced = errors.New("hardly a place is left for strangers' connections, and of those that are nobody's whom we know this one is the oldest")

// newcomers are the connections of strangers, the oldest first. Where hardly a place is
// left for those, one that is nobody's whom we know gives way to the next that comes:
// whoever means it registers within a moment; who only takes places, from many addresses,
// would else have them for Config.IdleTimeout, and no phone another one. Who is known is
// asked when it matters, as phones come and go. It is under Transport.mu.
type newcomers struct {
	unknown list.List // of *conn, of which it has not been asked, or that were nobody's
	known   list.List // of *conn that were somebody's when it was asked
}

const (
	// headroom: strangers find one place in so many of Config.MaxConns free. One that
	// gives way has its place until it is closed.
	headroom = 64
	// looks is how many connections are asked about for one that comes: by the time that
	// the headroom is used up it has been asked about all that are known.
	looks = 64
)

// enter takes a new connection in, if it is a stranger's.
func (n *newcomers) enter(c *conn) {
	if c.share() == strangers {
		c.place = n.unknown.PushBack(c)
	}
}

// leave takes it out, wherever it is.
func (n *newcomers) leave(c *conn) {
	if c.place != nil {
		n.unknown.Remove(c.place)
		n.known.Remove(c.place)
		c.place = nil
	}
}

// makeRoom has the oldest connection that is nobody's give way, if hardly a place is left
// for strangers and there are more of those than places. The caller holds no lock, and reads
// no connection.
func (t *Transport) makeRoom() {
	known := t.cfg.Known
	if t.cfg.MaxConns < 0 || known == nil {
		return
	}
	if c := t.nextKnown(); c != nil {
		t.file(c, known(c.current()))
	}
	for range looks {
		c := t.nextUnknown()
		switch {
		case c == nil:
			return
		case known(c.current()):
			t.file(c, true)
		default:
			t.dropped(c.current(), Displaced, nil)
			c.close(errDisplaced) // now: the one that comes needs its place
			return
		}
	}
}

// scarce reports whether hardly a place is left for strangers, and how many are. The
// caller holds t.mu.
func (t *Transport) scarce() (free int, yes bool) {
	free = t.free(strangers)
	return free, free < t.cfg.MaxConns/headroom
}

// nextUnknown takes out the connection that gives way if it is nobody's; nil for none.
func (t *Transport) nextUnknown() *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := &t.newcomers
	if free, scarce := t.scarce(); !scarce || n.unknown.Len() <= free {
		return nil
	}
	c := n.unknown.Front().Value.(*conn)
	n.leave(c)
	return c
}

// nextKnown takes out one that was somebody's, and may not be any more.
func (t *Transport) nextKnown() *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.newcomers.known.Front()
	if _, scarce := t.scarce(); !scarce || first == nil {
		return nil
	}
	c := first.Value.(*conn)
	t.newcomers.leave(c)
	return c
}

// file puts in again what has been asked about, unless it has been closed since.
func (t *Transport) file(c *conn, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !c.counted:
	case known:
		c.place = t.newcomers.known.PushBack(c)
	default:
		c.place = t.newcomers.unknown.PushFront(c)
	}
}
