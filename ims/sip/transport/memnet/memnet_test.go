package memnet_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A host is a Net without knowing of it, and its UDP sockets have the extras.
var _ transport.Net = (*memnet.Host)(nil)

func TestPacketConnHasTheExtras(t *testing.T) {
	pc, _ := packetConns(t, memnet.New(1), "192.0.2.1:1", "192.0.2.2:1")
	if _, ok := pc.(transport.BatchConn); !ok {
		t.Error("no batches")
	}
	if _, ok := pc.(transport.UnreachableNotifier); !ok {
		t.Error("no ICMP errors")
	}
}

// packetConns opens a socket on each of two new hosts.
func packetConns(t *testing.T, n *memnet.Network, a, b string) (net.PacketConn, net.PacketConn) {
	t.Helper()
	open := func(s string) net.PacketConn {
		ap := netip.MustParseAddrPort(s)
		pc, err := n.Host(ap.Addr().String()).ListenPacket(ap)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pc.Close() })
		return pc
	}
	return open(a), open(b)
}

func send(t *testing.T, from net.PacketConn, to net.Addr, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if _, err := from.WriteTo([]byte(s), to); err != nil {
			t.Fatal(err)
		}
	}
}

// receive reads until nothing has come for a minute, and says when each came.
func receive(pc net.PacketConn) (texts []string, at []time.Duration) {
	begin := time.Now()
	buf := make([]byte, 1<<16)
	for {
		_ = pc.SetReadDeadline(time.Now().Add(time.Minute))
		n, _, err := pc.ReadFrom(buf)
		if err != nil {
			return texts, at
		}
		texts = append(texts, string(buf[:n]))
		at = append(at, time.Since(begin))
	}
}

func TestDatagramDelay(t *testing.T) {
	for _, addrs := range [][2]string{{"192.0.2.1:5", "192.0.2.2:5"}, {"[2001:db8::1]:5", "[2001:db8::2]:5"}} {
		synctest.Test(t, func(t *testing.T) {
			n := memnet.New(1)
			a, b := packetConns(t, n, addrs[0], addrs[1])
			from := netip.MustParseAddrPort(addrs[0]).Addr().String()
			to := netip.MustParseAddrPort(addrs[1]).Addr().String()
			n.SetLink(from, to, memnet.Link{Delay: 30 * time.Millisecond})
			send(t, a, b.LocalAddr(), "one", "two", "three")
			texts, at := receive(b)
			if want := []string{"one", "two", "three"}; !slices.Equal(texts, want) || at[0] != 30*time.Millisecond || at[2] != at[0] {
				t.Errorf("received %q after %s, want %q after 30 ms", texts, at, want)
			}
			send(t, b, a.LocalAddr(), "back") // that direction takes no time
			if _, at := receive(a); len(at) != 1 || at[0] != 0 {
				t.Errorf("the other direction took %s", at)
			}
		})
	}
}

// run sends 1000 numbered datagrams over a link and returns what arrives.
func run(t *testing.T, seed uint64, l memnet.Link) (got []string) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(seed)
		a, b := packetConns(t, n, "192.0.2.1:5", "192.0.2.2:5")
		n.SetDefault(l)
		for i := range 1000 {
			send(t, a, b.LocalAddr(), fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		got, _ = receive(b)
	})
	return got
}

func TestChance(t *testing.T) {
	inOrder := func(texts []string) bool {
		last := -1
		for _, s := range texts {
			var i int
			_, _ = fmt.Sscan(s, &i)
			if i < last {
				return false
			}
			last = i
		}
		return true
	}
	for _, tc := range []struct {
		name     string
		link     memnet.Link
		min, max int
		ordered  bool
	}{
		{"perfect", memnet.Link{Delay: time.Millisecond}, 1000, 1000, true},
		{"loss", memnet.Link{Loss: 0.2}, 750, 850, true},
		{"all lost", memnet.Link{Loss: 1}, 0, 0, true},
		{"duplication", memnet.Link{Duplicate: 0.1}, 1070, 1130, true},
		{"reordering", memnet.Link{Reorder: 0.1}, 1000, 1000, false},
		{"jitter", memnet.Link{Jitter: 50 * time.Millisecond}, 1000, 1000, false},
		{"black hole", memnet.Link{Blackhole: true}, 0, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := run(t, 7, tc.link)
			if len(got) < tc.min || len(got) > tc.max || inOrder(got) != tc.ordered {
				t.Errorf("%d arrived, in order %v; want %d to %d, %v", len(got), inOrder(got), tc.min, tc.max, tc.ordered)
			}
			if again := run(t, 7, tc.link); !slices.Equal(got, again) {
				t.Error("the same seed gave something else")
			}
		})
	}
	l := memnet.Link{Loss: 0.5}
	if slices.Equal(run(t, 1, l), run(t, 2, l)) {
		t.Error("two seeds give the same losses")
	}
}

