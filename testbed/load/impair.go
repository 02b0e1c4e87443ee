package load

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ipsec/esp"
)

// Damage says which share of datagrams does not pass as it should, each way.
type Damage struct {
	Lost, Doubled, Late float64
	// Delay is how much later, at most, the copy of what is doubled and what is late come:
	// others overtake them.
	Delay time.Duration
}

// Impairment damages what passes between phones and P-CSCF, both ways. The zero value
// does nothing, nil neither.
type Impairment struct {
	now                 atomic.Pointer[Damage]
	lost, doubled, late atomic.Uint64
}

// Set changes the damage from now on.
func (i *Impairment) Set(d Damage) { i.now.Store(&d) }

// Counts are the datagrams that were lost, doubled and late so far.
func (i *Impairment) Counts() (lost, doubled, late uint64) {
	return i.lost.Load(), i.doubled.Load(), i.late.Load()
}

// pass reports whether a datagram goes on at once. later is called with a copy of it
// from another goroutine where it, or its double, comes later.
func (i *Impairment) pass(b []byte, later func([]byte)) bool {
	if i == nil {
		return true
	}
	d := i.now.Load()
	if d == nil || *d == (Damage{}) {
		return true
	}
	again := func() {
		kept := append([]byte(nil), b...)
		time.AfterFunc(rand.N(max(d.Delay, 1)), func() { later(kept) })
	}
	switch x := rand.Float64(); {
	case x < d.Lost:
		i.lost.Add(1)
		return false
	case x < d.Lost+d.Doubled:
		i.doubled.Add(1)
		again()
		return true
	case x < d.Lost+d.Doubled+d.Late:
		i.late.Add(1)
		again()
		return false
	}
	return true
}

// impaired is a carrier of ESP whose packets the impairment damages.
type impaired struct {
	esp.Carrier
	gm *Impairment

	mu     sync.Mutex // of the receiver's calls
	closed bool
}

func (c *impaired) Send(packet []byte, src netip.Addr, dst netip.AddrPort) error {
	if !c.gm.pass(packet, func(b []byte) { _ = c.Carrier.Send(b, src, dst) }) {
		return nil
	}
	return c.Carrier.Send(packet, src, dst)
}

func (c *impaired) Receive(f func(data []byte, src, dst netip.AddrPort)) error {
	one := func(data []byte, src, dst netip.AddrPort) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.closed { // what is late may be too late
			f(data, src, dst)
		}
	}
	err := c.Carrier.Receive(func(data []byte, src, dst netip.AddrPort) {
		if c.gm.pass(data, func(b []byte) { one(b, src, dst) }) {
			one(data, src, dst)
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return err
}
