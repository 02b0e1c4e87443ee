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
				if n := b.Transport.counts; n.all != 0 || len(n.byAddr) != 0 {
					t.Errorf("%d count in the end, of %d addresses", n.all, len(n.byAddr))
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
