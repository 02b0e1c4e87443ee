package icscf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ims/trace"
)

func TestMain(m *testing.M) {
	sip.PoisonBuffers()
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// Who is where.
const (
	domain    = "ims.example.org"
	icscfAddr = "192.0.2.10:5060"
	pcscfAddr = "192.0.2.1:5060"
	s1Addr    = "192.0.2.11:5060"
	s2Addr    = "192.0.2.12:5060"
	s3Addr    = "192.0.2.13:5060"
	hssAddr   = "192.0.2.20:3868"

	s1, s2, s3 = "sip:s1.example.org", "sip:s2.example.org:5060", "sip:" + s3Addr
)

// world is an I-CSCF under test with a scripted HSS and neighbours, in a synctest
// bubble.
type world struct {
	t     *testing.T
	net   *memnet.Network
	i     *Server
	logs  *observer.ObservedLogs
	peers []*peer
	p     *peer // sends to the I-CSCF
	s1    *peer
	s2    *peer
	s3    *peer

	hss   *diameter.Node
	asked chan question
}

// question is one request of the I-CSCF to the HSS.
type question struct {
	*diameter.Request
	uar *cx.UAR
	lir *cx.LIR
}

// run makes a world within a bubble; f scripts the peers.
func run(t *testing.T, f func(w *world), adjust ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		w := &world{t: t, net: memnet.New(1), logs: logs, asked: make(chan question, 100)}
		w.net.SetDefault(memnet.Link{Delay: 5 * time.Millisecond})
		cfg := DefaultConfig()
		cfg.Domain, cfg.Listen = domain, netip.MustParseAddrPort(icscfAddr)
		cfg.SCSCFs = []SCSCF{{Name: s1, Capabilities: []uint32{1}}, {Name: s2, Capabilities: []uint32{1, 2}}, {Name: s3, Capabilities: []uint32{1, 2, 3}}}
		cfg.Hosts = map[string]string{"s1.example.org": s1Addr, "s2.example.org": s2Addr, "as.example.org": s3Addr}
		cfg.Diameter.Peers = []node.DiameterPeer{{Address: hssAddr}}
		for _, a := range adjust {
			a(&cfg)
		}
		w.startHSS(w.net.Host("192.0.2.20"))
		defer func() { _ = w.hss.Close(context.Background()) }()
		host := w.net.Host("192.0.2.10")
		stream := &trace.Stream{}
		events := stream.Subscribe(10_000)
		defer events.Close()
		var err error
		w.i, err = New(cfg, Deps{Net: host, Dialer: memDialer{host}, Deps: node.Deps{
			Log: zap.New(core), Trace: trace.Node{Stream: stream, Name: "icscf"}, Metrics: prometheus.NewRegistry(),
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.i.Run(ctx) }()
		defer func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			for _, p := range w.peers {
				_ = p.pc.Close()
			}
		}()
		w.p, w.s1, w.s2, w.s3 = w.peer("pcscf", pcscfAddr), w.peer("s1", s1Addr), w.peer("s2", s2Addr), w.peer("s3", s3Addr)
		time.Sleep(time.Second)
		if err := w.i.Ready(); err != nil {
			t.Fatalf("not ready: %v", err)
		}
		f(w)
	})
}

// memDialer dials the HSS from a host of the network.
type memDialer struct{ h *memnet.Host }

func (d memDialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return d.h.Dial(ctx, netip.AddrPort{}, netip.MustParseAddrPort(address))
}

