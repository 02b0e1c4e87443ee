package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
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

// The core under test and its addresses: one host with a socket for each side.
const (
	coreAddr = "192.0.2.1:5060"
	gmAddr   = "192.0.2.1:5080"
	iscAddr  = "192.0.2.1:5090"
)

// world is a core under test and the peers around it, in a synctest bubble.
type world struct {
	t    *testing.T
	net  *memnet.Network
	core *Core

	mu        sync.Mutex
	decisions []string
}

// Decision makes world an Observer.
func (w *world) Decision(_, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.decisions = append(w.decisions, text)
}

// run makes a world within a bubble; f scripts the peers.
func run(t *testing.T, h Handler, f func(w *world), configure ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: memnet.New(1)}
		w.net.SetDefault(memnet.Link{Delay: 5 * time.Millisecond})
		cfg := Config{
			Net: w.net.Host("192.0.2.1"), Shards: 2, Observer: w,
			Listen: []transport.Listen{
				{Addr: netip.MustParseAddrPort(coreAddr), UDP: true, TCP: true, Role: sip.RoleCore},
				{Addr: netip.MustParseAddrPort(gmAddr), UDP: true, TCP: true, Role: sip.RoleGm},
				{Addr: netip.MustParseAddrPort(iscAddr), UDP: true, TCP: true, Role: sip.RoleISC},
			},
		}
		for _, c := range configure {
			c(&cfg)
		}
		var err error
		if w.core, err = New(cfg, h); err != nil {
			t.Fatal(err)
		}
		defer func() {
			w.core.Close()
			if t.Failed() {
				w.mu.Lock()
				defer w.mu.Unlock()
				t.Logf("decisions:\n%s", strings.Join(w.decisions, "\n"))
			}
		}()
		f(w)
	})
}

// quiet waits until every transaction is gone and checks that nothing is left.
func (w *world) quiet() {
	w.t.Helper()
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	st := w.core.Stats().Transaction
	if st.Servers != 0 || st.Clients != 0 || st.Timers != 0 || st.Open != 0 || st.Lingering != 0 {
		w.t.Errorf("left behind: %+v", st)
	}
}

// peer is a scripted user agent or proxy without transactions: it sends what it
// is told, and skips repetitions of what it has received.
type peer struct {
	w    *world
	name string
	addr netip.AddrPort
	host *memnet.Host
	tr   *transport.Transport
	box  chan arrival
	seen map[string]bool
	tag  string

	repeats bool          // do not skip repetitions
	limit   time.Duration // how long to wait for a message; 45 s if 0
}

type arrival struct {
	flow sip.Flow
	msg  *sip.Message
}

func (p *peer) Receive(f sip.Flow, raw string) {
	m, err := sip.Parse(raw)
	if err != nil {
		p.w.t.Errorf("%s received what is no SIP: %v\n%s", p.name, err, raw)
		return
	}
	if problem := sip.Validate(m); problem != nil {
		p.w.t.Errorf("%s received what is malformed: %v\n%s", p.name, problem, raw)
	}
	p.box <- arrival{f, m}
}
func (p *peer) Malformed(_ sip.Flow, raw string, err error) {
	p.w.t.Errorf("%s cannot frame: %v\n%s", p.name, err, raw)
}
func (p *peer) Closed(sip.Flow) {}

// peer adds a peer on a host of its own. TCP is open if tcp is set.
func (w *world) peer(name, ip string, tcp bool) *peer {
	w.t.Helper()
	p := &peer{w: w, name: name, host: w.net.Host(ip), addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 5060)}
	p.open(tcp)
	return p
}

// again opens the sockets of a closed peer anew.
func (w *world) again(name string, old *peer, tcp bool) *peer {
	w.t.Helper()
	p := &peer{w: w, name: name, host: old.host, addr: old.addr}
	p.open(tcp)
	return p
}

func (p *peer) open(tcp bool) {
	p.w.t.Helper()
	p.box, p.seen, p.tag = make(chan arrival, 4096), map[string]bool{}, p.name
	p.tr = transport.New(p.host, transport.Config{}, p)
	if _, err := p.tr.Listen(transport.Listen{Addr: p.addr, UDP: true, TCP: tcp}); err != nil {
		p.w.t.Fatal(err)
	}
}

// close ends the peer's sockets; a bubble must be left empty.
func (p *peer) close() { _ = p.tr.Close() }

// via sends a message over a flow of any protocol to an address of the core.
func (p *peer) sendTo(proto sip.Proto, to string, raw string) {
	p.w.t.Helper()
	f, ok := p.tr.Pick(proto, sip.RoleCore, netip.MustParseAddrPort(to))
	if !ok {
		p.w.t.Fatalf("%s has no %v socket", p.name, proto)
	}
	p.tr.Send(transport.Outgoing{Flow: f, Data: []byte(raw), Fail: func(err error) {
		if !errors.As(err, new(*transport.LostError)) { // connections may end behind it
			p.w.t.Errorf("%s: %v", p.name, err)
		}
	}})
}

func (p *peer) send(raw string) { p.w.t.Helper(); p.sendTo(sip.UDP, coreAddr, raw) }

