package transport

import (
	"container/list"
	"errors"
	"sync"

	"github.com/gocscf/gocscf/ims/sip"
)

var errPartial = errors.New("the messages that strangers have begun and not completed take too much memory, and this one has waited the longest")

// partials are the connections of strangers on which a message has begun that needs
// more than the buffer which each has. A message may be long, and may take its time, but
// not on all connections at once: beyond Config.MaxPartial whoever has waited the longest
// gives way. Whoever means it is complete within a moment.
type partials struct {
	mu     sync.Mutex
	octets int
	places map[*conn]*list.Element
	oldest list.List // of partial
}

type partial struct {
	c      *conn
	octets int // of the buffer
}

// holds says how large the buffer is of a message that is not complete, 0 for none. It
// is for the goroutine that reads, which may hold the socket: what it closes would wait
// for it, so another does.
func (c *conn) holds(octets int) {
	if c.peer.role != sip.RoleGm || octets == 0 && !c.holding {
		return
	}
	c.holding = octets > 0
	t := c.t
	for _, gone := range t.partials.set(c, octets, t.cfg.MaxPartial) {
		t.dropped(gone.flow, PartialLimit, nil)
		t.wg.Go(func() { gone.close(errPartial) })
	}
}

// set notes what a connection holds, and returns those that give way.
func (p *partials) set(c *conn, octets, limit int) (gone []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch place := p.places[c]; {
	case place != nil && octets > 0:
		p.octets += octets - place.Value.(partial).octets
		place.Value = partial{c, octets}
	case place != nil:
		p.drop(place)
	case octets > 0:
		p.octets += octets
		if p.places == nil {
			p.places = make(map[*conn]*list.Element)
		}
		p.places[c] = p.oldest.PushBack(partial{c, octets})
	}
	for limit >= 0 && p.octets > limit {
		first := p.oldest.Front()
		gone = append(gone, first.Value.(partial).c)
		p.drop(first)
	}
	return gone
}

func (p *partials) drop(place *list.Element) {
	v := p.oldest.Remove(place).(partial)
	delete(p.places, v.c)
	p.octets -= v.octets
}
