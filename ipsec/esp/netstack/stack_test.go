package netstack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sets returns a set as the P-CSCF and as the phone see it.
func sets(id ipsec.SetID, pcscf, phone string, pair ipsec.Pair) (*ipsec.Set, *ipsec.Set) {
	p := &ipsec.Set{
		ID:     id,
		Local:  ipsec.End{Addr: netip.MustParseAddr(pcscf), PortC: 5100, PortS: 6100, SPIC: 1000 + 4*uint32(id), SPIS: 1001 + 4*uint32(id)},
		Remote: ipsec.End{Addr: netip.MustParseAddr(phone), PortC: 6301, PortS: 6300, SPIC: 1002 + 4*uint32(id), SPIS: 1003 + 4*uint32(id)},
		Pair:   pair,
		CK:     ipsec.Key([]byte("0123456789abcdef")),
		IK:     ipsec.Key([]byte("fedcba9876543210")),
	}
	u := *p
	u.Local, u.Remote = p.Remote, p.Local
	return p, &u
}

// pairOf makes two stacks and installs a set on both.
func pairOf(t testing.TB, a, b esp.Carrier, pcscf, phone *ipsec.Set) (*netstack.Stack, *netstack.Stack) {
	t.Helper()
	var s [2]*netstack.Stack
	for i, c := range []esp.Carrier{a, b} {
		var err error
		if s[i], err = netstack.New(netstack.Config{Carriers: []esp.Carrier{c}}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s[i].Close() })
		if err := s[i].Install([]*ipsec.Set{pcscf, phone}[i]); err != nil {
			t.Fatal(err)
		}
	}
	return s[0], s[1]
}

func udpCarrier(t testing.TB, local string) esp.Carrier {
	t.Helper()
	c, err := esp.ListenUDP(netip.MustParseAddrPort(local))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return c
}

// exchangeUDP sends a datagram each way on both pairs of associations.
func exchangeUDP(t *testing.T, pcscf, phone *netstack.Stack, set *ipsec.Set, size int) {
	t.Helper()
	for _, flow := range [][2]netip.AddrPort{{set.Local.Server(), set.Remote.Client()}, {set.Local.Client(), set.Remote.Server()}} {
		a, err := pcscf.ListenPacket(flow[0])
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		b, err := phone.ListenPacket(flow[1])
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for _, way := range [][2]net.PacketConn{{b, a}, {a, b}} {
			text := bytes.Repeat([]byte("SIP"), size/3)
			if _, err := way[0].WriteTo(text, way[1].LocalAddr()); err != nil {
				t.Fatal(err)
			}
			_ = way[1].SetReadDeadline(time.Now().Add(5 * time.Second))
			buf := make([]byte, 1<<14)
			n, from, err := way[1].ReadFrom(buf)
			if err != nil || !bytes.Equal(buf[:n], text) || from.String() != way[0].LocalAddr().String() {
				t.Fatalf("%v -> %v: read %d octets from %v, %v; want %d", way[0].LocalAddr(), way[1].LocalAddr(), n, from, err, len(text))
			}
		}
	}
}

// exchangeTCP connects from client to server, echoes size octets and closes.
func exchangeTCP(t *testing.T, server, client *netstack.Stack, to, from netip.AddrPort, size int) {
	t.Helper()
	l, err := server.Listen(to)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	echoed := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			if c.RemoteAddr().String() != from.String() || c.LocalAddr().String() != to.String() {
				err = fmt.Errorf("accepted %v -> %v", c.RemoteAddr(), c.LocalAddr())
			}
			b, err2 := io.ReadAll(c)
			_, err3 := c.Write(b)
			err = errors.Join(err, err2, err3, c.Close())
		}
		echoed <- err
	}()
	c, err := client.Dial(ctx(t), from, to)
	if err != nil {
		t.Fatalf("dialling %v from %v: %v", to, from, err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	sent := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	go func() {
		_, _ = c.Write(sent)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%v -> %v: %d octets of %d came back, %v", from, to, len(got), len(sent), err)
	}
	if err := <-echoed; err != nil {
		t.Fatal(err)
	}
}

// exchange is all that a set is for.
func exchange(t *testing.T, pcscf, phone *netstack.Stack, set *ipsec.Set) {
	t.Helper()
	exchangeUDP(t, pcscf, phone, set, 600)
	exchangeUDP(t, pcscf, phone, set, 4000)
	exchangeTCP(t, pcscf, phone, set.Local.Server(), set.Remote.Client(), 1<<14)
	exchangeTCP(t, phone, pcscf, set.Remote.Server(), set.Local.Client(), 1<<14)
}

func TestEveryPairOverEveryCarrier(t *testing.T) {
	for _, pair := range ipsec.Pairs {
		for _, mode := range []ipsec.Mode{ipsec.Transport, ipsec.UDPTunnel} {
			t.Run(fmt.Sprintf("%v %v in UDP", pair, mode), func(t *testing.T) {
				a, b := udpCarrier(t, "127.0.0.1:0"), udpCarrier(t, "127.0.0.1:0")
				// The phone knows where the P-CSCF is, which learns where the phone is.
				p, u := sets(1, "127.0.0.1", "10.45.0.2", pair)
				p.Mode, u.Mode, u.Outer = mode, mode, a.Local()
				pcscf, phone := pairOf(t, a, b, p, u)
				exchange(t, pcscf, phone, p)
			})
		}
		for _, addrs := range [][2]string{{"192.0.2.1", "10.45.0.2"}, {"2001:db8::1", "2001:db8::2"}} {
			t.Run(fmt.Sprintf("%v in memory, %v", pair, addrs[0]), func(t *testing.T) {
				n := esp.NewMemory(esp.MemoryConfig{MTU: 1400})
				p, u := sets(1, addrs[0], addrs[1], pair)
				pcscf, phone := pairOf(t, n.Carrier(), n.Carrier(), p, u)
				exchange(t, pcscf, phone, p)
			})
		}
	}
}

func TestDialWhereNobodyListensIsRefused(t *testing.T) {
	n := esp.NewMemory(esp.MemoryConfig{})
	p, u := sets(1, "127.0.0.1", "127.0.0.1", ipsec.Pairs[0])
	u.Remote.Addr, p.Local.Addr = netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.2")
	pcscf, phone := pairOf(t, n.Carrier(), n.Carrier(), p, u)
	_, err := phone.Dial(ctx(t), u.Local.Client(), u.Remote.Server())
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the phone's dial gives %v, want a refusal", err)
	}
	_, err = pcscf.Dial(ctx(t), p.Local.Client(), u.Local.Client())
	if !errors.Is(err, esp.ErrNoSA) {
		t.Errorf("a dial that no set covers gives %v, want %v", err, esp.ErrNoSA)
	}
}
