package pcscf

import (
	"net/netip"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
)

// Flows that fall together under one hash are told apart, whichever goes first.
func TestFlowsOfOneHash(t *testing.T) {
	table := newFlowTable()
	table.hash = func(addrPair) uint64 { return 7 }
	var all []*association
	for i := range 3 {
		all = append(all, &association{Set: &ipsec.Set{
			Local:  ipsec.End{Addr: netip.MustParseAddr("192.0.2.1"), PortC: 5100, PortS: 6100},
			Remote: ipsec.End{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(2 + i)}), PortC: 7000, PortS: 6000},
		}})
	}
	stand := map[*association]bool{}
	look := func(when string) {
		t.Helper()
		n := 0
		for i, a := range all {
			for _, f := range a.flows() {
				want := a
				if !stand[a] {
					want = nil
				}
				if got := table.get(f); got != want {
					t.Errorf("%s: a flow of phone %d has the set %p, want %p", when, i, got, want)
				}
			}
			if stand[a] {
				n++
			}
		}
		if n == 0 && table.len() != 0 {
			t.Errorf("%s: %d are left", when, table.len())
		}
	}
	put := func(a *association) {
		for _, f := range a.flows() {
			table.put(f, a)
		}
		stand[a] = true
	}
	remove := func(a *association) {
		for _, f := range a.flows() {
			table.remove(f, a)
		}
		stand[a] = false
	}
	for _, order := range [][3]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		for _, a := range all {
			put(a)
			look("put")
		}
		for _, i := range order {
			remove(all[i])
			look("removed")
			put(all[i])
			look("back")
			remove(all[i])
			look("gone")
		}
	}
}

// A set that takes the flow of another is its set, and the other's end does not end it.
func TestAFlowThatChangesItsSet(t *testing.T) {
	for _, hash := range []func(addrPair) uint64{newFlowTable().hash, func(addrPair) uint64 { return 7 }} {
		table := newFlowTable()
		table.hash = hash
		s := ipsec.Set{
			Local:  ipsec.End{Addr: netip.MustParseAddr("192.0.2.1"), PortC: 5100, PortS: 6100},
			Remote: ipsec.End{Addr: netip.MustParseAddr("192.0.2.2"), PortC: 7000, PortS: 6000},
		}
		old, next := &association{Set: &s}, &association{Set: &s}
		for _, a := range []*association{old, next} {
			for _, f := range a.flows() {
				table.put(f, a)
			}
		}
		for _, f := range old.flows() {
			table.remove(f, old)
			if table.get(f) != next {
				t.Errorf("the flow %v has lost its set", f)
			}
		}
		for _, f := range next.flows() {
			table.remove(f, next)
		}
		for _, f := range next.flows() {
			if table.get(f) != nil {
				t.Errorf("the flow %v has a set that is gone", f)
			}
		}
		if n := table.len(); n != 0 {
			t.Errorf("%d are left", n)
		}
	}
}
