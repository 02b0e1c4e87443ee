package transport

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

func TestDatagrams(t *testing.T) {
	for _, tc := range []struct{ name, a, b string }{
		{"IPv4", addrA, addrB},
		{"IPv6", "[2001:db8::1]:5060", "[2001:db8::2]:5060"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
				n.SetDefault(memnet.Link{Delay: 5 * time.Millisecond})
				a, b := newEnd(t, ha, tc.a, sip.RoleProtectedClient, Config{}), newEnd(t, hb, tc.b, sip.RoleGm, Config{})
				msgs := numbered(100)
				for _, m := range msgs {
					a.send(t, sip.UDP, sip.RoleProtectedClient, b.addr, m)
				}
				time.Sleep(time.Second)
				if got := b.received(); !slices.Equal(got, msgs) {
					t.Errorf("arrived %s, want all in order", short(got))
				}
				want := sip.Flow{Proto: sip.UDP, Role: sip.RoleGm, Local: b.addr, Remote: a.addr}
				if got := b.of("receive")[0].flow; got != want {
					t.Errorf("arrived on %s, want %s", got, want)
				}
				if !slices.Equal(a.sent, msgs) {
					t.Error("the observer did not see what was sent")
				}
			})
		})
	}
}

func TestUnreachable(t *testing.T) {
	for _, tc := range []struct {
		name string
		link memnet.Link
		size int
		want error // nil: not reported to the sender
	}{
		{"nobody listens", memnet.Link{}, 0, syscall.ECONNREFUSED},
		{"no route", memnet.Link{Unreachable: true}, 0, syscall.EHOSTUNREACH},
		{"longer than a datagram can be", memnet.Link{}, 65500, syscall.EMSGSIZE},
		// The stack knows the path MTU from then on; the transaction retransmits.
		{"longer than the path takes", memnet.Link{MTU: 1400}, 2000, nil},
		{"lost", memnet.Link{Loss: 1}, 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
				a, b := newEnd(t, ha, addrA, sip.RoleCore, Config{}), newEnd(t, hb, addrB, sip.RoleCore, Config{})
				tc.link.Delay = 20 * time.Millisecond
				n.SetLink("192.0.2.1", "192.0.2.2", tc.link)
				a.send(t, sip.UDP, sip.RoleCore, netip.MustParseAddrPort("192.0.2.2:9"), message("a", tc.size))
				synctest.Wait() // it has left
				n.SetLink("192.0.2.1", "192.0.2.2", memnet.Link{Delay: 20 * time.Millisecond})
				a.send(t, sip.UDP, sip.RoleCore, b.addr, message("b", 0))
				time.Sleep(time.Second)
				errs := a.failed()
				if tc.want == nil && errs != nil {
					t.Errorf("failed with %v, want no report", errs)
				}
				if tc.want != nil && (len(errs) != 1 || !errors.Is(errs[0], tc.want)) {
					t.Errorf("failed with %v, want %v once", errs, tc.want)
				}
				if len(b.received()) != 1 {
					t.Error("the message to somebody else did not arrive")
				}
			})
		})
	}
	t.Run("late", func(t *testing.T) {
		r := recent{wanted: true}
		synctest.Test(t, func(t *testing.T) {
			to := netip.MustParseAddrPort(addrB)
			r.remember([]Outgoing{{Flow: sip.Flow{Remote: to}, Fail: func(error) {}}})
			time.Sleep(recentFor)
			if r.take(to) != nil {
				t.Error("an ICMP error fails a datagram that left long before")
			}
			seq := r.remember([]Outgoing{{Flow: sip.Flow{Remote: to}, Fail: func(error) {}}})
			if len(r.take(to)) != 1 || r.claim(seq) {
				t.Error("a sender can be told twice")
			}
			r.remember([]Outgoing{{Flow: sip.Flow{Remote: to}, Fail: func(error) {}}})
			time.Sleep(2 * recentFor)
			synctest.Wait()
			for _, e := range r.ring {
				if e.fail != nil {
					t.Error("a quiet socket keeps a sender")
				}
			}
		})
	})
}

