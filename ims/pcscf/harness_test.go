package pcscf

import (
	"context"
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
	gmAddr    = "192.0.2.1:5060"
	mwAddr    = "192.0.2.1:5070"
	icscfAddr = "192.0.2.10:5060"
	scscfAddr = "192.0.2.11:5060"
	otherAddr = "192.0.2.12:5060" // a second I-CSCF
	domain    = "ims.example.org"
	route     = "<sip:orig@" + scscfAddr + ";lr>"
)

// world is a P-CSCF under test with a scripted home network and phones, in a
// synctest bubble.
type world struct {
	t     *testing.T
	net   *memnet.Network
	p     *Server
	logs  *observer.ObservedLogs
	peers []*peer
	icscf *peer
	scscf *peer

	esp    *memnet.Network // between protected ports
	ipsec  *fakeBackend    // says what esp carries
	events *trace.Subscription
}

// run makes a world within a bubble; f scripts the peers.
func run(t *testing.T, f func(w *world), adjust ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		w := &world{t: t, net: memnet.New(1), logs: logs, esp: memnet.New(2), ipsec: newFakeBackend()}
		for _, n := range []*memnet.Network{w.net, w.esp} {
			n.SetDefault(memnet.Link{Delay: 5 * time.Millisecond})
		}
		w.esp.SetHook(w.ipsec.carries)
		cfg := DefaultConfig()
		cfg.IPsec.Policy = policyNone
		cfg.Domain = domain
		cfg.Listen = Listen{Gm: netip.MustParseAddrPort(gmAddr), Mw: netip.MustParseAddrPort(mwAddr)}
		cfg.ICSCF = Addresses{netip.MustParseAddrPort(icscfAddr)}
		for _, a := range adjust {
			a(&cfg)
		}
		stream := &trace.Stream{}
		events := stream.Subscribe(10_000)
		defer events.Close()
		w.events = events
		ours := []string{cfg.Listen.Mw.Addr().String()}
		if gm := cfg.Listen.Gm.Addr().String(); gm != ours[0] {
			ours = append(ours, gm)
		}
		var err error
		w.p, err = New(cfg, Deps{Net: w.net.Host(ours...), Protection: &Protection{w.ipsec, w.esp.Host(ours...)}, Deps: node.Deps{
			Log: zap.New(core), Trace: trace.Node{Stream: stream, Name: "pcscf"}, Metrics: prometheus.NewRegistry(),
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.p.Run(ctx) }()
		defer func() {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			for _, p := range w.peers {
				p.close()
			}
		}()
		w.icscf = w.peer("icscf", icscfAddr)
		w.scscf = w.peer("scscf", scscfAddr)
		f(w)
	})
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

// peer is a socket with a name: a phone or a function of the home network. It has
// no transactions; it skips retransmissions of what it has received.
type peer struct {
	w     *world
	name  string
	addr  netip.AddrPort
	host  *memnet.Host
	pc    net.PacketConn
	conns []net.Conn
	ln    net.Listener
	box   chan arrival
	seen  map[string]bool
	cseq  int
}

type arrival struct {
	from netip.AddrPort
	conn net.Conn // nil for a datagram
	*sip.Message
}

// peer adds a peer with a UDP socket.
func (w *world) peer(name, addr string) *peer {
	w.t.Helper()
	a := netip.MustParseAddrPort(addr)
	return w.peerOn(w.net.Host(a.Addr().String()), name, addr)
}

// peerOn adds a peer on a host that exists.
func (w *world) peerOn(h *memnet.Host, name, addr string) *peer {
	w.t.Helper()
	p := &peer{w: w, name: name, addr: netip.MustParseAddrPort(addr), host: h, box: make(chan arrival, 1024), seen: map[string]bool{}}
	var err error
	if p.pc, err = h.ListenPacket(p.addr); err != nil {
		w.t.Fatal(err)
	}
	w.peers = append(w.peers, p)
	go func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := p.pc.ReadFrom(buf)
			if err != nil {
				if ne, ok := err.(net.Error); ok && ne.Timeout() || !isClosed(err) {
					continue
				}
				return
			}
			p.take(string(buf[:n]), from.(*net.UDPAddr).AddrPort(), nil)
		}
	}()
	return p
}

