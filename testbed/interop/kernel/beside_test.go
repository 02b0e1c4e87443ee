//go:build integration

package kernel

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ue"
)

// Two P-CSCFs share a host, its kernel and a network namespace: at addresses of their
// own, or at one with ports of their own. One is killed and starts again: it finds and
// removes what it has left, and the phones of the other talk all the while.
func TestTwoPCSCFsOnOneHost(t *testing.T) {
	conformance.Partly(t, "IP-24")
	host, user := guest.Host(t), guest.NewNet(t, "user")
	another := netip.MustParseAddr("10.0.0.9")
	at := []netip.Addr{netip.MustParseAddr("10.0.4.1"), netip.MustParseAddr("10.0.4.2"), netip.MustParseAddr("10.0.4.3")}
	wide := func(addrs ...netip.Addr) (list []netip.Prefix) {
		for _, a := range addrs {
			list = append(list, netip.PrefixFrom(a, 16))
		}
		return list
	}
	guest.Wire(t, "user", host, wide(gmAt[0], another), user, wide(at...))
	stack := byUser(t, user, netip.MustParseAddrPort("0.0.0.0:0"))
	for name, second := range map[string]struct {
		gm    netip.AddrPort
		ipsec string
	}{
		"at another address": {netip.AddrPortFrom(another, 5060), ""},
		"at other ports":     {netip.AddrPortFrom(gmAt[0], 5062), ", server_ports: 6200-6207, client_ports: 5200-5231, udp: 10.0.0.1:4501"},
	} {
		t.Run(name, func(t *testing.T) {
			c := startCore(t, gmAt[0], 3, nil)
			config := filepath.Join(t.TempDir(), "pcscf.yaml")
			text := fmt.Sprintf("domain: %s\nlisten: {gm: %v, mw: 127.0.0.1:7070}\nicscf: [%v]\nipsec: {backend: kernel%s}\n", lab.DefaultDomain, second.gm, c.I.Addr(), second.ipsec)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			p := startProcess(t, config)
			_, blocks := host.Standing(t)
			standing := func(when string, phones int) {
				t.Helper()
				if states, policies := host.Standing(t); states != 4*phones || policies != 4*phones+blocks {
					t.Errorf("%s: %d states and %d policies stand beside %d blocks, want those of %d phones", when, states, policies-blocks, blocks, phones)
				}
			}
			var list [3]*ue.Phone
			for i := range list {
				list[i] = c.phone(t, i, "user", stack, user, at[i], func(cfg *ue.Config) {
					cfg.NoSubscribe, cfg.NoRefresh = true, true
					if i == 2 {
						cfg.PCSCF = second.gm
					}
				})
				register(t, list[i])
			}
			a, b, far := list[0], list[1], list[2]
			standing("all are registered", 3)
			talk(t, a, impu(0), far, impu(2))

			if err := p.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = p.cmd.Wait()
			talk(t, a, impu(0), b, impu(1))
			p = startProcess(t, config)
			standing("the second has started again", 2)
			talk(t, b, impu(1), a, impu(0))
			if err := far.Reset(); err != nil {
				t.Fatal(err)
			}
			register(t, far)
			standing("its phone is registered again", 3)
			talk(t, far, impu(2), a, impu(0))

			// The first stops: what the second protects stays.
			_, before := host.Standing(t)
			if err := c.StopOne(lab.NameP); err != nil {
				t.Fatal(err)
			}
			if states, policies := host.Standing(t); states != 4 || policies >= before || policies <= 4 {
				t.Errorf("when the first has stopped %d states and %d policies stand, of %d", states, policies, before)
			}
			if g := register(t, far); g.Challenges != 0 {
				t.Errorf("the second's phone is challenged %d times although it is registered", g.Challenges)
			}
			if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := p.cmd.Wait(); err != nil {
				t.Errorf("the second stops: %v\n%s", err, p.stderr)
			}
			if states, policies := host.Standing(t); states != 0 || policies != 0 {
				t.Errorf("after both have stopped %d states and %d policies stand", states, policies)
			}
		})
	}
}
