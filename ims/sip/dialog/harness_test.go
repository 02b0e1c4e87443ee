package dialog_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	sip.PoisonBuffers()
	goleak.VerifyTestMain(m)
}

var (
	aliceAddr = netip.MustParseAddrPort("192.0.2.1:5060")
	bobAddr   = netip.MustParseAddrPort("192.0.2.2:5060")
)

var options = []string{"100rel", "precondition", "timer"}

// world is a network with Alice at 192.0.2.1 and Bob at 192.0.2.2, each an Agent
// or a scripted peer, and a log of what they say.
type world struct {
	t     *testing.T
	net   *memnet.Network
	hosts map[netip.Addr]*memnet.Host
	start time.Time

	mu   sync.Mutex
	log  []string
	lose func(from netip.AddrPort, m *sip.Message) bool
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, net: memnet.New(1), hosts: map[netip.Addr]*memnet.Host{}, start: time.Now()}
	for _, a := range []netip.AddrPort{aliceAddr, bobAddr} {
		w.hosts[a.Addr()] = w.net.Host(a.Addr().String())
	}
	w.net.SetDefault(memnet.Link{Delay: 10 * time.Millisecond})
	w.net.SetHook(func(p memnet.Packet) memnet.Verdict {
		m, err := sip.Parse(string(p.Data))
		if err != nil {
			return memnet.Pass
		}
		line := "A "
		if p.From.Addr() == bobAddr.Addr() {
			line = "B "
		}
		line += brief(m)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.lose != nil && w.lose(p.From, m) {
			w.log = append(w.log, line+" lost")
			return memnet.Drop
		}
		if m.Status() != 100 {
			w.log = append(w.log, line)
		}
		return memnet.Pass
	})
	return w
}

// brief is how the log shows a message: method or status, CSeq and what matters.
func brief(m *sip.Message) string {
	c, _ := m.CSeq()
	s := m.Method()
	if !m.IsRequest() {
		s = fmt.Sprintf("%d", m.Status())
	}
	s += fmt.Sprintf(" %d", c.Seq)
	if !m.IsRequest() {
		s += " " + c.Method
	}
	if m.Has(sip.HRSeq) {
		s += " rel"
	}
	if m.Body() != "" {
		s += " [" + m.Body() + "]"
	}
	if v := m.Get(sip.HSubscriptionState); v != "" {
		s += " " + v
	}
	return s
}

// said returns the log since the last call.
func (w *world) said() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.log, "\n")
	w.log = nil
	return s
}

// expect compares the log since the last call with lines of text.
func (w *world) expect(what, want string) {
	w.t.Helper()
	var lines []string
	for l := range strings.SplitSeq(strings.TrimSpace(want), "\n") {
		lines = append(lines, strings.TrimSpace(l))
	}
	want = strings.Join(lines, "\n")
	if got := w.said(); got != want {
		w.t.Fatalf("%s: on the wire:\n%s\nwant:\n%s", what, got, want)
	}
}

// drop sets which messages are lost.
func (w *world) drop(f func(from netip.AddrPort, m *sip.Message) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = f
}

// agent starts a user agent at addr.
func (w *world) agent(addr netip.AddrPort, cfg dialog.Config) *dialog.Agent {
	w.t.Helper()
	if cfg.Contact == nil {
		cfg.Contact = func() string { return "<sip:ua@" + addr.String() + ">" }
	}
	if cfg.Supported == nil {
		cfg.Supported = options
	}
	cfg.Allow = "INVITE, ACK, BYE"
	a := dialog.New(cfg)
	c, err := proxy.New(proxy.Config{
		Net: w.hosts[addr.Addr()], Listen: []transport.Listen{{Addr: addr, UDP: true, TCP: true}},
		HandlerTimeout: time.Hour, Shards: 2,
	}, a)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	a.Bind(c)
	return a
}

// peer is a socket whose owner says what the test tells it to.
type peer struct {
	w    *world
	conn net.PacketConn
	addr netip.AddrPort
	to   netip.AddrPort
}

