package esp

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// association is an installed set. There is one for each phone that is registered, so
// it is kept small: what the set says is not said again, what most phones never need
// is made when it is needed, and ends are in one list of the engine.
type association struct {
	set       *ipsec.Set // does not change
	engine    *Engine
	transform Transform
	in        [2]inbound
	out       [2]outbound

	path      atomic.Pointer[Path] // learned from the peer's packets; nil before
	firstSent atomic.Int64         // when, as Engine.since has it
	dead      atomic.Bool          // sequence numbers are used up: it sends no more

	mu      sync.Mutex
	removed bool
	hard    int64       // as Engine.since has it; 0 for no end
	expiry  ipsec.Alarm // in Engine.ends
	alive   *time.Timer // sends keep-alives
}

// Alarm is for the end of the association.
func (a *association) Alarm() *ipsec.Alarm { return &a.expiry }

// inbound is an association on which this side receives.
type inbound struct {
	counters
	of     *association
	faults atomic.Pointer[faults] // nil for none

	mu     sync.Mutex
	window window
}

func (sa *inbound) client() bool { return sa == &sa.of.in[ipsec.AtClient] }

// spi, src and dst are what names the association, and its selectors.
func (sa *inbound) spi() uint32 {
	if sa.client() {
		return sa.of.set.Local.SPIC
	}
	return sa.of.set.Local.SPIS
}

func (sa *inbound) src() netip.AddrPort {
	if sa.client() {
		return sa.of.set.Remote.Server()
	}
	return sa.of.set.Remote.Client()
}

func (sa *inbound) dst() netip.AddrPort {
	if sa.client() {
		return sa.of.set.Local.Client()
	}
	return sa.of.set.Local.Server()
}

// outbound is an association on which this side sends.
type outbound struct {
	counters
	of    *association
	seq   atomic.Uint64 // last used; beyond 32 bits the association is dead
	older *outbound     // in the same place of the table, which guards it
}

func (sa *outbound) client() bool { return sa == &sa.of.out[ipsec.AtClient] }

func (sa *outbound) spi() uint32 {
	if sa.client() {
		return sa.of.set.Remote.SPIS
	}
	return sa.of.set.Remote.SPIC
}

// ends are the addresses and ports between which it is.
func (sa *outbound) ends() endpoints {
	s := sa.of.set
	if sa.client() {
		return endpoints{s.Local.Client(), s.Remote.Server()}
	}
	return endpoints{s.Local.Server(), s.Remote.Client()}
}

type counters struct {
	packets, octets atomic.Uint64
	last            atomic.Int64 // as Engine.since has it
}

// faults counts packets that were dropped.
type faults struct{ badICV, replayed, malformed, selector atomic.Uint64 }

func (c *counters) good(octets int, at int64) {
	c.packets.Add(1)
	c.octets.Add(uint64(octets))
	c.last.Store(at)
}

func (sa *inbound) bad(r Reason) {
	f := sa.faults.Load()
	if f == nil {
		sa.faults.CompareAndSwap(nil, new(faults))
		f = sa.faults.Load()
	}
	switch r {
	case BadICV:
		f.badICV.Add(1)
	case Replayed:
		f.replayed.Add(1)
	case Malformed:
		f.malformed.Add(1)
	case Selector:
		f.selector.Add(1)
	}
}

func (c *counters) stats(e *Engine) ipsec.SAStats {
	s := ipsec.SAStats{Packets: c.packets.Load(), Octets: c.octets.Load()}
	if ns := c.last.Load(); ns != 0 {
		now := time.Now() // so that the wall clock's reading is of today, too
		s.Last = now.Add(-now.Sub(e.at(ns)))
	}
	return s
}

func (sa *inbound) stats(e *Engine) ipsec.SAStats {
	s := sa.counters.stats(e)
	if f := sa.faults.Load(); f != nil {
		s.BadICV, s.Replayed, s.Malformed, s.Selector = f.badICV.Load(), f.replayed.Load(), f.malformed.Load(), f.selector.Load()
	}
	return s
}

func (e *Engine) newAssociation(s *ipsec.Set) (*association, error) {
	a := &association{set: s, engine: e}
	if err := a.transform.key(s.Pair, s.Material()); err != nil {
		return nil, err
	}
	a.transform.warm = &e.warm
	for i := range 2 {
		a.in[i].of, a.out[i].of = a, a
	}
	return a, nil
}

// end marks the association as gone and stops its timers. It is false where it has
// been gone before, or is only to go if it has expired, and has not.
func (a *association) end(expired bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.removed || expired && (a.hard == 0 || a.engine.since(time.Now()) < a.hard) {
		return false
	}
	a.removed = true
	a.engine.ends.Stop(a)
	if a.alive != nil {
		a.alive.Stop()
	}
	return true
}

// endpoints is an association's selector, or a flow.
type endpoints struct{ local, remote netip.AddrPort }
