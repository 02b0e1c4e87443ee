package scscf

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ims/trace"
)

func TestMain(m *testing.M) {
	sip.PoisonBuffers()
	goleak.VerifyTestMain(m)
}

// The network of the tests. Service-Route entries and ODIs are at scscfAddr.
const (
	home      = "home.test"
	scscfAddr = "192.0.2.10:5060"
	hssAddr   = "192.0.2.5:3868"
	alongSR   = "Route: <sip:orig@" + scscfAddr + ";lr>"
)

// world is an S-CSCF with scripted neighbours, in a bubble.
type world struct {
	t     *testing.T
	net   *memnet.Network
	s     *Server
	hss   *scriptedHSS
	logs  *observer.ObservedLogs
	trace *trace.Subscription

	p, p2, i, as1, as2, other *peer
}

// inWorld runs f in a bubble. An HSS is there if hss is not nil.
func inWorld(t *testing.T, hss *scriptedHSS, f func(w *world), change ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: memnet.New(1), hss: hss}
		w.net.SetDefault(memnet.Link{Delay: 5 * time.Millisecond})
		host := w.net.Host("192.0.2.10")
		hssHost := w.net.Host("192.0.2.5")
		if hss != nil {
			hss.t = t
			n, err := diameter.New(diameter.Config{
				OriginHost: "hss." + home, OriginRealm: home, AcceptUnknown: true, Applications: []diameter.Application{cx.App()},
				Dictionary: cx.Dictionary(), Handler: (&cx.Server{HSS: hss}).Handle,
			})
			if err != nil {
				t.Fatal(err)
			}
			l, err := hssHost.Listen(netip.MustParseAddrPort(hssAddr))
			if err == nil {
				err = n.Listen(l)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = n.Close(t.Context()) }()
		}
		cfg := DefaultConfig()
		cfg.Domain, cfg.Listen, cfg.ICSCF = home, netip.MustParseAddrPort(scscfAddr), netip.MustParseAddrPort("192.0.2.2:5060")
		cfg.Diameter.Peers = []node.DiameterPeer{{Address: hssAddr}}
		cfg.Hosts = map[string]string{"as1.home.test": "192.0.2.21:5060", "as2.home.test": "192.0.2.22:5060", "other.test": "192.0.2.30:5060"}
		for _, c := range change {
			c(&cfg)
		}
		core, logs := observer.New(zap.InfoLevel)
		w.logs = logs
		stream := &trace.Stream{}
		w.trace = stream.Subscribe(10_000)
		defer w.trace.Close()
		var err error
		w.s, err = New(cfg, Deps{
			Deps: node.Deps{Log: zap.New(core), Trace: trace.Node{Stream: stream, Name: "scscf"}}, Net: host, Dialer: memDialer{host},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.s.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		for _, p := range []struct {
			at *(*peer)
			ip string
		}{{&w.p, "192.0.2.1"}, {&w.p2, "192.0.2.3"}, {&w.i, "192.0.2.2"}, {&w.as1, "192.0.2.21"}, {&w.as2, "192.0.2.22"}, {&w.other, "192.0.2.30"}} {
			*p.at = w.peer(p.ip)
			defer (*p.at).close()
		}
		time.Sleep(time.Second) // the HSS is connected
		f(w)
	})
}

// memDialer dials the HSS from a host of the network.
type memDialer struct{ h *memnet.Host }

func (d memDialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return d.h.Dial(ctx, netip.AddrPort{}, netip.MustParseAddrPort(address))
}

// scriptedHSS answers SARs with what is set, and nothing else.
type scriptedHSS struct {
	t        *testing.T
	profiles map[string]*profile.Profile // by the identity asked for
	fail     diameter.Result
	silent   bool

	mu   sync.Mutex
	sars []string
	host string // that the last one was for
}

func (h *scriptedHSS) SAR(_ *diameter.Request, q *cx.SAR, answer func(*cx.SAA) error) {
	h.mu.Lock()
	h.sars = append(h.sars, fmt.Sprint(q.Type, " ", strings.Join(q.PublicIdentities, " ")))
	h.host = q.DestinationHost
	h.mu.Unlock()
	a := &cx.SAA{AnswerHeader: cx.AnswerHeader{Result: h.fail}, UserName: "bob@home.test"}
	p := h.profiles[q.PublicIdentities[0]]
	switch {
	case h.silent:
		return
	case h.fail.Code != 0:
	case p == nil:
		a.Result = cx.ErrorUserUnknown.Result()
	default:
		a.Result, a.UserData = diameter.Base(diameter.Success), string(p.Marshal())
	}
	if err := answer(a); err != nil {
		h.t.Error(err)
	}
}

func (h *scriptedHSS) asked() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.sars, ", ")
}

func (h *scriptedHSS) UAR(*diameter.Request, *cx.UAR, func(*cx.UAA) error) { h.t.Error("UAR") }
func (h *scriptedHSS) LIR(*diameter.Request, *cx.LIR, func(*cx.LIA) error) { h.t.Error("LIR") }
func (h *scriptedHSS) MAR(*diameter.Request, *cx.MAR, func(*cx.MAA) error) { h.t.Error("MAR") }