func isClosed(err error) bool { return strings.Contains(err.Error(), "closed") }

func (p *peer) take(raw string, from netip.AddrPort, conn net.Conn) {
	m, err := sip.Parse(raw)
	if err != nil {
		p.w.t.Errorf("%s got what is no SIP: %v", p.name, err)
		return
	}
	if problem := sip.Validate(m); problem != nil {
		p.w.t.Errorf("%s got what is malformed: %v\n%s", p.name, problem, raw)
	}
	p.box <- arrival{from, conn, m}
}

// listen takes connections at the peer's own port.
func (p *peer) listen() {
	p.w.t.Helper()
	var err error
	if p.ln, err = p.host.Listen(p.addr); err != nil {
		p.w.t.Fatal(err)
	}
	go func() {
		for {
			c, err := p.ln.Accept()
			if err != nil {
				return
			}
			go p.read(c)
		}
	}()
}

// dial connects from a port of the peer's (0 for any) to the P-CSCF.
func (p *peer) dial(port uint16, to string) net.Conn {
	p.w.t.Helper()
	c, err := p.host.Dial(context.Background(), netip.AddrPortFrom(p.addr.Addr(), port), netip.MustParseAddrPort(to))
	if err != nil {
		p.w.t.Fatal(err)
	}
	p.conns = append(p.conns, c)
	go p.read(c)
	return c
}

func (p *peer) read(c net.Conn) {
	defer c.Close()
	var data []byte
	buf := make([]byte, 65535)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		data = append(data, buf[:n]...)
		for {
			size, skip, err := sip.Frame(data)
			if err != nil || size == 0 {
				break
			}
			p.take(string(data[skip:skip+size]), c.RemoteAddr().(*net.TCPAddr).AddrPort(), c)
			data = data[skip+size:]
		}
	}
}

func (p *peer) close() {
	_ = p.pc.Close()
	if p.ln != nil {
		_ = p.ln.Close()
	}
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.host.Reset()
}

// send sends a datagram to the P-CSCF.
func (p *peer) send(to, text string) {
	p.w.t.Helper()
	if _, err := p.pc.WriteTo([]byte(text), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); err != nil {
		p.w.t.Fatal(err)
	}
}

// text writes a request of the peer. Each line of more replaces the default header
// of its name; "+Name: value" adds another, "-Name" takes the default away, "body:"
// is the body.
func (p *peer) text(method, uri, callID string, more ...string) string {
	p.cseq++
	head := []string{
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=%s;rport", p.addr, sip.NewBranch()),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <sip:%s@%s>;tag=%s", p.name, domain, p.name),
		"To: <" + uri + ">",
		"Call-ID: " + callID,
		fmt.Sprintf("CSeq: %d %s", p.cseq, method),
		fmt.Sprintf("Contact: <sip:%s@%s>", p.name, p.addr),
	}
	body := ""
	for _, m := range more {
		name, value, ok := strings.Cut(m, ":")
		if name == "body" {
			body = value
			continue
		}
		at := slices.IndexFunc(head, func(h string) bool {
			return strings.HasPrefix(h, strings.TrimLeft(name, "+-")+":")
		})
		switch {
		case !ok && at >= 0:
			head = slices.Delete(head, at, at+1)
		case strings.HasPrefix(m, "+") || at < 0:
			head = append(head, strings.TrimPrefix(m, "+"))
		default:
			head[at] = m
		}
	}
	return fmt.Sprintf("%s %s SIP/2.0\r\n%s\r\nContent-Length: %d\r\n\r\n%s", method, uri, strings.Join(head, "\r\n"), len(body), body)
}

// next returns the next message that is new.
func (p *peer) next() arrival {
	p.w.t.Helper()
	limit := time.After(5 * time.Minute)
	for {
		select {
		case a := <-p.box:
			if key := a.Raw(); !p.seen[key] {
				p.seen[key] = true
				return a
			}
		case <-limit:
			p.w.t.Fatalf("%s waited in vain", p.name)
		}
	}
}

// request returns the next message, a request of that method. ACKs are skipped,
// unless one is wanted.
func (p *peer) request(method string) arrival {
	p.w.t.Helper()
	a := p.next()
	for method != "ACK" && a.Method() == "ACK" {
		a = p.next()
	}
	if !a.IsRequest() || a.Method() != method {
		p.w.t.Fatalf("%s got, wanted %s:\n%s", p.name, method, a.Raw())
	}
	return a
}

