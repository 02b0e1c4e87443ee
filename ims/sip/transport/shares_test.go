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