// user makes a profile of one service profile.
func user(criteria []profile.InitialFilterCriteria, ids ...profile.PublicIdentity) *profile.Profile {
	return &profile.Profile{ServiceProfiles: []profile.ServiceProfile{{PublicIdentities: ids, InitialFilterCriteria: criteria}}}
}

// id is an identity; all of a profile are aliases of each other.
func id(s string) profile.PublicIdentity {
	return profile.PublicIdentity{Identity: identity.IMPU(s), PriorityLevel: -1, AliasGroup: "1"}
}

func barred(s string) profile.PublicIdentity {
	return profile.PublicIdentity{Identity: identity.IMPU(s), PriorityLevel: -1, Barred: true}
}

// to is a criterion for a server; triggers of one group each are ANDed.
func to(priority int32, server string, handling profile.DefaultHandling, triggers ...profile.SPT) profile.InitialFilterCriteria {
	c := profile.InitialFilterCriteria{Priority: priority, ApplicationServer: profile.ApplicationServer{ServerName: server, DefaultHandling: handling}}
	if len(triggers) > 0 {
		c.TriggerPoint = &profile.TriggerPoint{CNF: true}
		for i, s := range triggers {
			s.Groups = []int32{int32(i)}
			c.TriggerPoint.SPTs = append(c.TriggerPoint.SPTs, s)
		}
	}
	return c
}

func in(c profile.SessionCase) profile.SPT { return profile.SPT{Kind: profile.SessionCaseSPT, Case: c} }

// register puts a user into the S-CSCF's store. A binding's empty Path is the
// P-CSCF's, its empty Expires in an hour.
func (w *world) register(p *profile.Profile, bindings ...registrar.Binding) *registrar.Registration {
	w.t.Helper()
	reg, err := w.s.userData(string(p.Marshal()), "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	reg.IMPIs = []string{strings.TrimPrefix(reg.Identities[0].Key, "sip:")}
	for _, b := range bindings {
		if b.Path == nil {
			b.Path = []string{"<sip:token@192.0.2.1;lr>"}
		}
		if b.Expires.IsZero() {
			b.Expires = time.Now().Add(time.Hour)
		}
		reg.Bindings = append(reg.Bindings, b)
	}
	reg.Until = time.Now().Add(time.Hour)
	if err := w.s.store.Put(nil, reg); err != nil {
		w.t.Fatal(err)
	}
	return reg
}

func at(contact string) registrar.Binding { return registrar.Binding{Contact: contact} }

// alice and bob are registered at 192.0.2.1 and have these criteria.
func (w *world) alice(criteria ...profile.InitialFilterCriteria) *registrar.Registration {
	return w.register(user(criteria, id("sip:alice@home.test"), id("tel:+4911")), at("sip:alice@10.0.0.1:5060"))
}

func (w *world) bob(criteria ...profile.InitialFilterCriteria) *registrar.Registration {
	return w.register(user(criteria, id("sip:bob@home.test"), id("tel:+4922")), at("sip:bob@10.0.0.2:5060"))
}

// peer is a scripted neighbour without transactions: it sends what it is told, and
// skips 100, ACK and repetitions.
type peer struct {
	w    *world
	addr string
	conn net.PacketConn
	box  chan *sip.Message
	done chan struct{}
	seen map[string]bool

	tryings atomic.Int32 // 100s, which box does not get
}

func (w *world) peer(ip string) *peer {
	conn, err := w.net.Host(ip).ListenPacket(netip.MustParseAddrPort(ip + ":5060"))
	if err != nil {
		w.t.Fatal(err)
	}
	p := &peer{w: w, addr: ip + ":5060", conn: conn, box: make(chan *sip.Message, 256), done: make(chan struct{}), seen: map[string]bool{}}
	go p.read()
	return p
}

func (p *peer) read() {
	defer close(p.done)
	buf := make([]byte, 65536)
	for {
		n, _, err := p.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := sip.Parse(string(buf[:n]))
		if err != nil {
			p.w.t.Errorf("%s got what is no SIP: %v", p.addr, err)
			continue
		}
		v, _ := m.TopVia()
		key := fmt.Sprint(m.Method(), m.Status(), v.Branch, m.ToTag())
		if m.Status() == 100 {
			p.tryings.Add(1)
		}
		if m.Status() == 100 || m.Method() == "ACK" || p.seen[key] {
			continue
		}
		p.seen[key] = true
		p.box <- m
	}
}

func (p *peer) close() { _ = p.conn.Close(); <-p.done }

// want waits for the next message and checks its method or status.
func (p *peer) want(what string) *sip.Message {
	p.w.t.Helper()
	select {
	case m := <-p.box:
		got := m.Method()
		if !m.IsRequest() {
			got = fmt.Sprint(m.Status())
		}
		if got != what {
			p.w.t.Fatalf("%s got %s, want %s:\n%s", p.addr, got, what, m.Raw())
		}
		return m
	case <-time.After(40 * time.Second):
		p.w.t.Fatalf("%s got nothing, want %s; the log says %v", p.addr, what, p.w.logs.All())
		return nil
	}
}

// nothing checks that nothing comes for a second.
func (p *peer) nothing() {
	p.w.t.Helper()
	time.Sleep(time.Second)
	select {
	case m := <-p.box:
		p.w.t.Fatalf("%s got, and should not have:\n%s", p.addr, m.Raw())
	default:
	}
}

func (p *peer) write(data []byte) {
	p.w.t.Helper()
	if _, err := p.conn.WriteTo(data, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(scscfAddr))); err != nil {
		p.w.t.Fatal(err)
	}
}

