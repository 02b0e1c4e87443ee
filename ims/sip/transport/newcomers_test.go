package transport

import (
	"fmt"
	"math"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// registry is whose connections are known.
type registry struct{ of sync.Map }

func (r *registry) set(c net.Conn, known bool) {
	if a := addrPort(c.LocalAddr()); known {
		r.of.Store(a, true)
	} else {
		r.of.Delete(a)
	}
}

func (r *registry) knows(f sip.Flow) bool { _, ok := r.of.Load(f.Remote); return ok }

const (
	placesOfStrangers = 112 // of 128, where an eighth is kept for those that we dial
	mostOfStrangers   = placesOfStrangers - 128/headroom + 1
)

// Who takes all places with connections on which nothing comes keeps nobody out: of those
// that are nobody's whom we know the oldest gives way to the next; who is not known any
// more, too.
func TestNewcomers(t *testing.T) {
	const tries = 200
	bubble(t, func(t *testing.T, _ *memnet.Network, ha, hb *memnet.Host) {
		var r registry
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{MaxConns: 128, Known: r.knows})
		known := rawDial(t, ha, b.addr)
		r.set(known, true)
		var all []net.Conn
		come := func(n int) {
			for range n {
				all = append(all, rawDial(t, ha, b.addr))
				synctest.Wait()
			}
		}
		come(tries)
		if got := b.Stats().Conns; got != mostOfStrangers {
			t.Errorf("%d connections are there, want %d", got, mostOfStrangers)
		}
		if got, want := b.counted(Displaced), tries+1-mostOfStrangers; got != want || b.counted(ConnLimit) != 0 {
			t.Errorf("%d gave way, and %d were refused; want %d and none", got, b.counted(ConnLimit), want)
		}
		write(t, known, message("known", 0))
		for _, c := range all[tries-mostOfStrangers+1:] {
			write(t, c, message("stays", 0))
		}
		synctest.Wait()
		if got := len(b.received()); got != mostOfStrangers {
			t.Errorf("%d messages have come, want %d: from who is known, and the youngest", got, mostOfStrangers)
		}
		r.set(known, false)
		come(2)
		if _, err := known.Write([]byte(message("known", 0))); err == nil {
			synctest.Wait()
			if got := len(b.received()); got != mostOfStrangers {
				t.Error("who is not known any more is still there, and younger ones have gone")
			}
		}
		for _, c := range append(all, known) {
			_ = c.Close()
		}
		synctest.Wait()
		b.Transport.mu.Lock()
		defer b.Transport.mu.Unlock()
		if n := &b.newcomers; n.unknown.Len() != 0 || n.known.Len() != 0 || b.counts.all != 0 {
			t.Errorf("%d and %d newcomers are left of %d connections, when all have ended", n.unknown.Len(), n.known.Len(), b.counts.all)
		}
	})
}

// Who has as many connections as an address may have pushes nobody out: he is refused.
func TestNobodyGivesWayToWhoIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		const each = 10
		var r registry
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{MaxConns: 128, MaxConnsPerAddr: each, Known: r.knows})
		var h *memnet.Host
		var addr string
		for i := range mostOfStrangers / each {
			addr = fmt.Sprintf("192.0.2.%d", 100+i)
			h = n.Host(addr)
			for range each {
				if _, ok := letIn(t, h, addr, b.addr); !ok {
					t.Fatalf("a connection of %s is not let in", addr)
				}
			}
		}
		for range mostOfStrangers % each {
			rawDial(t, ha, b.addr)
			synctest.Wait()
		}
		for range 20 {
			if _, ok := letIn(t, h, addr, b.addr); ok {
				t.Error("one more of an address is let in")
			}
		}
		if b.counted(Displaced) != 0 || b.counted(AddrLimit) != 20 || b.Stats().Conns != mostOfStrangers {
			t.Errorf("%d gave way to %d who were refused, %d are left", b.counted(Displaced), b.counted(AddrLimit), b.Stats().Conns)
		}
	})
}

// Phones that come at a time do not push each other out while there are places for all
// of them, and where all are known none gives way.
func TestFewNewcomers(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memnet.Network, ha, hb *memnet.Host) {
		var r registry
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{MaxConns: 128, Known: r.knows})
		for range placesOfStrangers - 2 {
			r.set(rawDial(t, ha, b.addr), true)
			synctest.Wait()
		}
		for range 2 {
			if _, ok := letIn(t, ha, "192.0.2.1", b.addr); !ok {
				t.Error("one of two that come last is not let in")
			}
		}
		if got := b.Stats().Conns; got != placesOfStrangers || b.counted(Displaced) != 0 {
			t.Errorf("%d connections are there, and %d gave way; want %d and none", got, b.counted(Displaced), placesOfStrangers)
		}
	})
}

// Functions keep their connections, whatever anybody knows; so do phones all of which are
// known.
func TestWhoComesFirstStays(t *testing.T) {
	for _, tc := range []struct {
		role  sip.Role
		known bool
	}{{sip.RoleGm, true}, {sip.RoleCore, false}} {
		t.Run(tc.role.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, _ *memnet.Network, ha, hb *memnet.Host) {
				b := newEnd(t, hb, addrB, tc.role, Config{MaxConns: 128, Known: func(sip.Flow) bool { return tc.known }})
				for range placesOfStrangers {
					rawDial(t, ha, b.addr)
					synctest.Wait()
				}
				if _, ok := letIn(t, ha, "192.0.2.1", b.addr); ok || b.counted(ConnLimit) != 1 || b.counted(Displaced) != 0 {
					t.Errorf("one more is let in (%v), %d gave way", ok, b.counted(Displaced))
				}
			})
		})
	}
}

func TestMaxConnsByDescriptors(t *testing.T) {
	for descriptors, want := range map[uint64]int{0: 0, 1024: 896, 20000: 17500, 22856: 19999, 22864: 20000, 1 << 20: 20000, math.MaxUint64: 20000} {
		if got := maxConns(descriptors); got != want {
			t.Errorf("with %d descriptors %d connections, want %d", descriptors, got, want)
		}
	}
	if n := descriptors(); n < 64 {
		t.Errorf("this process may have %d descriptors", n)
	}
}
