package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gocscf/gocscf/ims/icscf"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/pcscf"
	"github.com/gocscf/gocscf/ims/scscf"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/hss"
)

const domain = "ims.mnc001.mcc001.3gppnetwork.org"

// The services, as the label "function" of a profile names them.
const (
	hssName    = "hss"
	pcscfName  = "pcscf"
	icscfName  = "icscf"
	scscfName  = "scscf"
	phonesName = "phones"
)

// Key and OPc of TS 35.208 4.3 set 1, which all subscribers have.
const (
	keyK   = "465b5ce8b199b49faa5f0a2ee238a6bc"
	keyOPc = "cd63cb71954a9f4e48a5994e37a02baf"
)

// What every subscriber has for filter criteria: they are looked at with each
// request, and none of what is measured here matches them.
var criteria = []string{
	`<InitialFilterCriteria><Priority>10</Priority>
<TriggerPoint><ConditionTypeCNF>0</ConditionTypeCNF>
<SPT><ConditionNegated>0</ConditionNegated><Group>0</Group><Method>SUBSCRIBE</Method></SPT>
<SPT><ConditionNegated>0</ConditionNegated><Group>0</Group><SIPHeader><Header>Event</Header><Content>presence</Content></SIPHeader></SPT>
<SPT><ConditionNegated>0</ConditionNegated><Group>1</Group><Method>PUBLISH</Method></SPT></TriggerPoint>
<ApplicationServer><ServerName>sip:presence.` + domain + `:5060</ServerName><DefaultHandling>0</DefaultHandling></ApplicationServer></InitialFilterCriteria>`,
	`<InitialFilterCriteria><Priority>20</Priority>
<TriggerPoint><ConditionTypeCNF>1</ConditionTypeCNF>
<SPT><ConditionNegated>0</ConditionNegated><Group>0</Group><Method>INVITE</Method></SPT>
<SPT><ConditionNegated>0</ConditionNegated><Group>1</Group><SessionCase>2</SessionCase></SPT></TriggerPoint>
<ApplicationServer><ServerName>sip:mail.` + domain + `:5060</ServerName><DefaultHandling>0</DefaultHandling></ApplicationServer></InitialFilterCriteria>`,
}

var logLevel = flag.String("log", "warn", "what the services log, into nothing: warn, info or debug")

// core is a running HSS, P-CSCF, I-CSCF and S-CSCF.
type core struct {
	*network
	hss *hss.Server
	gm  netip.AddrPort

	mu    sync.Mutex
	users int
}

// startCore starts the services; the end of the test stops them.
func startCore(tb testing.TB, n *network) *core {
	tb.Helper()
	c := &core{network: n}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	tb.Cleanup(wg.Wait)
	tb.Cleanup(stop)

	ln, err := n.listen()
	if err != nil {
		tb.Fatal(err)
	}
	hc := hss.DefaultConfig()
	hc.Domain, hc.Drain = domain, 0
	hc.Subscribers.List = []hss.Subscriber{c.subscriber(0)}
	peers := []node.DiameterPeer{{Address: ln.Addr().String()}}

	var ready []func() error
	start := func(name string, makeService func(node.Deps) (node.Service, error)) {
		// A goroutine inherits the labels of the one that starts it.
		pprof.Do(ctx, pprof.Labels("function", name), func(ctx context.Context) {
			svc, err := makeService(n.deps(tb, name))
			if err != nil {
				tb.Fatal(err)
			}
			ready = append(ready, svc.Ready)
			wg.Go(func() {
				if err := svc.Run(ctx); err != nil {
					tb.Errorf("%s: %v", name, err)
				}
			})
		})
	}

	start(hssName, func(d node.Deps) (_ node.Service, err error) {
		c.hss, err = hss.New(hc, hss.Deps{Deps: d, Listener: ln})
		return c.hss, err
	})
	s := n.at(tb, scscfName)
	var i *icscf.Server
	start(icscfName, func(d node.Deps) (_ node.Service, err error) {
		cfg := icscf.DefaultConfig()
		cfg.Overload.Enabled = false // it is the engine that is measured, with as many at once as there are
		cfg.Domain, cfg.Listen, cfg.Drain = domain, n.at(tb, icscfName), 0
		cfg.SCSCFs = []icscf.SCSCF{{Name: "sip:" + s.String()}}
		cfg.Diameter.Peers = peers
		i, err = icscf.New(cfg, icscf.Deps{Deps: d, Net: n.sockets(icscfName), Dialer: n.dialer(icscfName)})
		return i, err
	})
	start(scscfName, func(d node.Deps) (node.Service, error) {
		cfg := scscf.DefaultConfig()
		cfg.Overload.Enabled = false // it is the engine that is measured, with as many at once as there are
		cfg.Domain, cfg.Listen, cfg.ICSCF, cfg.Drain = domain, s, i.Addr(), 0
		cfg.AKAWithoutIPsec = true
		cfg.Diameter.Peers = peers
		return scscf.New(cfg, scscf.Deps{Deps: d, Net: n.sockets(scscfName), Dialer: n.dialer(scscfName)})
	})
	start(pcscfName, func(d node.Deps) (node.Service, error) {
		cfg := pcscf.DefaultConfig()
		cfg.Overload.Enabled = false // it is the engine that is measured, with as many at once as there are
		cfg.Domain, cfg.Drain = domain, 0
		cfg.Listen = pcscf.Listen{Gm: n.at(tb, pcscfName), Mw: n.at(tb, pcscfName)}
		if cfg.Listen.Gm.Addr() == cfg.Listen.Mw.Addr() && cfg.Listen.Gm.Port() != 0 {
			tb.Fatal("one port for Gm and Mw")
		}
		cfg.ICSCF = pcscf.Addresses{i.Addr()}
		cfg.IPsec.Policy = "none"
		p, err := pcscf.New(cfg, pcscf.Deps{Deps: d, Net: n.sockets(pcscfName)})
		if err == nil {
			c.gm = p.Gm()
		}
		return p, err
	})
	waitReady(tb, ready)
	return c
}

func (n *network) deps(tb testing.TB, name string) node.Deps {
	level, err := zapcore.ParseLevel(*logLevel)
	if err != nil {
		tb.Fatal(err)
	}
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), level))
	return node.Deps{Log: log, Trace: trace.Node{Stream: n.stream, Name: name}, Metrics: prometheus.NewRegistry()}
}

func waitReady(tb testing.TB, ready []func() error) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		var errs []error
		for _, f := range ready {
			errs = append(errs, f())
		}
		err := errors.Join(errs...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the services do not get ready: %v", err)
		}
	}
}

// subscriber is the one with that number.
func (c *core) subscriber(n int) hss.Subscriber {
	return hss.Subscriber{
		IMPI:  imsi(n) + "@" + domain,
		IMPUs: []string{"sip:" + imsi(n) + "@" + domain, fmt.Sprintf("sip:+4930%09d@%s", n, domain), fmt.Sprintf("tel:+4930%09d", n)},
		K:     keyK, OPc: keyOPc, IFC: criteria,
	}
}

func imsi(n int) string { return fmt.Sprintf("00101%010d", n) }

// newUsers adds n subscribers who have never registered and returns their IMSIs.
func (c *core) newUsers(tb testing.TB, n int) []string {
	tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]string, n)
	pprof.Do(context.Background(), pprof.Labels("function", "setup"), func(context.Context) {
		for i := range out {
			c.users++
			if err := c.hss.Put(c.subscriber(c.users)); err != nil {
				tb.Fatal(err)
			}
			out[i] = imsi(c.users)
		}
	})
	return out
}
