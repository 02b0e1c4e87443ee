package hss

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	domain = "ims.mnc001.mcc001.3gppnetwork.org"
	scscf1 = "sip:scscf1." + domain + ":6060"
	scscf2 = "sip:scscf2." + domain + ":6060"

	// Key and OPc of TS 35.208 set 1.
	keyK   = "465b5ce8b199b49faa5f0a2ee238a6bc"
	keyOPc = "cd63cb71954a9f4e48a5994e37a02baf"

	alice    = "001010000000001@" + domain
	aliceSIP = "sip:+491@" + domain
	aliceTel = "tel:+491"
	aliceTmp = "sip:001010000000001@" + domain

	// voice mail for terminating requests of users who are not registered
	mailIFC = `<InitialFilterCriteria><Priority>10</Priority>
<TriggerPoint><ConditionTypeCNF>1</ConditionTypeCNF>
<SPT><ConditionNegated>0</ConditionNegated><Group>0</Group><Method>INVITE</Method></SPT>
<SPT><ConditionNegated>0</ConditionNegated><Group>1</Group><SessionCase>2</SessionCase></SPT></TriggerPoint>
<ApplicationServer><ServerName>sip:mail.example.org</ServerName></ApplicationServer>
<ProfilePartIndicator>1</ProfilePartIndicator></InitialFilterCriteria>`
)

// subscriber is alice, with changes.
func subscriber(change func(*Subscriber)) Subscriber {
	s := Subscriber{
		IMPI: alice, IMPUs: []string{aliceTmp, aliceSIP, aliceTel}, Barred: []string{aliceTmp},
		K: keyK, OPc: keyOPc,
	}
	if change != nil {
		change(&s)
	}
	return s
}

// hss is a server under test with its CSCFs.
type testHSS struct {
	*Server
	t    *testing.T
	logs *observer.ObservedLogs
	sub  *trace.Subscription
	stop func() error
	mem  *pipes // in place of loopback, nil for loopback
}

// pipes is a listener and its dialer in memory, for tests in synctest bubbles.
type pipes struct {
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newPipes() *pipes { return &pipes{ch: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.ch <- b:
		return a, nil
	case <-p.done:
	case <-ctx.Done():
	}
	return nil, net.ErrClosed
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.ch:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }

// start runs an HSS for the subscribers over loopback.
func start(t *testing.T, change func(*Config), subs ...Subscriber) *testHSS {
	t.Helper()
	h, err := tryStart(t, nil, change, subs...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// startInMemory runs one without sockets.
func startInMemory(t *testing.T, subs ...Subscriber) *testHSS {
	t.Helper()
	h, err := tryStart(t, newPipes(), nil, subs...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func tryStart(t *testing.T, mem *pipes, change func(*Config), subs ...Subscriber) (*testHSS, error) {
	cfg := DefaultConfig()
	cfg.Domain, cfg.Listen, cfg.Subscribers.List = domain, "127.0.0.1:0", subs
	cfg.Drain = node.Duration(2 * time.Second)
	if change != nil {
		change(&cfg)
	}
	core, logs := observer.New(zap.DebugLevel)
	stream := &trace.Stream{}
	sub := stream.Subscribe(1 << 10)
	deps := Deps{Deps: node.Deps{Log: zap.New(core), Trace: trace.Node{Stream: stream, Name: "hss"}}}
	if mem != nil {
		deps.Listener = mem
	}
	srv, err := New(cfg, deps)
	if err != nil {
		sub.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	h := &testHSS{Server: srv, t: t, logs: logs, sub: sub, mem: mem}
	h.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		sub.Close()
		if err := h.stop(); err != nil {
			t.Error(err)
		}
	})
	return h, nil
}

// cscf is a Diameter client named host.
type cscf struct {
	*cx.Client
	node *diameter.Node
}

// connect joins a CSCF to the HSS; role takes what the HSS asks, nil for nothing.
func (h *testHSS) connect(host string, role cx.SCSCF) *cscf {
	h.t.Helper()
	var dialer diameter.Dialer = &net.Dialer{}
	address := h.Addr().String()
	if h.mem != nil {
		dialer, address = h.mem, "hss:3868"
	}
	n, err := diameter.New(diameter.Config{
		OriginHost: host + "." + domain, OriginRealm: domain, Dictionary: cx.Dictionary(),
		Applications: []diameter.Application{cx.App()}, Handler: (&cx.Server{SCSCF: role}).Handle,
		Peers:  []diameter.PeerConfig{{Address: address}},
		Dialer: dialer,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = n.Close(ctx)
	})
	if err := n.Start(); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := n.WaitReady(ctx, cx.Application); err != nil {
		h.t.Fatal(err)
	}
	return &cscf{Client: cx.NewClient(n, cx.ClientConfig{Timeout: 3 * time.Second}), node: n}
}

// ask makes a blocking call; a failure that is an answer is no error here.
func ask[A any](t *testing.T, start func(done func(*A, error))) *A {
	t.Helper()
	a, err := call(context.Background(), start)
	if a == nil {
		t.Fatal(err)
	}
	return a
}

func (c *cscf) uar(t *testing.T, q cx.UAR) *cx.UAA {
	t.Helper()
	if q.UserName == "" {
		q.UserName = alice
	}
	if q.PublicIdentity == "" {
		q.PublicIdentity = aliceSIP
	}
	if q.VisitedNetworkID == "" {
		q.VisitedNetworkID = domain
	}
	return ask(t, func(done func(*cx.UAA, error)) { c.UAR(time.Time{}, &q, done) })
}

func (c *cscf) mar(t *testing.T, q cx.MAR) *cx.MAA {
	t.Helper()
	if q.UserName == "" {
		q.UserName = alice
	}
	if q.PublicIdentity == "" {
		q.PublicIdentity = aliceSIP
	}
	if q.ServerName == "" {
		q.ServerName = scscf1
	}
	if q.Item.Scheme == "" {
		q.Item.Scheme = cx.SchemeAKAv1
	}
	return ask(t, func(done func(*cx.MAA, error)) { c.MAR(time.Time{}, &q, done) })
}

// sar sends a SAR of alice's sip identity unless q says otherwise; UserName "-" is none.
func (c *cscf) sar(t *testing.T, q cx.SAR) *cx.SAA {
	t.Helper()
	if q.UserName == "" {
		q.UserName = alice
	}
	if q.UserName == "-" {
		q.UserName = ""
	}
	if q.PublicIdentities == nil {
		q.PublicIdentities = []string{aliceSIP}
	}
	if q.ServerName == "" {
		q.ServerName = scscf1
	}
	return ask(t, func(done func(*cx.SAA, error)) { c.SAR(time.Time{}, &q, done) })
}

func (c *cscf) lir(t *testing.T, q cx.LIR) *cx.LIA {
	t.Helper()
	if q.PublicIdentity == "" {
		q.PublicIdentity = aliceSIP
	}
	return ask(t, func(done func(*cx.LIA, error)) { c.LIR(time.Time{}, &q, done) })
}

// wantState checks what the HSS knows of alice.
func (h *testHSS) wantState(state State, pending bool, scscf string) {
	h.t.Helper()
	got, ok := h.State(alice)
	if !ok || got.State != state || got.AuthPending != pending || got.ServerName != scscf {
		h.t.Errorf("state is %v, pending %v, at %q; want %v, %v, %q", got.State, got.AuthPending, got.ServerName, state, pending, scscf)
	}
}
