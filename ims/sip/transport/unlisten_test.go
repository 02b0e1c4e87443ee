package transport

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// A listening address that is closed is not picked, not read and free again, and
// its connections end; those of other addresses stay.
func TestUnlisten(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memnet.Network, a, b *memnet.Host) {
		e := newEnd(t, b, addrB, sip.RoleProtectedServer, Config{})
		second := netip.MustParseAddrPort("192.0.2.2:5062")
		listen := Listen{Addr: second, UDP: true, TCP: true, Role: sip.RoleGm}
		if _, err := e.Listen(listen); err != nil {
			t.Fatal(err)
		}
		peer := newEnd(t, a, addrA, sip.RoleGm, Config{})
		for _, to := range []netip.AddrPort{e.addr, second} {
			peer.send(t, sip.TCP, sip.RoleGm, to, message("tcp", 1))
			peer.send(t, sip.UDP, sip.RoleGm, to, message("udp", 1))
		}
		synctest.Wait()
		if n := len(e.received()); n != 4 || e.Stats().Conns != 2 {
			t.Fatalf("%d messages over %d connections, want 4 over 2", n, e.Stats().Conns)
		}
		if !e.Unlisten(second) || e.Unlisten(second) {
			t.Error("want true for what listens, false for what does not")
		}
		synctest.Wait()
		if n := e.Stats().Conns; n != 1 || len(e.of("closed")) != 1 {
			t.Errorf("%d connections left, %d ended; want 1 and 1", n, len(e.of("closed")))
		}
		if _, ok := e.Pick(sip.UDP, sip.RoleGm, peer.addr); ok {
			t.Error("a socket that is closed is picked")
		}
		e.Send(Outgoing{Flow: sip.Flow{Proto: sip.UDP, Role: sip.RoleGm, Local: second, Remote: peer.addr}, Data: []byte("x"), Fail: e.Fail})
		if errs := e.failed(); len(errs) != 1 || !errors.Is(errs[0], ErrNoSocket) {
			t.Errorf("sending from there: %v, want ErrNoSocket", errs)
		}
		if ls := e.Listens(); !slices.Equal(ls, []Listen{{Addr: e.addr, UDP: true, TCP: true, Role: sip.RoleProtectedServer}}) {
			t.Errorf("listens %v", ls)
		}
		if _, err := e.Listen(listen); err != nil {
			t.Errorf("listening there again: %v", err)
		}
	})
}

// Connections are ended by either of their ends.
func TestEndConns(t *testing.T) {
	bubble(t, func(t *testing.T, n *memnet.Network, a, b *memnet.Host) {
		n.SetDefault(memnet.Link{Delay: time.Millisecond})
		e := newEnd(t, b, addrB, sip.RoleProtectedServer, Config{})
		one, two := rawDial(t, a, e.addr), rawDial(t, a, e.addr)
		time.Sleep(time.Second)
		for _, c := range []struct {
			local, remote netip.AddrPort
			want          int
		}{
			{e.addr, netip.MustParseAddrPort("192.0.2.1:9"), 0},
			{netip.MustParseAddrPort("192.0.2.2:5061"), netip.AddrPort{}, 0},
			{e.addr, addrPort(one.LocalAddr()), 1},
			{netip.AddrPort{}, addrPort(one.LocalAddr()), 0},
			{netip.AddrPort{}, netip.AddrPortFrom(addrPort(two.LocalAddr()).Addr(), 0), 1},
		} {
			if got := e.EndConns(c.local, c.remote); got != c.want {
				t.Errorf("between %v and %v: %d ended, want %d", c.local, c.remote, got, c.want)
			}
		}
		synctest.Wait()
		if n := len(e.of("closed")); n != 2 || e.Stats().Conns != 0 {
			t.Errorf("%d told as ended, %d left", n, e.Stats().Conns)
		}
	})
}
