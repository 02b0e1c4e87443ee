package ue

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// nat gives sockets to a host behind a NAT: they have its own address and port, and
// what leaves them comes from a port of the NAT's. It carries UDP alone.
type nat struct{ outside *memnet.Host }

func (n nat) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	pc, err := n.outside.ListenPacket(netip.AddrPortFrom(n.outside.Addrs()[0], 0))
	if err != nil {
		return nil, err
	}
	return natted{pc, local}, nil
}

func (nat) Listen(local netip.AddrPort) (net.Listener, error) {
	return silence{local, make(chan struct{})}, nil
}

func (nat) Dial(context.Context, netip.AddrPort, netip.AddrPort) (net.Conn, error) {
	return nil, syscall.ECONNREFUSED
}

type natted struct {
	net.PacketConn
	local netip.AddrPort
}

func (n natted) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(n.local) }

// silence is a listener to which nobody comes.
type silence struct {
	local netip.AddrPort
	done  chan struct{}
}

func (s silence) Accept() (net.Conn, error) { <-s.done; return nil, net.ErrClosed }
func (s silence) Addr() net.Addr            { return net.TCPAddrFromAddrPort(s.local) }
func (s silence) Close() error              { close(s.done); return nil }

// Behind a NAT ESP is in tunnel mode in UDP, and within it, in Contact and in Via the
// phone has the address that the network sees (TS 24.229 F.2.1.2.2).
func TestBehindNAT(t *testing.T) {
	conformance.Partly(t, "IP-19")
	synctest.Test(t, func(t *testing.T) {
		mem := memnet.New(1)
		mem.SetDefault(memnet.Link{Delay: 10 * time.Millisecond})
		home, public := nat{mem.Host("198.51.100.7")}, netip.MustParseAddr("198.51.100.7")
		h := mem.Host("192.0.2.100")
		stack := func(pc net.PacketConn, err error) *netstack.Stack {
			if err != nil {
				t.Fatal(err)
			}
			s, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{esp.NewUDP(pc)}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
		at := netip.AddrPortFrom(netAddr.Addr(), ipsec.NATPort)
		pcscf := stack(h.ListenPacket(at))
		w := newGatedNetwork(t, h, netAddr, newGate(udpOnly{pcscf}, h, netAddr.Addr()))
		c := secure(aliceConfig())
		c.Local, c.NAT, c.Offer, c.ESPUDP = netip.MustParseAddr("10.45.0.2"), true, []ipsec.Pair{sha1AES}, at
		c.Net, c.Stack = home, udpOnly{stack(home.ListenPacket(netip.MustParseAddrPort("10.45.0.2:4500")))}
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		for round := range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			g, err := p.Register(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if g.Protection.Mode != ipsec.UDPTunnel || g.Protection.Local.Addr != public {
				t.Errorf("protection %+v", g.Protection)
			}
			time.Sleep(time.Second)
			ms, flows := w.registeredOver()
			m := ms[len(ms)-1]
			via, _ := m.TopVia()
			if flows[len(ms)-1].Remote.Addr() != public || via.Host != public.String() || !strings.Contains(m.Get(sip.HContact), "@198.51.100.7:") {
				t.Errorf("REGISTER over %v:\n%s", flows[len(ms)-1], m.Raw())
			}
			if rows := strings.Count(ms[0].Raw(), "mod=UDP-enc-tun"); round == 0 && (rows != 1 || strings.Count(ms[0].Raw(), "mod=trans") != 1) {
				t.Errorf("%d offers of a tunnel in\n%s", rows, ms[0].Raw())
			}
			if w.notifiers["alice"] == nil || p.agent.Dialogs() != 1 {
				t.Error("the SUBSCRIBE or its NOTIFY did not get through")
			}
			for r, n := range pcscf.Drops() {
				if n > 0 {
					t.Errorf("%v: %d packets dropped", esp.Reason(r), n)
				}
			}
			if round == 0 {
				w.set(func() { clear(w.nonces) }) // once more, over the set
			}
		}
		if err := p.Deregister(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(p.guard.sets()); n != 0 || len(p.guard.opened) != 1 {
			t.Errorf("%d sets left, open %v", n, p.guard.opened)
		}
	})
}
