package transport

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// letIn reports whether a connection that is dialled from local stays open.
func letIn(t *testing.T, h *memnet.Host, local string, to netip.AddrPort) (net.Conn, bool) {
	t.Helper()
	c, err := h.Dial(t.Context(), netip.AddrPortFrom(netip.MustParseAddr(local), 0), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	return c, err != io.EOF
}

// All the addresses that one IPv6 phone has count as one; another's do not.
func TestConnectionsOfOnePrefix(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, _, hb *memnet.Host) {
		b := newEnd(t, hb, "[2001:db8::2]:5060", sip.RoleGm, Config{MaxConnsPerAddr: 10})
		var addrs []string
		for i := range 40 {
			addrs = append(addrs, fmt.Sprintf("2001:db8:1:2:%x::1", i))
		}
		one, another := n.Host(addrs...), n.Host("2001:db8:1:3::1")
		open, first := 0, net.Conn(nil)
		for _, a := range addrs {
			if c, ok := letIn(t, one, a, b.addr); ok {
				open++
				if first == nil {
					first = c
				}
			}
		}
		if n := b.counted(AddrLimit); open != 10 || n != 30 {
			t.Errorf("%d connections of one /64 stay open and %d are refused, want 10 and 30", open, n)
		}
		if _, ok := letIn(t, another, "2001:db8:1:3::1", b.addr); !ok {
			t.Error("another /64 is not let in")
		}
		_ = first.Close()
		synctest.Wait()
		if _, ok := letIn(t, one, addrs[39], b.addr); !ok {
			t.Error("a place that became free is not given to another address of the /64")
		}
	})
}

// A connection that has ended counts as long as it takes a descriptor: who has many
// ended by what cannot be framed, and does not close them, has no more than others.
func TestEndedConnectionsCount(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
		why  Reason
	}{
		{"of an address", Config{MaxConnsPerAddr: 3}, AddrLimit},
		{"in all", Config{MaxConns: 3}, ConnLimit},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, _ *memnet.Network, ha, hb *memnet.Host) {
				b := newEnd(t, hb, addrB, sip.RoleGm, tc.cfg)
				for range 3 {
					write(t, rawDial(t, ha, b.addr), "\x16\x03\x01 is no SIP\r\n\r\n")
				}
				synctest.Wait()
				if n := b.counted(Malformed); n != 3 || b.Stats().Conns != 0 {
					t.Fatalf("%d cannot be framed, %d can still be found; want 3 and 0", n, b.Stats().Conns)
				}
				if _, ok := letIn(t, ha, "192.0.2.1", b.addr); ok || b.counted(tc.why) != 1 {
					t.Errorf("while three linger, another is let in: %v", ok)
				}
				time.Sleep(2 * lingering)
				for range 2 { // whose ends count once
					c, ok := letIn(t, ha, "192.0.2.1", b.addr)
					if !ok {
						t.Error("another is not let in when they are closed")
					}
					_ = c.Close()
					synctest.Wait()
				}
				b.Transport.mu.Lock()
				defer b.Transport.mu.Unlock()
				if n := b.Transport.counts; n.all != 0 || len(n.bySource) != 0 {
					t.Errorf("%d count in the end, of %d addresses", n.all, len(n.bySource))
				}
			})
		})
	}
}

// A connection that is given up while it is dialled counts until the dial is over.
func TestAbandonedDialsCount(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		n.SetLink("192.0.2.1", "192.0.2.3", memnet.Link{Blackhole: true})
		n.Host("192.0.2.3")
		a, b := newEnd(t, ha, addrA, sip.RoleCore, Config{MaxConns: 1, MaxQueue: 1000}), newEnd(t, hb, addrB, sip.RoleCore, Config{})
		for range 2 { // the second does not fit the queue
			a.send(t, sip.TCP, sip.RoleCore, netip.MustParseAddrPort("192.0.2.3:5060"), message("a", 400))
		}
		if n := a.Stats().Conns; n != 0 || a.counted(SlowConsumer) != 1 {
			t.Fatalf("%d connections can be found, want the one given up", n)
		}
		a.send(t, sip.TCP, sip.RoleCore, b.addr, message("a", 0))
		synctest.Wait()
		if len(b.received()) != 0 || a.counted(ConnLimit) != 1 {
			t.Error("another is dialled beyond the limit")
		}
		time.Sleep(2 * time.Second)
		a.send(t, sip.TCP, sip.RoleCore, b.addr, message("a", 0))
		synctest.Wait()
		if len(b.received()) != 1 {
			t.Errorf("nothing is dialled when the first dial is over: %v", a.failed())
		}
	})
}

