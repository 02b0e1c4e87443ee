//go:build integration

package kernel

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/ue"
)

// Phones behind a NAT of nftables that changes their ports get UDP-enc-tun, and are
// reached from outside; their port_ps differ.
func TestPhonesBehindANAT(t *testing.T) {
	conformance.Shows(t, "IP-19")
	public, private := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("192.168.7.1")
	inside := [2]netip.Addr{netip.MustParseAddr("192.168.7.2"), netip.MustParseAddr("192.168.7.3")}
	host, nat, phones := guest.Host(t), guest.NewNet(t, "nat"), guest.NewNet(t, "phones")
	guest.Wire(t, "out", host, []netip.Prefix{netip.PrefixFrom(gmAt[0], 24)}, nat, []netip.Prefix{netip.PrefixFrom(public, 24)})
	guest.Wire(t, "in", nat, []netip.Prefix{netip.PrefixFrom(private, 24)}, phones,
		[]netip.Prefix{netip.PrefixFrom(inside[0], 24), netip.PrefixFrom(inside[1], 24)})
	phones.Route(t, netip.MustParsePrefix("0.0.0.0/0"), private)
	nat.Sysctl(t, "net/ipv4/ip_forward", "1")
	nft := exec.Command("/bin/nft", "-f", "-")
	nft.Stdin = strings.NewReader("table ip nat {\n chain postrouting {\n  type nat hook postrouting priority srcnat; policy accept;\n" +
		"  oifname \"out-b\" ip protocol udp masquerade to :20000-29999 random\n  oifname \"out-b\" masquerade\n }\n}\n")
	nat.Run(t, nft)

	c := startCore(t, gmAt[0], 2, nil)
	var list [2]*ue.Phone
	var ports [2]uint16
	for i, at := range inside {
		stack := byUser(t, phones, netip.AddrPortFrom(at, ipsec.NATPort))
		list[i] = c.phone(t, i, "user", stack, phones, at, func(cfg *ue.Config) {
			cfg.NAT, cfg.ESPUDP = true, netip.AddrPortFrom(gmAt[0], ipsec.NATPort)
		})
		g := register(t, list[i])
		if g.Protection.Mode != ipsec.UDPTunnel {
			t.Errorf("%s is protected in the mode %v", list[i].Name(), g.Protection.Mode)
		}
		ports[i] = g.Protection.Remote.PortS
	}
	if ports[0] == ports[1] {
		t.Errorf("both phones have port_ps %d", ports[0])
	}
	talk(t, list[0], impu(0), list[1], impu(1))
	for _, p := range list {
		register(t, p)
	}
	talk(t, list[1], impu(1), list[0], impu(0))
	for _, p := range list {
		within(t, p.Name()+" leaves", p.Deregister)
	}
}
