//go:build integration

package interop

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"

	"github.com/gocscf/gocscf/ims/icscf"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/pcscf"
	"github.com/gocscf/gocscf/ims/scscf"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/interop/kamailio"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ladder"
)

func TestMain(m *testing.M) {
	sip.PoisonBuffers()
	goleak.VerifyTestMain(m)
}

// core is a core of which some functions are ours and the others Kamailio's. The
// HSS is ours.
type core struct {
	t       *testing.T
	ours    []string
	net     netip.Addr // its first address; see network
	hss     *hss.Server
	peers   *kamailio.Set // nil when all functions are ours
	gm      netip.AddrPort
	stream  *trace.Stream
	columns []ladder.Node

	mu     sync.Mutex
	events []trace.Event // of all that is ours, as they came
}

// startCore starts our functions, by the names of package lab, and a Kamailio for
// each other one. All of it ends with the test.
func startCore(t *testing.T, ours ...string) *core {
	t.Helper()
	c := &core{t: t, ours: ours, net: network(t), stream: &trace.Stream{}}
	c.watch()

	at := lab.Addresses{
		Gm: c.at(11, 5060), Mw: c.at(11, 5070), I: c.at(12, 5060), S: c.at(13, 5060), HSS: c.at(14, 3868),
	}
	c.gm = at.Gm
	conf := lab.NewConfigs(lab.DefaultDomain, at)
	conf.HSS.Subscribers.List = subscribers()
	conf.I.SCSCFs[0].Capabilities = []uint32{0, 1} // as Kamailio's table has it
	c.hss = start(c, lab.NameHSS, at.HSS, func(d node.Deps) (*hss.Server, error) { return hss.New(conf.HSS, hss.Deps{Deps: d}) })
	if c.is(lab.NameS) {
		start(c, lab.NameS, at.S, func(d node.Deps) (*scscf.Server, error) { return scscf.New(conf.S, scscf.Deps{Deps: d}) })
	}
	if c.is(lab.NameI) {
		start(c, lab.NameI, at.I, func(d node.Deps) (*icscf.Server, error) { return icscf.New(conf.I, icscf.Deps{Deps: d}) })
	}
	if c.is(lab.NameP) {
		start(c, lab.NameP, at.Gm, func(d node.Deps) (*pcscf.Server, error) { return pcscf.New(conf.P, pcscf.Deps{Deps: d}) })
		c.columns[len(c.columns)-1].Addrs = append(c.columns[len(c.columns)-1].Addrs, at.Mw.String())
	}

	var theirs []kamailio.Role
	for _, r := range []struct {
		role kamailio.Role
		name string
		at   netip.AddrPort
	}{{kamailio.PCSCF, lab.NameP, at.Gm}, {kamailio.ICSCF, lab.NameI, at.I}, {kamailio.SCSCF, lab.NameS, at.S}} {
		if !c.is(r.name) {
			theirs = append(theirs, r.role)
			c.columns = append(c.columns, ladder.Node{Name: "kamailio " + r.name, Addrs: []string{r.at.String()}, DiameterHost: r.name + "." + lab.DefaultDomain})
		}
	}
	if len(theirs) > 0 {
		c.peers = kamailio.Start(t, kamailio.Options{Domain: lab.DefaultDomain, PCSCF: at.Gm, ICSCF: at.I, SCSCF: at.S, HSS: at.HSS}, theirs...)
	}
	return c
}

// subscribers are those of the demonstration, with all that the HSS can say of them.
func subscribers() []hss.Subscriber {
	list := lab.DemoSubscribers(lab.DefaultDomain)
	for i := range list {
		list[i].Capabilities = hss.Capabilities{Mandatory: []uint32{0}, Optional: []uint32{1}}
		list[i].Charging = hss.Charging{CCF: "aaa://ccf." + lab.DefaultDomain + ";transport=tcp", ECF: "aaa://ecf." + lab.DefaultDomain + ";transport=tcp"}
	}
	return list
}

// start runs one of our services and waits until it is ready.
func start[S node.Service](c *core, name string, at netip.AddrPort, create func(node.Deps) (S, error)) S {
	c.t.Helper()
	log := zaptest.NewLogger(c.t, zaptest.Level(zapcore.InfoLevel)).Named(name)
	s, err := create(node.Deps{Log: log, Trace: trace.Node{Stream: c.stream, Name: name}, Metrics: prometheus.NewRegistry()})
	if err != nil {
		c.t.Fatalf("starting our %s: %v", name, err)
	}
	c.columns = append(c.columns, ladder.Node{Name: name, Addrs: []string{at.String()}, DiameterHost: name + "." + lab.DefaultDomain})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			c.t.Errorf("stopping our %s: %v", name, err)
		}
	})
	eventually(c.t, name+" is ready", func() error { return s.Ready() })
	return s
}

// is reports whether a function is ours.
func (c *core) is(name string) bool { return slices.Contains(c.ours, name) }

// at is an address of the core's own part of the loopback network.
func (c *core) at(host byte, port uint16) netip.AddrPort {
	a := c.net.As4()
	a[3] = host
	return netip.AddrPortFrom(netip.AddrFrom4(a), port)
}

// network finds a part 127.0.N.0/24 of the loopback network that nobody uses, and
// holds it while the test runs: Kamailio has no port 0.
func network(t *testing.T) netip.Addr {
	t.Helper()
	for n := byte(20); n < 250; n++ {
		a := netip.AddrFrom4([4]byte{127, 0, n, 9})
		if ln, err := net.Listen("tcp4", netip.AddrPortFrom(a, 5060).String()); err == nil {
			t.Cleanup(func() { _ = ln.Close() })
			return a
		}
	}
	t.Fatal("no part of the network 127.0.0.0/16 is free")
	return netip.Addr{}
}

// watch collects what our nodes tell, and draws it should the test fail.
func (c *core) watch() {
	sub := c.stream.Subscribe(1 << 12)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range sub.C() {
			c.mu.Lock()
			c.events = append(c.events, e)
			c.mu.Unlock()
		}
	}()
	c.t.Cleanup(func() {
		sub.Close()
		<-done
		if c.t.Failed() {
			c.t.Logf("what our nodes saw:\n%s", c.drawn())
		}
	})
}

func (c *core) drawn() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := slices.Clone(c.events)
	slices.SortStableFunc(events, func(a, b trace.Event) int { return a.Time.Compare(b.Time) })
	var out bytes.Buffer
	l := ladder.New(&out, ladder.Options{Nodes: c.columns})
	for _, e := range events {
		if err := l.Write(e); err != nil {
			return err.Error()
		}
		if e.Kind == trace.SIP {
			out.Write(append(bytes.ReplaceAll(e.Raw, []byte("\r\n"), []byte("\n")), '\n'))
		}
	}
	return out.String()
}

// seen gives the SIP messages that a node of ours has received and that want
// accepts.
func (c *core) seen(node string, want func(*sip.Message) bool) []*sip.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*sip.Message
	for _, e := range c.events {
		if e.Node != node || e.Kind != trace.SIP || e.Dir != trace.In {
			continue
		}
		if m, err := sip.Parse(string(e.Raw)); err == nil && want(m) {
			list = append(list, m)
		}
	}
	return list
}

// eventually waits for what happens in another process or by another goroutine.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("waited in vain until %s: %v", what, err)
}
