//go:build integration

package kerneltest

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/ipsec/xfrm"
	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/conformance"
)

var (
	public4  = netip.MustParseAddr("203.0.113.1") // the NAT's, toward the core
	core4n   = netip.MustParseAddr("203.0.113.9")
	gateway4 = netip.MustParseAddr("192.168.7.1")
)

// behindNAT is a core, and a network of phones behind a NAT that changes ports.
func behindNAT(t *testing.T, phones ...netip.Addr) (core, nat, inside *guest.Net) {
	t.Helper()
	core, nat, inside = guest.NewNet(t, "core"), guest.NewNet(t, "nat"), guest.NewNet(t, "phones")
	guest.Wire(t, "out", core, []netip.Prefix{netip.PrefixFrom(core4n, 24)}, nat, []netip.Prefix{netip.PrefixFrom(public4, 24)})
	var at []netip.Prefix
	for _, p := range phones {
		at = append(at, netip.PrefixFrom(p, 24))
	}
	guest.Wire(t, "in", nat, []netip.Prefix{netip.PrefixFrom(gateway4, 24)}, inside, at)
	everywhere := netip.MustParsePrefix("0.0.0.0/0")
	inside.Route(t, everywhere, gateway4)
	core.Route(t, everywhere, public4)
	nat.Sysctl(t, "net/ipv4/ip_forward", "1")
	nft := exec.Command("/bin/nft", "-f", "-")
	nft.Stdin = strings.NewReader(`table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "out-b" udp sport 4500 masquerade to :20000-20999 random
	}
}
`)
	nat.Run(t, nft)
	return core, nat, inside
}

type mapped struct {
	id    ipsec.SetID
	outer netip.AddrPort
}

// Two phones behind one NAT, one protected by the kernel and one in user space: the
// core learns the NAT's port of each from its first packet, and reaches it there.
func TestUDPEncTunThroughANAT(t *testing.T) {
	conformance.Partly(t, "IP-19")
	phones := []netip.Addr{netip.MustParseAddr("192.168.7.2"), netip.MustParseAddr("192.168.7.3")}
	coreNet, natNet, inside := behindNAT(t, phones...)
	moves := make(chan mapped, 100)
	core := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4n}, Ports: ports(2), EncapPort: 4500,
		Mapped: func(id ipsec.SetID, outer netip.AddrPort) { moves <- mapped{id, outer} }})
	for i, phone := range []end{
		byKernel(t, inside, xfrm.Config{Addrs: phones[:1], EncapPort: 4500}),
		byUserInUDP(t, inside, phones[1]),
	} {
		s := set(i, ipsec.Pairs[i], false)
		s.Mode, s.Outer = ipsec.UDPTunnel, netip.AddrPortFrom(public4, 0)
		s.Local.Addr, s.Remote.Addr = core4n, phones[i]
		m := mirror(s)
		m.Outer = netip.AddrPortFrom(core4n, 4500)
		if err := errors.Join(core.Install(s), phone.Install(m)); err != nil {
			t.Fatal(err)
		}
		wires := natNet.Sniff(t)
		ps, uc := packetSocket(t, core, s.Local.Server()), packetSocket(t, phone, s.Remote.Client())
		if err := datagram(uc, ps, 100); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-moves:
			if m.id != s.ID || m.outer.Addr() != public4 || m.outer.Port() < 20000 {
				t.Errorf("phone %d is said to be at %v", i, m.outer)
			}
			t.Logf("phone %d is at %v", i, m.outer)
		case <-time.After(patience):
			t.Fatalf("phone %d: nothing is told of the NAT's port", i)
		}
		if err := datagram(ps, uc, 100); err != nil {
			t.Error(err)
		}
		ps.Close()
		uc.Close()
		datagrams(t, core, phone, s)
		streams(t, core, phone, s)
		packets := wires.Stop()
		if n := len(moves); n != 0 {
			t.Errorf("%d more moves are told of", n)
		}
		inUDP := 0
		for _, p := range packets {
			proto, u := guest.Header(p)
			if proto == unix.IPPROTO_UDP && len(u) >= 4 {
				// 4500 is 0x1194.
				if u[0] == 0x11 && u[1] == 0x94 || u[2] == 0x11 && u[3] == 0x94 {
					inUDP++
					continue
				}
			}
			if proto == unix.IPPROTO_UDP || proto == unix.IPPROTO_TCP || proto == unix.IPPROTO_ESP {
				t.Errorf("phone %d: protocol %d outside of UDP 4500", i, proto)
			}
		}
		if inUDP < 20 {
			t.Errorf("phone %d: %d packets of ESP in UDP", i, inUDP)
		}
		if err := core.Extend(s.ID, time.Now().Add(2*time.Hour)); err != nil {
			t.Error(err)
		}
		datagrams(t, core, phone, s)
	}
}

// byUserInUDP is a stack that has nothing but UDP 4500.
func byUserInUDP(t *testing.T, n *guest.Net, at netip.Addr) end {
	t.Helper()
	var s *netstack.Stack
	err := n.Do(func() error {
		u, err := esp.ListenUDP(netip.AddrPortFrom(at, ipsec.NATPort))
		if err != nil {
			return err
		}
		s, err = netstack.New(netstack.Config{Carriers: []esp.Carrier{u}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A lab's transport mode in bare UDP, between the kernel and user space.
func TestTransportModeInUDP(t *testing.T) {
	coreNet, phoneNet := wire(t)
	core := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4}, Ports: ports(1), EncapPort: 4500})
	phone := byUserInUDP(t, phoneNet, phone4)
	s := set(0, ipsec.Pairs[2], false)
	s.Outer = netip.AddrPortFrom(phone4, 4500)
	m := mirror(s)
	m.Outer = netip.AddrPortFrom(core4, 4500)
	if err := errors.Join(core.Install(s), phone.Install(m)); err != nil {
		t.Fatal(err)
	}
	datagrams(t, core, phone, s)
	streams(t, core, phone, s)
}

// Another program that has the port is named.
func TestTheEncapsulationPortIsTaken(t *testing.T) {
	coreNet, _ := wire(t)
	packetSocket(t, kernelEnd{net: coreNet}, netip.AddrPortFrom(core4, 4500))
	err := coreNet.Do(func() error {
		b, err := xfrm.New(xfrm.Config{Addrs: []netip.Addr{core4}, Ports: ports(1), EncapPort: 4500})
		if err == nil {
			_ = b.Close()
		}
		return err
	})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "ipsec.udp") {
		t.Errorf("with the port taken: %v", err)
	}
	if states, policies := coreNet.Standing(t); states != 0 || policies != 0 {
		t.Errorf("a start that fails leaves %d states and %d policies", states, policies)
	}
}

// A P-CSCF that is started twice by mistake: the second ends, and the first goes on.
func TestASecondStartLeavesTheFirstAlone(t *testing.T) {
	coreNet, phoneNet := wire(t)
	config := xfrm.Config{Addrs: []netip.Addr{core4}, Ports: ports(1), EncapPort: 4500}
	core, phone := byKernel(t, coreNet, config), byUser(t, phoneNet, phone4)
	s := set(0, sha1Null, false)
	install(t, core, phone, s)
	states, policies := coreNet.Standing(t)
	err := coreNet.Do(func() error {
		b, err := xfrm.New(config)
		if err == nil {
			_ = b.Close()
		}
		return err
	})
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("started twice: %v", err)
	}
	if st, p := coreNet.Standing(t); st != states || p != policies {
		t.Errorf("there were %d states and %d policies, now %d and %d", states, policies, st, p)
	}
	datagrams(t, core, phone, s)
}