func (w *world) startHSS(h *memnet.Host) {
	w.t.Helper()
	var err error
	w.hss, err = diameter.New(diameter.Config{
		OriginHost: "hss." + domain, OriginRealm: domain, AcceptUnknown: true,
		Applications: []diameter.Application{cx.App()}, Dictionary: cx.Dictionary(), Handler: w.question,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := h.Listen(netip.MustParseAddrPort(hssAddr))
	if err == nil {
		err = w.hss.Listen(l)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// question takes what the I-CSCF asks.
func (w *world) question(r *diameter.Request) {
	q := question{Request: r}
	var fault *diameter.AVPError
	switch r.Command {
	case cx.UserAuthorization:
		q.uar = new(cx.UAR)
		fault = cx.DecodeRequest(r.Message, q.uar)
	case cx.LocationInfo:
		q.lir = new(cx.LIR)
		fault = cx.DecodeRequest(r.Message, q.lir)
	default:
		w.t.Errorf("the I-CSCF asks command %d", r.Command)
	}
	if fault != nil {
		w.t.Errorf("the I-CSCF asks what TS 29.229 does not allow: %v", fault)
	}
	w.asked <- q
}

func (w *world) ask() question {
	w.t.Helper()
	select {
	case q := <-w.asked:
		return q
	case <-time.After(time.Minute):
		w.t.Fatal("the I-CSCF has asked nothing")
		return question{}
	}
}

// uar returns the next question, a UAR for that purpose.
func (w *world) uar(kind cx.UserAuthorizationType) question {
	w.t.Helper()
	q := w.ask()
	if q.uar == nil || q.uar.Type != kind {
		w.t.Fatalf("the I-CSCF asks %+v, wanted a UAR of type %v", q, kind)
	}
	return q
}

// lir returns the next question, an LIR about that identity.
func (w *world) lir(identity string) question {
	w.t.Helper()
	q := w.ask()
	if q.lir == nil || q.lir.PublicIdentity != identity {
		w.t.Fatalf("the I-CSCF asks %+v, wanted an LIR about %s", q, identity)
	}
	return q
}

func (w *world) quiet() {
	w.t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	if len(w.asked) > 0 {
		w.t.Errorf("the I-CSCF asks on: %+v", <-w.asked)
	}
}

// result answers with a result alone, written as it is.
func (q question) result(t *testing.T, r diameter.Result) {
	t.Helper()
	if err := q.Answer(q.NewAnswer(r)); err != nil {
		t.Fatal(err)
	}
}

func (q question) answer(t *testing.T, a cx.Answer) {
	t.Helper()
	if err := q.Answer(cx.EncodeAnswer(q.Request, a)); err != nil {
		t.Fatal(err)
	}
}

// named is the answer to either question that names an S-CSCF.
func (q question) named(t *testing.T, name string) {
	t.Helper()
	if q.uar != nil {
		q.answer(t, &cx.UAA{AnswerHeader: cx.AnswerHeader{Result: cx.SubsequentRegistration.Result()}, ServerName: name})
		return
	}
	q.answer(t, &cx.LIA{AnswerHeader: cx.AnswerHeader{Result: diameter.Base(diameter.Success)}, ServerName: name})
}

// capable is the answer to either question that asks for capabilities.
func (q question) capable(t *testing.T, want *cx.ServerCapabilities) {
	t.Helper()
	if q.uar != nil {
		q.answer(t, &cx.UAA{AnswerHeader: cx.AnswerHeader{Result: cx.FirstRegistration.Result()}, Capabilities: want})
		return
	}
	q.answer(t, &cx.LIA{AnswerHeader: cx.AnswerHeader{Result: cx.UnregisteredService.Result()}, Capabilities: want})
}

// explained checks that the log gives a cause, and what to do.
func (w *world) explained(words string) {
	w.t.Helper()
	lines := w.logs.Filter(func(e observer.LoggedEntry) bool { return strings.Contains(e.Message, words) })
	if lines.Len() == 0 {
		w.t.Errorf("no log line says %q", words)
	}
	for _, e := range lines.All() {
		if next, told := e.ContextMap()["next"]; told && next == "" {
			w.t.Errorf("the log does not say what to do about %q", e.Message)
		}
	}
}

// peer is a UDP socket with a name, without transactions; it skips retransmissions
// of what it has received.
type peer struct {
	w    *world
	name string
	addr netip.AddrPort
	pc   net.PacketConn
	box  chan *sip.Message
	seen map[string]bool
	cseq int
}

func (w *world) peer(name, addr string) *peer {
	w.t.Helper()
	p := &peer{w: w, name: name, addr: netip.MustParseAddrPort(addr), box: make(chan *sip.Message, 1024), seen: map[string]bool{}}
	var err error
	if p.pc, err = w.net.Host(p.addr.Addr().String()).ListenPacket(p.addr); err != nil {
		w.t.Fatal(err)
	}
	w.peers = append(w.peers, p)
	go func() {
		buf := make([]byte, 65535)
		for {
			n, _, err := p.pc.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			} else if err != nil {
				continue // ICMP
			}
			m, err := sip.Parse(string(buf[:n]))
			if err != nil {
				p.w.t.Errorf("%s got what is no SIP: %v", p.name, err)
				continue
			}
			if problem := sip.Validate(m); problem != nil {
				p.w.t.Errorf("%s got what is malformed: %v\n%s", p.name, problem, m.Raw())
			}
			p.box <- m
		}
	}()
	return p
}

// send sends a datagram to the I-CSCF.
func (p *peer) send(text string) {
	p.w.t.Helper()
	if _, err := p.pc.WriteTo([]byte(text), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(icscfAddr))); err != nil {
		p.w.t.Fatal(err)
	}
}

// text writes a request. Each line of more replaces the default header of its name;
// "+Name: value" adds another, "-Name" takes the default away.
func (p *peer) text(method, uri, callID string, more ...string) string {
	p.cseq++
	head := []string{
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=%s", p.addr, sip.NewBranch()),
		"Max-Forwards: 70",
		"From: <sip:x@" + domain + ">;tag=x",
		"To: <" + uri + ">",
		"Call-ID: " + callID,
		fmt.Sprintf("CSeq: %d %s", p.cseq, method),
		"Contact: <sip:x@198.51.100.1>",
	}
	for _, m := range more {
		name, _, ok := strings.Cut(m, ":")
		at := slices.IndexFunc(head, func(h string) bool { return strings.HasPrefix(h, strings.TrimLeft(name, "+-")+":") })
		switch {
		case !ok && at >= 0:
			head = slices.Delete(head, at, at+1)
		case strings.HasPrefix(m, "+") || at < 0:
			head = append(head, strings.TrimPrefix(m, "+"))
		default:
			head[at] = m
		}
	}
	return fmt.Sprintf("%s %s SIP/2.0\r\n%s\r\nContent-Length: 0\r\n\r\n", method, uri, strings.Join(head, "\r\n"))
}

// register sends a REGISTER as a P-CSCF does.
func (p *peer) register(callID string, more ...string) {
	p.w.t.Helper()
	p.send(p.text("REGISTER", "sip:"+domain, callID, append([]string{
		"To: <sip:alice@" + domain + ">", "Path: <sip:token@" + pcscfAddr + ";lr>", "Require: path",
		`Authorization: Digest username="alice.private@` + domain + `", realm="` + domain + `", nonce="", uri="sip:` + domain + `", response="", integrity-protected="no"`,
	}, more...)...))
}

func (p *peer) next() *sip.Message {
	p.w.t.Helper()
	limit := time.After(5 * time.Minute)
	for {
		select {
		case m := <-p.box:
			if !p.seen[m.Raw()] && m.Method() != "ACK" && m.Status() != 100 {
				p.seen[m.Raw()] = true
				return m
			}
		case <-limit:
			p.w.t.Fatalf("%s waited in vain", p.name)
		}
	}
}

func (p *peer) request(method string) *sip.Message {
	p.w.t.Helper()
	m := p.next()
	if !m.IsRequest() || m.Method() != method {
		p.w.t.Fatalf("%s got, wanted %s:\n%s", p.name, method, m.Raw())
	}
	return m
}

func (p *peer) status(code int) *sip.Message {
	p.w.t.Helper()
	m := p.next()
	if m.Status() != code {
		p.w.t.Fatalf("%s got, wanted %d:\n%s", p.name, code, m.Raw())
	}
	return m
}

// refused returns the next response, which must say why, as must the log.
func (p *peer) refused(code int, words string) *sip.Message {
	p.w.t.Helper()
	m := p.status(code)
	if v := m.Get(sip.HWarning); !strings.Contains(v, words) {
		p.w.t.Errorf("the peer is told %q, wanted %q", v, words)
	}
	p.w.explained(words)
	return m
}

func (p *peer) nothing(d time.Duration) {
	p.w.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	for len(p.box) > 0 {
		if m := <-p.box; !p.seen[m.Raw()] && m.Status() != 100 {
			p.w.t.Errorf("%s got, wanted nothing:\n%s", p.name, m.Raw())
		}
	}
}

// answer responds to a request of the I-CSCF.
func (p *peer) answer(m *sip.Message, code int, more ...string) {
	p.w.t.Helper()
	b := sip.NewResponse(m, code, "", p.name)
	for _, l := range more {
		name, value, _ := strings.Cut(l, ": ")
		b.AddName(name, value)
	}
	p.send(string(b.Bytes()))
}

// down makes the socket at an address refuse.
func (w *world) down(addrs ...string) {
	w.net.SetHook(func(k memnet.Packet) memnet.Verdict {
		if slices.Contains(addrs, k.To.String()) {
			return memnet.Refuse
		}
		return memnet.Pass
	})
}

func values(m *sip.Message, id sip.ID) []string { return slices.Collect(m.Values(id)) }

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: got %q, want %q", what, g, w)
	}
}