// status returns the next message but 100 and ACK, a response with that code.
func (p *peer) status(code int) arrival {
	p.w.t.Helper()
	for {
		a := p.next()
		if !a.IsRequest() && a.Status() == 100 || a.Method() == "ACK" {
			continue
		}
		if a.Status() != code {
			p.w.t.Fatalf("%s got, wanted %d:\n%s", p.name, code, a.Raw())
		}
		return a
	}
}

// refused returns the next response, which must say why it refuses: to the phone,
// and in the log.
func (p *peer) refused(code int, words string) arrival {
	p.w.t.Helper()
	a := p.status(code)
	if v := a.Get(sip.HWarning); !strings.Contains(v, words) {
		p.w.t.Errorf("the phone is told %q, wanted %q", v, words)
	}
	p.w.explained(words)
	return a
}

// nothing checks that nothing new comes for d.
func (p *peer) nothing(d time.Duration) {
	p.w.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	for len(p.box) > 0 {
		if a := <-p.box; !p.seen[a.Raw()] && a.Status() != 100 {
			p.w.t.Errorf("%s got, wanted nothing:\n%s", p.name, a.Raw())
		}
	}
}

// answer responds to a request, with header lines.
func (p *peer) answer(a arrival, code int, more ...string) {
	p.w.t.Helper()
	b := sip.NewResponse(a.Message, code, "", p.name)
	for _, m := range more {
		name, value, _ := strings.Cut(m, ": ")
		b.AddName(name, value)
	}
	p.reply(a, string(b.Bytes()))
}

func (p *peer) reply(a arrival, text string) {
	p.w.t.Helper()
	if a.conn != nil {
		if _, err := a.conn.Write([]byte(text)); err != nil {
			p.w.t.Fatal(err)
		}
		return
	}
	v, err := a.TopVia()
	if err != nil {
		p.w.t.Fatal(err)
	}
	p.send(fmt.Sprintf("%s:%d", v.Host, v.Port), text)
}

// granted are the lines of a usual 200 to a REGISTER.
func (p *peer) granted() []string {
	return []string{
		fmt.Sprintf("Contact: <sip:%s@%s>;expires=3600", p.name, p.addr),
		"Service-Route: " + route,
		fmt.Sprintf("P-Associated-URI: <sip:%s@%s>, <tel:+49%s>", p.name, domain, number(p.name)),
	}
}

// number makes digits out of a name.
func number(name string) string {
	n := 0
	for _, c := range name {
		n = (n*31 + int(c)) % 10_000_000
	}
	return fmt.Sprintf("%07d", n)
}

// authorization of a phone whose private identity is its name.
func (p *peer) authorization() string {
	return fmt.Sprintf(`Authorization: Digest username="%s@%s", realm="%s", nonce="", uri="sip:%s", response=""`, p.name, domain, domain, domain)
}

// register registers a phone over UDP. It returns the user part of its Path entry.
func (p *peer) register(granted ...string) string {
	p.w.t.Helper()
	p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "reg-"+p.name, "To: <sip:"+p.name+"@"+domain+">", p.authorization()))
	return p.registered(granted...)
}

func (p *peer) registered(granted ...string) string {
	p.w.t.Helper()
	if granted == nil {
		granted = p.granted()
	}
	a := p.w.icscf.request("REGISTER")
	p.w.icscf.answer(a, 200, granted...)
	p.status(200)
	return userOf(p.w.t, a.First(sip.HPath))
}

func userOf(t *testing.T, value string) string {
	t.Helper()
	user, ok := strings.CutPrefix(addressURI(value), "sip:")
	user, _, at := strings.Cut(user, "@")
	if !ok || !at {
		t.Fatalf("%q has no user part", value)
	}
	return user
}

func values(m *sip.Message, id sip.ID) []string {
	return slices.Collect(m.Values(id))
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: got %q, want %q", what, g, w)
	}
}

func netipAddr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// dialogsKept is how many dialogs the P-CSCF knows.
func (w *world) dialogsKept() int {
	w.p.dialogs.mu.Lock()
	defer w.p.dialogs.mu.Unlock()
	return len(w.p.dialogs.byKey)
}
