package esp

import (
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

func TestSequenceNumbersNeverCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewMemory(MemoryConfig{})
		p, u := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		pcscf, phone := newHost(t, Config{Carriers: []Carrier{n.Carrier()}}), newHost(t, Config{Carriers: []Carrier{n.Carrier()}})
		install(t, pcscf, p)
		install(t, phone, u)
		phone.sets[1].out[ipsec.AtClient].seq.Store(math.MaxUint32 - 1)
		send := func(text string) error { return phone.SendUDP(u.Local.Client(), u.Remote.Server(), []byte(text)) }
		if err := send("the last"); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := send("too many"); !errors.Is(err, ErrExhausted) {
				t.Errorf("after number 2^32-1: %v, want %v", err, ErrExhausted)
			}
		}
		if err := phone.SendUDP(u.Local.Server(), u.Remote.Client(), nil); !errors.Is(err, ErrExhausted) {
			t.Errorf("the set's other association still sends: %v", err)
		}
		pcscf.expect(t, []string{"UDP 192.0.2.2:6301->192.0.2.1:6100 the last"}, nil)
	})
}

func TestHardLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{})
		p, _ := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		p.Hard = time.Now().Add(time.Hour)
		install(t, h, p)
		q, _ := setPair(2, "192.0.2.1", "192.0.2.3", ipsec.Pairs[0])
		install(t, h, q) // has no end
		time.Sleep(59 * time.Minute)
		if err := h.Extend(1, time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
		time.Sleep(59 * time.Minute)
		if _, ok := h.Stats(1); !ok {
			t.Error("gone before its end")
		}
		time.Sleep(time.Minute)
		h.expect(t, nil, []string{"removed 192.0.2.2:6301->192.0.2.1:6100", "removed 192.0.2.2:6300->192.0.2.1:5100", "expired 1"})
		if _, ok := h.Stats(1); ok {
			t.Error("there after its end")
		}
		if err := h.SendUDP(p.Local.Server(), p.Remote.Client(), nil); !errors.Is(err, ErrNoSA) {
			t.Errorf("it still sends: %v", err)
		}
		if err := h.Extend(1, time.Now().Add(time.Hour)); err == nil {
			t.Error("a set that is gone was extended")
		}
		if err := h.Extend(2, time.Now()); err == nil {
			t.Error("a set was extended to now")
		}
		if _, ok := h.Stats(2); !ok {
			t.Error("a set without an end has ended")
		}
		p.Hard = time.Now().Add(-time.Second)
		if err := h.Install(p); err == nil {
			t.Error("a set that has ended was installed")
		}
	})
}

// A set that ends, in whichever way, lets go of what its keys were expanded to.
func TestTheEndedKeepNoKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{})
		p, _ := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		q, _ := setPair(2, "192.0.2.1", "192.0.2.3", ipsec.Pairs[0])
		q.Hard = time.Now().Add(time.Hour)
		install(t, h, p)
		install(t, h, q)
		removed, expired := &h.sets[1].transform, &h.sets[2].transform
		if removed.ready.Load() == nil || expired.ready.Load() == nil {
			t.Fatal("whoever has just got keys has not expanded them")
		}
		if err := h.Remove(1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for name, tr := range map[string]*Transform{"removed": removed, "expired": expired} {
			if tr.ready.Load() != nil || tr.place != forgotten || slices.Contains(h.warm.ring, tr) {
				t.Errorf("what was %s keeps its expanded keys, and a place among %d", name, len(h.warm.ring))
			}
		}
	})
}

// The timer has fired and is on its way when the set is extended.
func TestExtensionAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{})
		p, _ := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		p.Hard = time.Now().Add(time.Hour)
		install(t, h, p)
		a := h.sets[1]
		time.Sleep(time.Hour - 1)
		if err := h.Extend(1, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		h.expire(a)
		h.expect(t, nil, []string{})
		if err := h.Extend(1, time.Time{}); err != nil {
			t.Fatal(err)
		}
		h.expire(a)
		time.Sleep(24 * time.Hour)
		h.expect(t, nil, []string{})
		if err := h.Extend(1, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.expect(t, nil, []string{"removed 192.0.2.2:6301->192.0.2.1:6100", "removed 192.0.2.2:6300->192.0.2.1:5100", "expired 1"})
	})
}

func TestInstallIsAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{})
		p, _ := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		install(t, h, p)
		bad, _ := setPair(2, "192.0.2.1", "192.0.2.3", ipsec.Pairs[0])
		bad.Local.SPIC = p.Local.SPIS // its second inbound association
		bad.Local.SPIS, bad.Local.SPIC = bad.Local.SPIC, 2000
		for i, s := range []*ipsec.Set{p, bad, {ID: 3}} {
			if err := h.Install(s); err == nil {
				t.Errorf("set %d was installed", i)
			}
		}
		if err := h.SendUDP(bad.Local.Server(), bad.Remote.Client(), nil); !errors.Is(err, ErrNoSA) {
			t.Errorf("the refused set has left an outbound association: %v", err)
		}
		if sa, _ := h.in.get(2000); sa != nil {
			t.Error("the refused set has left an inbound association")
		}
		for range 2 {
			if err := h.Remove(1); err != nil {
				t.Error(err)
			}
		}
		bad.Local.SPIS = 2001
		install(t, h, bad)
		if err := errors.Join(h.Close(), h.Close()); err != nil {
			t.Error(err)
		}
		if err := h.Install(p); !errors.Is(err, ErrClosed) {
			t.Errorf("installed after Close: %v", err)
		}
	})
}
