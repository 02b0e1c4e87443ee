package esp

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// association is an installed set.
type association struct {
	set       ipsec.Set // does not change
	transform *Transform
	began     time.Time // what times here are counted from, see since
	in        [2]inbound
	out       [2]outbound

	path      atomic.Pointer[Path] // learned from the peer's packets; nil before
	firstSent atomic.Int64         // when, as since has it
	dead      atomic.Bool          // sequence numbers are used up: it sends no more

	mu      sync.Mutex
	hard    time.Time // zero for no end
	expiry  *time.Timer
	alive   *time.Timer // sends keep-alives
	removed bool
}

// inbound is an association on which this side receives.
type inbound struct {
	ipsec.SA
	of *association
	counters

	mu     sync.Mutex
	window window
}

// outbound is an association on which this side sends.
type outbound struct {
	ipsec.SA
	of *association
	counters
	seq   atomic.Uint64 // last used; beyond 32 bits the association is dead
	older *outbound     // between the same addresses and ports; guarded by the table
}

type counters struct {
	packets, octets                       atomic.Uint64
	badICV, replayed, malformed, selector atomic.Uint64
	last                                  atomic.Int64 // as association.since has it
}

func (c *counters) good(octets int, at int64) {
	c.packets.Add(1)
	c.octets.Add(uint64(octets))
	c.last.Store(at)
}

// since is a time as an atomic keeps it: nanoseconds since the association began, from
// 1 on, 0 for never. Unix time would move when somebody sets the clock.
func (a *association) since(t time.Time) int64 { return int64(t.Sub(a.began)) + 1 }

// at is the time of which since made ns.
func (a *association) at(ns int64) time.Time { return a.began.Add(time.Duration(ns - 1)) }

func (c *counters) bad(r Reason) {
	switch r {
	case BadICV:
		c.badICV.Add(1)
	case Replayed:
		c.replayed.Add(1)
	case Malformed:
		c.malformed.Add(1)
	case Selector:
		c.selector.Add(1)
	}
}

func (c *counters) stats(of *association) ipsec.SAStats {
	s := ipsec.SAStats{
		Packets: c.packets.Load(), Octets: c.octets.Load(),
		BadICV: c.badICV.Load(), Replayed: c.replayed.Load(), Malformed: c.malformed.Load(), Selector: c.selector.Load(),
	}
	if ns := c.last.Load(); ns != 0 {
		now := time.Now() // so that the wall clock's reading is of today, too
		s.Last = now.Add(-now.Sub(of.at(ns)))
	}
	return s
}

func newAssociation(s *ipsec.Set) (*association, error) {
	t, err := NewTransform(s.Pair, s.Material())
	if err != nil {
		return nil, err
	}
	a := &association{set: *s, transform: t, began: time.Now()}
	in, out := s.In(), s.Out()
	for i := range 2 {
		a.in[i].SA, a.in[i].of = in[i], a
		a.out[i].SA, a.out[i].of = out[i], a
	}
	return a, nil
}

// end marks the association as gone and stops its timers. It is false where it has
// been gone before, or is only to go if it has expired, and has not.
func (a *association) end(expired bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.removed || expired && (a.hard.IsZero() || time.Now().Before(a.hard)) {
		return false
	}
	a.removed = true
	for _, t := range [...]*time.Timer{a.expiry, a.alive} {
		if t != nil {
			t.Stop()
		}
	}
	return true
}

// endpoints is an association's selector, or a flow.
type endpoints struct{ local, remote netip.AddrPort }