// None of those who connect to us, or whom we connect to, can take all places: each
// share has room when the others have come before.
func TestShares(t *testing.T) {
	const (
		gm        = addrB
		mw        = "192.0.2.2:5070"
		protected = "192.0.2.2:5100"
		dial      = "" // connections that we dial
		tries     = 40
	)
	roles := map[string]sip.Role{gm: sip.RoleGm, mw: sip.RoleCore, protected: sip.RoleProtectedServer}
	type part struct {
		to   string
		want int
	}
	for _, tc := range []struct {
		name   string
		listen []string
		parts  []part // in the order in which as many come as can
	}{
		{"strangers first", []string{gm, mw, protected}, []part{{gm, 16}, {protected, 8}, {mw, 4}, {dial, 4}, {gm, 0}}},
		{"phones first", []string{gm, mw, protected}, []part{{protected, 24}, {gm, 0}, {dial, 4}, {mw, 4}, {protected, 0}}},
		{"other functions first", []string{gm, mw, protected}, []part{{mw, 20}, {gm, 0}, {protected, 8}, {dial, 4}}},
		{"dialled first", []string{gm, mw, protected}, []part{{dial, 20}, {gm, 0}, {protected, 8}, {mw, 4}}},
		{"phones in clear", []string{gm, mw}, []part{{gm, 24}, {mw, 4}, {dial, 4}}},
		{"the core alone", []string{mw}, []part{{mw, 28}, {dial, 4}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
				n.Host("192.0.2.9")
				n.SetLink("192.0.2.2", "192.0.2.9", memnet.Link{Blackhole: true})
				b := newEnd(t, hb, tc.listen[0], roles[tc.listen[0]], Config{MaxConns: 32, ConnectTimeout: time.Minute})
				for _, at := range tc.listen[1:] {
					if _, err := b.Listen(Listen{Addr: netip.MustParseAddrPort(at), TCP: true, Role: roles[at]}); err != nil {
						t.Fatal(err)
					}
				}
				for i, p := range tc.parts {
					got := 0
					for try := range tries {
						if p.to == dial {
							before := len(b.failed())
							f := sip.Flow{Proto: sip.TCP, Role: sip.RoleCore, Remote: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), uint16(1+try))}
							b.Send(Outgoing{Flow: f, Data: []byte(message("a", 0)), Fail: b.Fail})
							if len(b.failed()) == before {
								got++
							}
						} else if _, ok := letIn(t, ha, "192.0.2.1", netip.MustParseAddrPort(p.to)); ok {
							got++
						}
					}
					if got != p.want {
						t.Errorf("step %d: %d connections to %q have room, want %d", i+1, got, p.to, p.want)
					}
				}
			})
		})
	}
}

// Who fills the open port from an address, as anybody behind the same NAT can, takes
// nothing from the SA sets of phones there, nor from a function.
func TestAddressOfStrangers(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memnet.Network, ha, hb *memnet.Host) {
		b := newEnd(t, hb, addrB, sip.RoleGm, Config{MaxConnsPerAddr: 3})
		for _, at := range []string{"192.0.2.2:5070", "192.0.2.2:5100"} {
			role := sip.RoleCore
			if at == "192.0.2.2:5100" {
				role = sip.RoleProtectedServer
			}
			if _, err := b.Listen(Listen{Addr: netip.MustParseAddrPort(at), TCP: true, Role: role}); err != nil {
				t.Fatal(err)
			}
		}
		for _, to := range []string{addrB, "192.0.2.2:5070", "192.0.2.2:5100"} {
			for i := range 5 {
				if _, ok := letIn(t, ha, "192.0.2.1", netip.MustParseAddrPort(to)); ok != (i < 3) {
					t.Errorf("connection %d of an address to %s is let in: %v", i+1, to, ok)
				}
			}
		}
	})
}