// text is a request from p, through Vias and headers as given; each of more is a
// header line, which replaces the default of that name; "+Name: value" adds one
// more, "-Name" takes the default away, "body:" is the body.
func (p *peer) text(method, uri, call string, more ...string) string {
	branch := "z9hG4bK" + call + strings.ToLower(method)
	head := []string{
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=%s", p.addr, branch),
		"Max-Forwards: 70",
		fmt.Sprintf("From: <sip:%s@test>;tag=%s", p.name, p.tag),
		"To: <" + uri + ">",
		"Call-ID: " + call,
		"CSeq: 1 " + method,
		fmt.Sprintf("Contact: <sip:%s@%s>", p.name, p.addr),
	}
	body := ""
	for _, m := range more {
		name, value, ok := strings.Cut(m, ":")
		switch {
		case name == "body":
			body = value
			continue
		case strings.HasPrefix(m, "-"):
			name = m[1:]
		}
		at := -1
		for i, h := range head {
			if strings.HasPrefix(h, strings.TrimPrefix(name, "+")+":") {
				at = i
			}
		}
		switch {
		case !ok:
			if at >= 0 {
				head = append(head[:at], head[at+1:]...)
			}
		case strings.HasPrefix(m, "+"):
			head = append(head, m[1:])
		case at >= 0:
			head[at] = m
		default:
			head = append(head, m)
		}
	}
	return fmt.Sprintf("%s %s SIP/2.0\r\n%s\r\nContent-Length: %d\r\n\r\n%s", method, uri, strings.Join(head, "\r\n"), len(body), body)
}

// next returns the next message, whatever it is, within the limit.
func (p *peer) next() arrival {
	p.w.t.Helper()
	limit := time.After(cmp.Or(p.limit, 45*time.Second))
	for {
		select {
		case a := <-p.box:
			if p.seen[a.msg.Raw()] && !p.repeats {
				continue
			}
			p.seen[a.msg.Raw()] = true
			return a
		case <-limit:
			p.w.t.Fatalf("%s waited for a message in vain", p.name)
		}
	}
}

// request returns the next message, which must be a request of that method.
func (p *peer) request(method string) arrival {
	p.w.t.Helper()
	a := p.next()
	if !a.msg.IsRequest() || a.msg.Method() != method {
		p.w.t.Fatalf("%s received %q, want %s", p.name, a.msg.StartLine(), method)
	}
	return a
}

// status returns the next response, which must have that code; a 100 before it
// is skipped.
func (p *peer) status(code int) *sip.Message {
	p.w.t.Helper()
	for {
		m := p.next().msg
		if !m.IsRequest() && m.Status() == 100 && code != 100 {
			continue
		}
		if m.IsRequest() || m.Status() != code {
			p.w.t.Fatalf("%s received %q, want %d", p.name, m.StartLine(), code)
		}
		return m
	}
}

// nothing checks that nothing new has arrived for d.
func (p *peer) nothing(d time.Duration) {
	p.w.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	for len(p.box) > 0 {
		if a := <-p.box; !p.seen[a.msg.Raw()] && (a.msg.IsRequest() || a.msg.Status() != 100) {
			p.w.t.Fatalf("%s received %q, want nothing", p.name, a.msg.StartLine())
		}
	}
}

// answer responds to a request over the flow on which it came, or over UDP to
// the sent-by of its top Via.
func (p *peer) answer(a arrival, code int, fields ...sip.Field) *sip.Message {
	p.w.t.Helper()
	b := sip.NewResponse(a.msg, code, "", p.tag).AddFields(fields...)
	if code > 100 && code < 300 {
		b.Add(sip.HContact, fmt.Sprintf("<sip:%s@%s>", p.name, p.addr))
	}
	p.reply(a, b.Bytes())
	m, err := b.Message()
	if err != nil {
		p.w.t.Fatal(err)
	}
	return m
}

func (p *peer) reply(a arrival, data []byte) {
	f := a.flow
	if v, err := a.msg.TopVia(); err == nil && f.Proto == sip.UDP {
		if ip, ok := v.HostAddr(); ok {
			f.Remote = netip.AddrPortFrom(ip, v.Port)
		}
	}
	p.tr.Send(transport.Outgoing{Flow: f, Data: data, Fail: func(err error) { p.w.t.Errorf("%s: %v", p.name, err) }})
}

// ack sends the ACK to a final response of the INVITE raw.
func (p *peer) ack(invite string, final *sip.Message) {
	p.w.t.Helper()
	p.send(p.ackText(invite, final))
}

// ackText is that ACK: hop by hop, or for a 2xx along the route set.
func (p *peer) ackText(invite string, final *sip.Message) string {
	p.w.t.Helper()
	m, err := sip.Parse(invite)
	if err != nil {
		p.w.t.Fatal(err)
	}
	uri := m.RequestURI()
	b := sip.NewRequest("ACK", uri)
	branch := m.First(sip.HVia)
	if final.Status() < 300 {
		c, _ := sip.ParseNameAddr(final.First(sip.HContact))
		b = sip.NewRequest("ACK", c.URI)
		branch = fmt.Sprintf("SIP/2.0/UDP %s;branch=%s", p.addr, sip.NewBranch())
	}
	b.Add(sip.HVia, branch).Add(sip.HMaxForwards, "70")
	if final.Status() < 300 {
		var routes []string
		for r := range final.Values(sip.HRecordRoute) {
			routes = append([]string{r}, routes...)
		}
		for _, r := range routes {
			b.Add(sip.HRoute, r)
		}
	}
	b.Add(sip.HFrom, m.Get(sip.HFrom)).Add(sip.HTo, final.Get(sip.HTo)).Add(sip.HCallID, m.CallID()).Add(sip.HCSeq, "1 ACK")
	return string(b.Bytes())
}

// to returns a handler that forwards everything to these addresses in parallel.
func to(peers ...string) handlerFunc {
	return func(x *Exchange) { x.Forward(targets(peers...)...) }
}

func targets(peers ...string) []Target {
	var ts []Target
	for _, p := range peers {
		ts = append(ts, Target{Hop: Hop{Addr: netip.MustParseAddrPort(p)}})
	}
	return ts
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, fmt.Sprint(got), fmt.Sprint(want))
	}
}
