//go:build integration

package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ue"
)

// radio is the P-CSCF's side of Gm, and two networks of phones: those of the first
// protect in user space, those of the second by their kernel.
type radio struct {
	host, user, kernel *guest.Net
	byUser, byKernel   ue.Stack
}

// Addresses of Gm, by IP version.
var (
	gmAt   = [2]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8:0:1::1")}
	beside = [2]netip.Addr{netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("2001:db8:0:2::1")}
	userAt = [2]netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8:0:1::2")}
	kernAt = [2]netip.Addr{netip.MustParseAddr("10.0.1.2"), netip.MustParseAddr("2001:db8:0:2::2")}
)

// subnets puts addresses into networks of their own.
func subnets(addrs [2]netip.Addr) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(addrs[0], 24), netip.PrefixFrom(addrs[1], 64)}
}

func newRadio(t *testing.T) *radio {
	t.Helper()
	r := &radio{host: guest.Host(t), user: guest.NewNet(t, "user"), kernel: guest.NewNet(t, "kernel")}
	guest.Wire(t, "user", r.host, subnets(gmAt), r.user, subnets(userAt))
	guest.Wire(t, "kern", r.host, subnets(beside), r.kernel, subnets(kernAt))
	for i, whole := range []string{"0.0.0.0/0", "::/0"} {
		r.kernel.Route(t, netip.MustParsePrefix(whole), beside[i])
	}
	r.byUser = byUser(t, r.user, netip.AddrPortFrom(userAt[0], 0), netip.AddrPortFrom(userAt[1], 0))
	r.byKernel = byKernel(t, r.kernel, 0, kernAt[0], kernAt[1])
	return r
}

// The P-CSCF's kernel serves phones that protect in user space and phones whose
// kernel does, with every pair of algorithms over UDP and IPv4, and with the rest
// pairwise: they register; they register again and are challenged over their set, so
// that two overlap; they talk; they register again without a challenge; they leave.
// On the wire there is nothing in clear of a phone that is registered.
func TestRegistrationsAndCalls(t *testing.T) {
	conformance.Shows(t, "IP-01", "IP-02")
	r := newRadio(t)
	for v := range gmAt {
		c := startCore(t, gmAt[v], 2, nil)
		for i, pair := range ipsec.Pairs {
			for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
				// TCP goes with IPv6, and once with IPv4; so does UDP with IPv6.
				if (v == 1) != (proto == sip.TCP) && i != 0 {
					continue
				}
				if v == 0 && proto == sip.UDP || v == 1 && proto == sip.TCP || i == 0 {
					t.Run(fmt.Sprintf("IPv%d/%v/%v", 4+2*v, proto, pair), func(t *testing.T) { r.lifeOfTwo(t, c, v, proto, pair) })
				}
			}
		}
		c.Stop()
		if states, policies := r.host.Standing(t); states != 0 || policies != 0 {
			t.Errorf("the P-CSCF leaves %d states and %d policies", states, policies)
		}
	}
}

// lifeOfTwo is that of a phone that protects in user space, and one whose kernel does.
func (r *radio) lifeOfTwo(t *testing.T, c *core, v int, proto sip.Proto, pair ipsec.Pair) {
	wires := r.host.Sniff(t)
	adjust := func(cfg *ue.Config) { cfg.Offer, cfg.Transport = []ipsec.Pair{pair}, proto }
	a := c.phone(t, 0, "user", r.byUser, r.user, userAt[v], adjust)
	b := c.phone(t, 1, "kernel", r.byKernel, r.kernel, kernAt[v], adjust)
	phones := []*ue.Phone{a, b}
	var first [2]*ue.Registration
	for i, p := range phones {
		first[i] = register(t, p)
	}
	// The S-CSCF forgets them, and so challenges.
	if err := c.StopOne(lab.NameS); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(lab.NameS); err != nil {
		t.Fatal(err)
	}
	within(t, "the S-CSCF is ready", c.WaitReady)
	for i, p := range phones {
		was, is := first[i].Protection, register(t, p).Protection
		if was.Pair != pair || is.Pair != pair || was.Backend != is.Backend || was.Backend != [...]string{"user", "kernel"}[i] {
			t.Errorf("%s is protected by %v, then %v", p.Name(), was.Pair, is.Pair)
		}
		if was.Local.PortC == is.Local.PortC || was.Local.SPIC == is.Local.SPIC || was.Remote.PortC == is.Remote.PortC || was.Remote.PortS != is.Remote.PortS {
			t.Errorf("%s has the sets %+v %+v, then %+v %+v", p.Name(), was.Local, was.Remote, is.Local, is.Remote)
		}
	}
	talk(t, a, impu(0), b, impu(1))
	for _, p := range phones {
		if g := register(t, p); g.Challenges != 0 {
			t.Errorf("%s is challenged %d times although it is registered", p.Name(), g.Challenges)
		}
		within(t, p.Name()+" leaves", p.Deregister)
	}
	protected := 0
	for _, packet := range wires.Stop() {
		switch proto, payload := guest.Header(packet); {
		case proto == unix.IPPROTO_ESP:
			protected++
		case openGm(payload) && forbidden.Match(payload):
			t.Errorf("in clear: %q", payload)
		}
	}
	if protected < 20 {
		t.Errorf("%d packets of ESP", protected)
	}
}

// openGm reports whether a segment or datagram is from or to the P-CSCF's open port.
func openGm(p []byte) bool {
	return len(p) >= 4 && (binary.BigEndian.Uint16(p) == 5060 || binary.BigEndian.Uint16(p[2:]) == 5060)
}

// forbidden is SIP that a registered phone has nothing of in clear: all but the first
// REGISTER and the 401.
var forbidden = regexp.MustCompile(`(?:INVITE|ACK|BYE|MESSAGE|NOTIFY|SUBSCRIBE|PRACK|UPDATE) sip:|SIP/2\.0 (?:[23]|18)|\d+ (?:INVITE|MESSAGE|SUBSCRIBE)\r\n`)