func (w *world) peer(addr, to netip.AddrPort) *peer {
	c, err := w.hosts[addr.Addr()].ListenPacket(addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return &peer{w, c, addr, to}
}

func (p *peer) send(b *sip.Builder) {
	p.w.t.Helper()
	p.sendText(string(b.Bytes()))
}

func (p *peer) sendText(s string) {
	p.w.t.Helper()
	if _, err := p.conn.WriteTo([]byte(s), net.UDPAddrFromAddrPort(p.to)); err != nil {
		p.w.t.Fatal(err)
	}
}

// next returns the next message that is no 100, waiting up to a minute.
func (p *peer) next() *sip.Message {
	p.w.t.Helper()
	buf := make([]byte, 65536)
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(time.Minute))
		n, _, err := p.conn.ReadFrom(buf)
		if err != nil {
			p.w.t.Fatalf("nothing more came: %v", err)
		}
		m, err := sip.Parse(string(buf[:n]))
		if err != nil {
			p.w.t.Fatal(err)
		}
		if m.Status() != 100 {
			return m
		}
	}
}

// await returns the next message of that method (a request) or status; others
// are skipped.
func (p *peer) await(what string) *sip.Message {
	p.w.t.Helper()
	for range 100 {
		m := p.next()
		if m.IsRequest() && m.Method() == what || !m.IsRequest() && fmt.Sprint(m.Status()) == what {
			return m
		}
	}
	p.w.t.Fatalf("no %s among 100 messages", what)
	return nil
}

// response begins a response to m.
func (p *peer) response(m *sip.Message, status int, tag string) *sip.Builder {
	return sip.NewResponse(m, status, "", tag).Add(sip.HContact, "<sip:peer@"+p.addr.String()+">")
}

// request begins a request in the dialog that m, a message to or from the other
// side, belongs to.
func (p *peer) request(m *sip.Message, method string, cseq uint32) *sip.Builder {
	from, to := m.Get(sip.HTo), m.Get(sip.HFrom)
	if !m.IsRequest() {
		from, to = to, from
	}
	return p.raw(method, cseq, m.CallID(), from, to)
}

func (p *peer) raw(method string, cseq uint32, callID, from, to string) *sip.Builder {
	return sip.NewRequest(method, "sip:ua@"+p.to.String()).
		Add(sip.HVia, "SIP/2.0/UDP "+p.addr.String()+";branch="+sip.NewBranch()).
		Add(sip.HMaxForwards, "70").
		Add(sip.HFrom, from).Add(sip.HTo, to).Add(sip.HCallID, callID).
		Add(sip.HCSeq, sip.CSeq{Seq: cseq, Method: method}.String()).
		Add(sip.HContact, "<sip:peer@"+p.addr.String()+">")
}

func invite() *dialog.Request {
	return &dialog.Request{
		URI: "sip:bob@" + bobAddr.String(), From: "<sip:alice@home1.net>", To: "<sip:bob@home1.net>",
		Fields: []sip.Field{{ID: sip.HSupported, Value: "100rel"}}, Body: sdp("offer"),
	}
}

func sdp(s string) dialog.Part { return dialog.Part{Type: "application/sdp", Body: s} }

// notes collects what callbacks tell, safely for readers outside the shard.
type notes struct {
	mu   sync.Mutex
	text []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text = append(n.text, fmt.Sprintf(format, args...))
}

func (n *notes) String() string {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	s := strings.Join(n.text, "; ")
	n.text = nil
	return s
}

func (n *notes) expect(t *testing.T, want string) {
	t.Helper()
	if got := n.String(); got != want {
		t.Fatalf("callbacks:\n%s\nwant:\n%s", got, want)
	}
}

// onShard runs f on the shard of a session or the like and waits for it.
func onShard(post func(func()), f func()) {
	synctest.Wait() // what callbacks have set is seen from here on
	done := make(chan struct{})
	post(func() {
		defer close(done)
		f()
	})
	<-done
}

func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}