func TestSendErrors(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		a := newEnd(t, ha, addrA, sip.RoleCore, Config{})
		b := netip.MustParseAddrPort(addrB)
		for _, tc := range []struct {
			name string
			flow sip.Flow
			data string
			want error
		}{
			{"socket of nobody", sip.Flow{Local: netip.MustParseAddrPort("192.0.2.1:5061"), Remote: b}, "x", ErrNoSocket},
			{"role without socket", sip.Flow{Role: sip.RoleGm, Remote: b}, "x", ErrNoSocket},
			{"family without socket", sip.Flow{Remote: netip.MustParseAddrPort("[2001:db8::2]:5060")}, "x", ErrNoSocket},
			{"no remote", sip.Flow{Local: a.addr}, "x", ErrNothing},
			{"no message", sip.Flow{Local: a.addr, Remote: b}, "", ErrNothing},
			{"TLS", sip.Flow{Proto: sip.TLS, Local: a.addr, Remote: b}, "x", ErrUnsupported},
			{"no dialling", sip.Flow{Proto: sip.TCP, Local: a.addr, Remote: b}, "x", ErrConnGone},
		} {
			var errs []error
			a.Send(Outgoing{Flow: tc.flow, Data: []byte(tc.data), NoDial: true, Fail: func(err error) { errs = append(errs, err) }})
			if len(errs) != 1 || !errors.Is(errs[0], tc.want) {
				t.Errorf("%s: failed with %v, want %v", tc.name, errs, tc.want)
			} else if !strings.Contains(errs[0].Error(), "send to ") {
				t.Errorf("%s: %q does not say what was being done", tc.name, errs[0])
			}
			a.Send(Outgoing{Flow: tc.flow, Data: []byte(tc.data), NoDial: true}) // without Fail nothing happens
		}
	})
}

func TestPick(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		e := &end{recorder: newRecorder()}
		e.Transport = New(ha, Config{}, e.recorder)
		defer e.Close()
		for _, l := range []Listen{
			{netip.MustParseAddrPort("192.0.2.1:5060"), true, true, sip.RoleCore},
			{netip.MustParseAddrPort("192.0.2.1:5070"), true, false, sip.RoleGm},
			{netip.MustParseAddrPort("[2001:db8::1]:5060"), true, true, sip.RoleCore},
			{netip.MustParseAddrPort("192.0.2.1:5100"), true, true, sip.RoleProtectedClient},
		} {
			if _, err := e.Listen(l); err != nil {
				t.Fatal(err)
			}
		}
		for _, tc := range []struct {
			proto  sip.Proto
			role   sip.Role
			remote string
			local  string // "" for none
		}{
			{sip.UDP, sip.RoleCore, "192.0.2.2:5060", "192.0.2.1:5060"},
			{sip.UDP, sip.RoleCore, "[::ffff:192.0.2.2]:5060", "192.0.2.1:5060"},
			{sip.UDP, sip.RoleCore, "[2001:db8::2]:5060", "[2001:db8::1]:5060"},
			{sip.UDP, sip.RoleGm, "192.0.2.2:5060", "192.0.2.1:5070"},
			{sip.UDP, sip.RoleGm, "[2001:db8::2]:5060", ""},
			{sip.UDP, sip.RoleISC, "192.0.2.2:5060", ""},
			{sip.TCP, sip.RoleCore, "192.0.2.2:5060", "192.0.2.1:0"},
			{sip.TCP, sip.RoleCore, "[2001:db8::2]:5060", "[2001:db8::1]:0"},
			{sip.TCP, sip.RoleGm, "192.0.2.2:5060", ""},
			{sip.TCP, sip.RoleProtectedClient, "192.0.2.2:5060", "192.0.2.1:5100"},
			{sip.TLS, sip.RoleCore, "192.0.2.2:5060", ""},
		} {
			f, ok := e.Pick(tc.proto, tc.role, netip.MustParseAddrPort(tc.remote))
			got := ""
			if ok {
				got = f.Local.String()
			}
			if got != tc.local {
				t.Errorf("%s %s to %s leaves from %q, want %q", tc.role, tc.proto, tc.remote, got, tc.local)
			}
		}
		if a, ok := e.Addr(sip.RoleCore, netip.MustParseAddr("2001:db8::9")); !ok || a.String() != "[2001:db8::1]:5060" {
			t.Errorf("the core's address towards IPv6 is %s, %v", a, ok)
		}
		if _, ok := e.Addr(sip.RoleISC, netip.Addr{}); ok {
			t.Error("a role without socket has an address")
		}
		if ls := e.Listens(); len(ls) != 4 || ls[1].Role != sip.RoleGm {
			t.Errorf("Listens: %v", ls)
		}
	})
}

func TestListen(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, ha, hb *memnet.Host) {
		// The first ports that UDP would pick are taken for TCP.
		for range 3 {
			l, err := ha.Listen(netip.MustParseAddrPort("192.0.2.1:0"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		e := newEnd(t, ha, "192.0.2.1:0", sip.RoleCore, Config{})
		if e.addr.Port() == 0 {
			t.Error("no port was picked")
		}
		for _, l := range []Listen{
			{e.addr, true, false, sip.RoleGm},
			{e.addr, false, true, sip.RoleGm},
			{netip.MustParseAddrPort("192.0.2.99:5060"), true, true, sip.RoleGm},
			{netip.MustParseAddrPort("192.0.2.1:5099"), false, false, sip.RoleGm},
		} {
			if _, err := e.Listen(l); err == nil || !strings.Contains(err.Error(), l.Addr.String()) {
				t.Errorf("%s: error %v, want one that names the address", l, err)
			}
		}
		if ls := e.Listens(); len(ls) != 1 || ls[0].Addr != e.addr {
			t.Errorf("listening on %v, want %s", ls, e.addr)
		}
	})
}