func (p *peer) via() string { return "SIP/2.0/UDP " + p.addr + ";branch=" + sip.NewBranch() }

// send sends a request; lines are further header lines, and perhaps "body:…" and a
// To.
func (p *peer) send(method, ruri string, lines ...string) *sip.Message {
	p.w.t.Helper()
	body, callee := "", "To: <"+ruri+">\r\n"
	head := fmt.Sprintf("%s %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 68\r\nFrom: <sip:alice@home.test>;tag=%s\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nContact: <sip:alice@10.0.0.1:5060>\r\n"+
		"P-Charging-Vector: icid-value=\"ic1\";orig-ioi=\"Type 1visited.test\"\r\n", method, ruri, p.via(), sip.NewTag(), sip.NewCallID(), method)
	for _, l := range lines {
		if b, ok := strings.CutPrefix(l, "body:"); ok {
			body = b
			continue
		}
		if strings.HasPrefix(l, "To:") {
			callee = ""
		}
		if v, ok := strings.CutPrefix(l, "-P-Charging-Vector: "); ok { // in place of the usual one
			head = strings.Replace(head, "icid-value=\"ic1\";orig-ioi=\"Type 1visited.test\"", v, 1)
			continue
		}
		head += l + "\r\n"
	}
	raw := head + callee + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	m, err := sip.Parse(raw)
	if err != nil {
		p.w.t.Fatal(err)
	}
	p.write([]byte(raw))
	return m
}

// call is an INVITE of Alice's phone along her Service-Route.
func (p *peer) call(ruri string, lines ...string) *sip.Message {
	p.w.t.Helper()
	return p.send("INVITE", ruri, append([]string{alongSR, "P-Asserted-Identity: <sip:alice@home.test>"}, lines...)...)
}

func (p *peer) reply(req *sip.Message, status int, fields ...sip.Field) {
	p.w.t.Helper()
	p.write(sip.NewResponse(req, status, "", sip.NewTag()).AddFields(fields...).Bytes())
}

// back sends a request back as a proxy does: its own Route entry is gone, its Via
// added. change may do more.
func (p *peer) back(req *sip.Message, change func(e *sip.Edits)) {
	p.w.t.Helper()
	var e sip.Edits
	e.PopFirst(sip.HRoute)
	e.Prepend(sip.HVia, p.via())
	if change != nil {
		change(&e)
	}
	p.write(req.AppendTo(nil, &e))
}

// relay passes a response on.
func (p *peer) relay(m *sip.Message) {
	p.w.t.Helper()
	var e sip.Edits
	e.PopFirst(sip.HVia)
	p.write(m.AppendTo(nil, &e))
}

// header checks the values of a header, joined by " | ".
func (w *world) header(m *sip.Message, id sip.ID, want string) {
	w.t.Helper()
	var got []string
	for v := range m.Values(id) {
		got = append(got, v)
	}
	if s := strings.Join(got, " | "); s != want {
		w.t.Errorf("%v is %q, want %q", id, s, want)
	}
}

func (w *world) ruri(m *sip.Message, want string) {
	w.t.Helper()
	if m.RequestURI() != want {
		w.t.Errorf("Request-URI is %s, want %s", m.RequestURI(), want)
	}
}

// why checks that the response names its cause, and the log what to do.
func (w *world) why(m *sip.Message, want string) {
	w.t.Helper()
	if got := m.Get(sip.HWarning); !strings.Contains(got, want) {
		w.t.Errorf("the Warning of %d is %q, want %q in it", m.Status(), got, want)
	}
	for _, e := range w.logs.Filter(func(e observer.LoggedEntry) bool { return strings.Contains(e.Message, want) }).All() {
		if next, told := e.ContextMap()["next"]; told && next == "" {
			w.t.Errorf("the log does not say what to do about %q", e.Message)
		}
	}
}

// told checks that the trace has an event of that kind with that text.
func (w *world) told(kind trace.Kind, want string) {
	w.t.Helper()
	synctest.Wait()
	for {
		select {
		case e := <-w.trace.C():
			if e.Kind == kind && strings.Contains(e.Text, want) {
				return
			}
		default:
			w.t.Errorf("no %s event says %q", kind, want)
			return
		}
	}
}
