package netstack_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
)

// inMemory is a P-CSCF and a phone with one set between them.
func inMemory(t testing.TB, cfg esp.MemoryConfig) (pcscf, phone *netstack.Stack, set *ipsec.Set) {
	t.Helper()
	n := esp.NewMemory(cfg)
	p, u := sets(1, "127.0.0.1", "127.0.0.2", ipsec.Pairs[0])
	pcscf, phone = pairOf(t, n.Carrier(), n.Carrier(), p, u)
	return pcscf, phone, p
}

func accept(t testing.TB, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func dial(t testing.TB, s *netstack.Stack, local, remote netip.AddrPort) net.Conn {
	t.Helper()
	c, err := s.Dial(ctx(t), local, remote)
	if err != nil {
		t.Fatalf("%v -> %v: %v", local, remote, err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// ping writes at one end and reads at the other.
func ping(t testing.TB, from, to net.Conn) {
	t.Helper()
	buf := make([]byte, 4)
	if _, err := io.WriteString(from, "ping"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, buf); err != nil || string(buf) != "ping" {
		t.Fatalf("read %q, %v", buf, err)
	}
}

// The phone listens on port_us and dials from port_uc, the P-CSCF listens on
// port_ps and dials from port_pc; with several phones its port_pc has several
// connections at once. Whoever closes may dial the same again at once.
func TestDialsFromThePortsOfTheSet(t *testing.T) {
	n := esp.NewMemory(esp.MemoryConfig{})
	pcscf, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{n.Carrier()}})
	if err != nil {
		t.Fatal(err)
	}
	defer pcscf.Close()
	var conns []net.Conn
	for i := range 3 {
		p, u := sets(ipsec.SetID(i+1), "192.0.2.1", fmt.Sprintf("10.0.0.%d", i+1), ipsec.Pairs[0])
		phone, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{n.Carrier()}})
		if err != nil {
			t.Fatal(err)
		}
		defer phone.Close()
		if err := errors.Join(pcscf.Install(p), phone.Install(u)); err != nil {
			t.Fatal(err)
		}
		l, err := phone.Listen(u.Local.Server())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		// Somebody listens on the port that is dialled from.
		pl, err := pcscf.Listen(p.Local.Client())
		if err == nil {
			defer pl.Close()
		} else if i == 0 {
			t.Fatal(err)
		}
		for range 3 {
			c := dial(t, pcscf, p.Local.Client(), p.Remote.Server())
			a := accept(t, l)
			ping(t, c, a)
			ping(t, a, c)
			_ = c.Close() // first; the phone's end stays open
			if _, err := a.Read(make([]byte, 1)); err != io.EOF {
				t.Fatalf("after the peer has closed: %v", err)
			}
			_ = a.Close()
		}
		c := dial(t, pcscf, netip.AddrPort{}, p.Remote.Server()) // the source is the set's
		if c.LocalAddr().String() != p.Local.Client().String() {
			t.Errorf("dialled from %v", c.LocalAddr())
		}
		conns = append(conns, c, accept(t, l))
	}
	for i := 0; i < len(conns); i += 2 {
		ping(t, conns[i], conns[i+1])
	}
	for _, c := range conns {
		_ = c.Close()
	}
}

// The peer never closes its end: the old connection does not bar the new one.
func TestRedialWhileThePeerHasNotClosed(t *testing.T) {
	pcscf, phone, set := inMemory(t, esp.MemoryConfig{})
	l, err := phone.Listen(set.Remote.Server())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := dial(t, pcscf, set.Local.Client(), set.Remote.Server())
	a := accept(t, l)
	defer a.Close()
	ping(t, c, a)
	if _, err := pcscf.Dial(ctx(t), set.Local.Client(), set.Remote.Server()); err == nil {
		t.Error("the same addresses and ports are dialled twice")
	}
	_ = c.Close()
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	c2 := dial(t, pcscf, set.Local.Client(), set.Remote.Server())
	defer c2.Close()
	a2 := accept(t, l)
	defer a2.Close()
	ping(t, c2, a2)
}

func TestRemovingASetEndsItsConnections(t *testing.T) {
	pcscf, phone, set := inMemory(t, esp.MemoryConfig{})
	l, err := pcscf.Listen(set.Local.Server())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := dial(t, phone, set.Remote.Client(), set.Local.Server())
	defer c.Close()
	a := accept(t, l)
	defer a.Close()
	ping(t, c, a)
	_ = pcscf.Remove(1)
	if n, err := a.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection reads %d octets, %v", n, err)
	}
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("the connection still writes")
	}
}

