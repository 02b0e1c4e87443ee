package attack

import (
	"context"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/lab"
)

// maxConnections are all that the P-CSCF may have: more than TestFloods opens, few enough
// to be taken.
const maxConnections = 128

// startTarget starts a core in this process, with a broken application server and
// something before the HSS that bends Cx.
func startTarget(t *testing.T, crooks int, seed uint64) *Target {
	t.Helper()
	return startTargetWith(t, crooks, seed, false)
}

// startTargetWith may have IPsec between the P-CSCF and its honest phones, too.
func startTargetWith(t *testing.T, crooks int, seed uint64, ipsec bool) *Target {
	t.Helper()
	peer, err := StartPeer(lab.Loopback, seed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(peer.Close)
	target := &Target{Domain: lab.DefaultDomain, Peer: peer, Victims: 1000}
	target.Honest, target.Crooks = Subscribers(target.Domain, crooks, peer.Addr())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var failed error
	core, err := lab.StartCore(ctx, lab.CoreConfig{
		Domain: target.Domain, Subscribers: append(target.Honest[:], target.Crooks...), IPsec: ipsec,
		Adjust: func(c *lab.Configs) {
			target.Gm, target.Mw, target.I, target.S = c.P.Listen.Gm, c.P.Listen.Mw, c.I.Listen, c.S.Listen
			c.HSS.Generate = []hss.Generated{Victims(target.Victims)}
			c.P.MaxConnections = maxConnections
			// A machine that does other work is no overload, in which honest phones may be refused.
			for _, o := range []*node.Overload{&c.P.Overload, &c.I.Overload, &c.S.Overload} {
				o.TargetLatency, o.MaxWait = node.Duration(2*time.Second), node.Duration(10*time.Second)
			}
			at, err := netip.ParseAddrPort(c.HSS.Listen)
			if err == nil {
				target.Cx, err = StartInterceptor(lab.Loopback, at, seed)
			}
			if failed = err; err == nil {
				c.I.Diameter.Peers[0].Address, c.S.Diameter.Peers[0].Address = target.Cx.Addr().String(), target.Cx.Addr().String()
			}
		},
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	t.Cleanup(func() {
		core.Stop()
		target.Cx.Close()
	})
	if ipsec {
		if err := target.Protect(core.P.ESPUDP()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := target.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{lab.NameP, lab.NameI, lab.NameS} {
		target.Services = append(target.Services, inProcess(core, name))
	}
	return target
}

// inProcess reads the metrics of a service in this process; goroutines and heap are
// those of all of it.
func inProcess(core *lab.Core, name string) Service {
	collect := func(context.Context) error {
		runtime.GC()
		return nil
	}
	return Service{Name: name, Collect: collect, Read: func(context.Context) (map[string]float64, error) {
		families, err := core.Metrics(name).Gather()
		out := processMetrics()
		for _, f := range families {
			for _, m := range f.GetMetric() {
				v := m.GetGauge().GetValue() + m.GetCounter().GetValue()
				out[f.GetName()] += v
				for _, l := range m.GetLabel() {
					out[f.GetName()+"{"+l.GetName()+`="`+l.GetValue()+`"}`] += v
				}
			}
		}
		return out, err
	}}
}