func TestICMP(t *testing.T) {
	for _, tc := range []struct {
		name string
		to   string
		link memnet.Link
		size int
		want error
	}{
		{"nobody listens", "192.0.2.2:9", memnet.Link{}, 1, syscall.ECONNREFUSED},
		{"no such host", "192.0.2.77:5", memnet.Link{}, 1, syscall.EHOSTUNREACH},
		{"unreachable", "192.0.2.2:5", memnet.Link{Unreachable: true}, 1, syscall.EHOSTUNREACH},
		{"over the MTU", "192.0.2.2:5", memnet.Link{MTU: 1400}, 1401, syscall.EMSGSIZE},
		{"within the MTU", "192.0.2.2:5", memnet.Link{MTU: 1400}, 1400, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New(1)
				a, _ := packetConns(t, n, "192.0.2.1:5", "192.0.2.2:5")
				tc.link.Delay = 10 * time.Millisecond
				n.SetDefault(tc.link)
				begin, to := time.Now(), netip.MustParseAddrPort(tc.to)
				var got error
				a.(transport.UnreachableNotifier).NotifyUnreachable(func(remote netip.AddrPort, err error) {
					if got = err; remote != to || time.Since(begin) != 20*time.Millisecond {
						t.Errorf("told of %s after %s", remote, time.Since(begin))
					}
				})
				send(t, a, net.UDPAddrFromAddrPort(to), strings.Repeat("x", tc.size))
				time.Sleep(time.Second)
				synctest.Wait()
				if got != tc.want {
					t.Errorf("told of %v, want %v", got, tc.want)
				}
			})
		})
	}
	a, b := packetConns(t, memnet.New(1), "192.0.2.1:5", "192.0.2.2:5")
	if _, err := a.WriteTo(make([]byte, 65508), b.LocalAddr()); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("a datagram longer than there can be: %v", err)
	}
	if _, err := a.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:5"))); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("IPv6 from an IPv4 socket: %v", err)
	}
}

func TestHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, b := packetConns(t, n, "192.0.2.1:5", "192.0.2.2:5")
		var told error
		a.(transport.UnreachableNotifier).NotifyUnreachable(func(_ netip.AddrPort, err error) { told = err })
		n.SetHook(func(p memnet.Packet) memnet.Verdict {
			switch string(p.Data) {
			case "drop":
				return memnet.Drop
			case "refuse":
				return memnet.Refuse
			case "lift":
				n.SetHook(nil)
			}
			return memnet.Pass
		})
		send(t, a, b.LocalAddr(), "pass", "drop", "refuse", "lift", "drop")
		if texts, _ := receive(b); !slices.Equal(texts, []string{"pass", "lift", "drop"}) || told != syscall.ECONNREFUSED {
			t.Errorf("received %q, told %v", texts, told)
		}
	})
}

func TestBind(t *testing.T) {
	n := memnet.New(1)
	h := n.Host("192.0.2.1", "2001:db8::1")
	first, err := h.ListenPacket(netip.MustParseAddrPort("192.0.2.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	taken := netip.MustParseAddrPort(first.LocalAddr().String())
	for _, tc := range []struct {
		addr netip.AddrPort
		want error
	}{
		{taken, syscall.EADDRINUSE},
		{netip.AddrPortFrom(netip.IPv4Unspecified(), taken.Port()), syscall.EADDRINUSE},
		{netip.AddrPortFrom(netip.IPv6Unspecified(), taken.Port()), nil},
		{netip.MustParseAddrPort("192.0.2.2:5"), syscall.EADDRNOTAVAIL},
		{netip.MustParseAddrPort("[2001:db8::1]:0"), nil},
	} {
		pc, err := h.ListenPacket(tc.addr)
		if !errors.Is(err, tc.want) {
			t.Errorf("listening on %s: %v, want %v", tc.addr, err, tc.want)
		}
		if err == nil {
			_ = pc.Close()
		}
	}
	_ = first.Close()
	if pc, err := h.ListenPacket(taken); err != nil {
		t.Errorf("a port that was closed is still taken: %v", err)
	} else {
		_ = pc.Close()
	}
}