// biggest notes the longest packet that a carrier has sent.
type biggest struct {
	esp.Carrier
	max *atomic.Int64
}

func (b biggest) Send(p []byte, src netip.Addr, dst netip.AddrPort) error {
	for n := b.max.Load(); int64(len(p)) > n && !b.max.CompareAndSwap(n, int64(len(p))); n = b.max.Load() {
	}
	return b.Carrier.Send(p, src, dst)
}

func TestSegmentsFitTheMTU(t *testing.T) {
	for _, c := range []struct {
		mode      ipsec.Mode
		addrs     [2]string
		headers   int64 // in front of ESP
		mtu, want int64 // of which a full segment fills at least so much
	}{
		{ipsec.Transport, [2]string{"192.0.2.1", "192.0.2.2"}, 20 + 8, 1400, 1280},
		{ipsec.UDPTunnel, [2]string{"192.0.2.1", "192.0.2.2"}, 20 + 8, 1400, 1280},
		{ipsec.UDPTunnel, [2]string{"2001:db8::1", "2001:db8::2"}, 40 + 8, 1500, 1400},
		{ipsec.Transport, [2]string{"2001:db8::1", "2001:db8::2"}, 40 + 8, 1400, 1300},
	} {
		for _, pair := range []ipsec.Pair{ipsec.Pairs[0], ipsec.Pairs[2]} {
			var longest atomic.Int64
			a := udpCarrier(t, "127.0.0.1:0")
			b := biggest{udpCarrier(t, "127.0.0.1:0"), &longest}
			p, u := sets(1, c.addrs[0], c.addrs[1], pair)
			p.Mode, u.Mode = c.mode, c.mode
			p.Outer, u.Outer = b.Local(), a.Local()
			var stacks [2]*netstack.Stack
			for i, carrier := range []esp.Carrier{a, b} {
				var err error
				if stacks[i], err = netstack.New(netstack.Config{Carriers: []esp.Carrier{carrier}, MTU: int(c.mtu)}); err != nil {
					t.Fatal(err)
				}
				defer stacks[i].Close()
				if err := stacks[i].Install([]*ipsec.Set{p, u}[i]); err != nil {
					t.Fatal(err)
				}
			}
			exchangeTCP(t, stacks[0], stacks[1], p.Local.Server(), p.Remote.Client(), 1<<15)
			if n := longest.Load() + c.headers; n > c.mtu || n < c.want {
				t.Errorf("%v of %v between %v: packets of up to %d octets at an MTU of %d", c.mode, pair, c.addrs, n, c.mtu)
			}
		}
	}
}

// Whatever an IP network does to a packet short of losing it, which would only test
// how patient TCP is.
func TestTCPOverABadNetwork(t *testing.T) {
	pcscf, phone, set := inMemory(t, esp.MemoryConfig{MTU: 600, Duplicate: 0.05, Reorder: 0.05, ReorderBy: time.Millisecond, Seed: 5, Delay: time.Millisecond})
	exchangeTCP(t, pcscf, phone, set.Local.Server(), set.Remote.Client(), 1<<15)
}

func TestDeadlinesAndClose(t *testing.T) {
	pcscf, phone, set := inMemory(t, esp.MemoryConfig{})
	l, err := pcscf.Listen(set.Local.Server())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pcscf.Listen(set.Local.Server()); err == nil {
		t.Error("two listen at one address")
	}
	c := dial(t, phone, set.Remote.Client(), set.Local.Server())
	a := accept(t, l)
	for _, at := range []time.Time{time.Now(), time.Now().Add(20 * time.Millisecond)} {
		_ = c.SetReadDeadline(at)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read until its deadline: %v", err)
		}
	}
	_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	if n, err := c.Write(make([]byte, 16<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 {
		t.Errorf("nobody reads, and %d octets are written, %v", n, err)
	}
	_ = c.SetDeadline(time.Time{})

	// Close wakes whoever waits.
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: %v", err)
		}
	})
	wg.Go(func() {
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
	})
	_ = l.Close()
	_ = c.Close()
	wg.Wait()
	_ = a.Close()
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := phone.Dial(canceled, set.Remote.Client(), set.Local.Server()); !errors.Is(err, context.Canceled) {
		t.Errorf("a dial that is cancelled: %v", err)
	}
}
