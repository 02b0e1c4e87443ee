package ipsec

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestSPIsAreOursAlone(t *testing.T) {
	conformance.Partly(t, "IP-03", "IP-24")
	p := NewSPIs()
	seen := make(map[uint32]bool)
	var high uint32
	for range 5000 {
		for range 2 {
			c, s := p.Take()
			for _, spi := range []uint32{c, s} {
				if spi < MinSPI || spi >= 1<<31 || seen[spi] {
					t.Fatalf("SPI %d", spi)
				}
				seen[spi], high = true, max(high, spi)
			}
		}
	}
	if high < 1<<30 { // 20,000 draws, all in the lower half
		t.Errorf("the highest of 20,000 SPIs is %d: can they be guessed?", high)
	}
	for spi := range seen {
		p.Release(spi)
	}
	if p.Len() != 0 {
		t.Errorf("%d SPIs leaked", p.Len())
	}
}

func TestSPIsDifferFromThePhones(t *testing.T) {
	conformance.Partly(t, "IP-03")
	p := NewSPIs()
	// What the dice show, twice the SPI each: reserved, the phone's two, good, the same again, good.
	p.random = bytes.NewReader([]byte{
		0, 0, 1, 254, 0, 0, 2, 0, 0, 0, 2, 2, 0, 0, 2, 4, 0, 0, 2, 4, 0, 0, 2, 6,
	})
	if c, s := p.Take(256, 257); c != 258 || s != 259 {
		t.Errorf("SPIs %d and %d", c, s)
	}
}

var phoneAddr = netip.MustParseAddr("192.0.2.1")

func phoneSet(portC, portS uint16) *Set {
	return &Set{ID: NewSetID(), Remote: End{Addr: phoneAddr, PortC: portC, PortS: portS}}
}

func newPorts(t interface{ Fatal(...any) }, server, client uint16) *Ports {
	var s, c []uint16
	for i := range server {
		s = append(s, 6100+i)
	}
	for i := range client {
		c = append(c, 5100+i)
	}
	p, err := NewPorts(s, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPortsOverReRegistrations(t *testing.T) {
	conformance.Partly(t, "PR-23", "IP-24")
	p := newPorts(t, 4, 8)
	take := func(s *Set, held ...*Set) *Set {
		t.Helper()
		if err := p.Take(s, held); err != nil {
			t.Fatal(err)
		}
		for _, h := range held {
			if h.Local.PortC == s.Local.PortC {
				t.Errorf("port_pc %d is that of a set the phone still has", s.Local.PortC)
			}
		}
		return s
	}
	first := take(phoneSet(6301, 6300))
	second := take(phoneSet(6303, 6300), first)
	if second.Local.PortS != first.Local.PortS {
		t.Errorf("port_ps moves from %d to %d", first.Local.PortS, second.Local.PortS)
	}
	// A phone that lost everything takes the same ports as before: not refused.
	lost := take(phoneSet(6303, 6300), second, first)
	if lost.Local.PortS == second.Local.PortS {
		t.Errorf("two sets between our port %d and %v", lost.Local.PortS, lost.Remote.Client())
	}
	// From there on, the new port_ps stays.
	if next := take(phoneSet(6305, 6300), lost, second); next.Local.PortS != lost.Local.PortS {
		t.Errorf("port_ps moves from %d to %d", lost.Local.PortS, next.Local.PortS)
	}
}

func TestPortsBehindOneNAT(t *testing.T) {
	conformance.Partly(t, "IP-19")
	p := newPorts(t, 3, 8)
	nat := netip.MustParseAddrPort("198.51.100.1:0")
	taken := make(map[uint16]bool)
	var first *Set
	for i := range 3 {
		s := phoneSet(6301, 6300)
		s.Remote.Addr = netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", i+1))
		s.Mode, s.Outer = UDPTunnel, nat
		if err := p.Take(s, nil); err != nil || taken[s.Local.PortS] {
			t.Fatalf("phone %d: port_ps %d, %v", i, s.Local.PortS, err)
		}
		taken[s.Local.PortS] = true
		if i == 0 {
			first = s
		}
	}
	again := phoneSet(6303, 6300)
	again.Remote.Addr, again.Mode, again.Outer = first.Remote.Addr, UDPTunnel, nat
	if err := p.Take(again, []*Set{first}); err != nil || again.Local.PortS != first.Local.PortS {
		t.Errorf("the first phone again: port_ps %d after %d, %v", again.Local.PortS, first.Local.PortS, err)
	}
	fourth := phoneSet(6301, 6300)
	fourth.Mode, fourth.Outer = UDPTunnel, nat
	if err := p.Take(fourth, nil); !errors.Is(err, ErrPorts) {
		t.Errorf("a fourth phone with three ports: %v", err)
	}
	if in := p.InTheWay(fourth); !slices.Contains(in, first.ID) {
		t.Errorf("%v are in its way, and not the first phone %v", in, first.ID)
	}
}

func TestPortsThatCannotBe(t *testing.T) {
	for _, c := range [][2][]uint16{{nil, {1}}, {{1}, nil}, {{0}, {1}}, {{1, 2}, {2}}, {{1, 1}, {2}}} {
		if _, err := NewPorts(c[0], c[1]); err == nil {
			t.Errorf("server %v and client %v are taken", c[0], c[1])
		}
	}
}

// Whatever phones do, our port, their address and their port name one set, and
// nothing is left when all sets are gone.
func TestPortsNameOneSet(t *testing.T) {
	conformance.Partly(t, "IP-24")
	rapid.Check(t, func(t *rapid.T) {
		p := newPorts(t, 2, 3)
		var live []*Set
		seen := make(map[tuple]*Set)
		drop := func(i int) {
			s := live[i]
			live = append(live[:i:i], live[i+1:]...)
			delete(seen, tuple{s.Local.PortS, s.Remote.Client()})
			delete(seen, tuple{s.Local.PortC, s.Remote.Server()})
			p.Release(s)
			if rapid.Bool().Draw(t, "twice") {
				p.Release(s)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(live) > 0 && rapid.Bool().Draw(t, "release") {
				drop(rapid.IntRange(0, len(live)-1).Draw(t, "which"))
				continue
			}
			s := phoneSet(rapid.Uint16Range(1, 3).Draw(t, "port_uc"), rapid.Uint16Range(4, 5).Draw(t, "port_us"))
			var held []*Set
			for _, l := range live {
				if rapid.Bool().Draw(t, "held") {
					held = append(held, l)
				}
			}
			if err := p.Take(s, held); err != nil {
				if !errors.Is(err, ErrPorts) || len(live) == 0 {
					t.Fatal(err)
				}
				in := p.InTheWay(s)
				for _, l := range live {
					if got, want := slices.Contains(in, l.ID), l.Remote.Client() == s.Remote.Client() || l.Remote.Server() == s.Remote.Server(); got != want {
						t.Fatalf("%v in the way of %v: %v", l, s, got)
					}
				}
				continue
			}
			for _, k := range []tuple{{s.Local.PortS, s.Remote.Client()}, {s.Local.PortC, s.Remote.Server()}} {
				if o := seen[k]; o != nil {
					t.Fatalf("%v is of %v and of %v", k, o, s)
				}
				seen[k] = s
			}
			live = append(live, s)
		}
		for len(live) > 0 {
			drop(0)
		}
		if p.Len() != 0 || len(p.nat) != 0 {
			t.Fatalf("%d sets and %d entries of NATs leaked", p.Len(), len(p.nat))
		}
	})
}
