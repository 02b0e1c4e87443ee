package transaction

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	sip.PoisonBuffers()
	heapChunks = 0 // what lingers is in slabs from the first on, and
	guardSlabs()   // nobody touches what has been given back
	goleak.VerifyTestMain(m)
}

// wire is a Sender that keeps what was sent, with its time, and can lose it.
type wire struct {
	mu      sync.Mutex
	start   time.Time
	sent    []sent
	fail    func(f sip.Flow) error        // reported through the fail function
	deliver func(f sip.Flow, data []byte) // nil: nowhere
}

type sent struct {
	at   time.Duration
	flow sip.Flow
	msg  *sip.Message
}

func (w *wire) Send(f sip.Flow, data []byte, fail func(error)) {
	m, err := sip.Parse(string(data))
	if err != nil {
		panic(fmt.Sprintf("sent what is not a message: %v\n%s", err, data))
	}
	w.mu.Lock()
	w.sent = append(w.sent, sent{time.Since(w.start), f, m})
	w.mu.Unlock()
	if w.fail != nil {
		if err := w.fail(f); err != nil {
			if fail != nil {
				fail(err)
			}
			return
		}
	}
	if w.deliver != nil {
		w.deliver(f, data)
	}
}

// take returns what was sent since the last call.
func (w *wire) take() []sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.sent
	w.sent = nil
	return s
}

// line is the short form of a message that the tests compare.
func line(m *sip.Message) string {
	if m.IsRequest() {
		return m.Method()
	}
	return fmt.Sprintf("%d %s", m.Status(), m.Method())
}

func lines(s []sent) string {
	var out []string
	for _, x := range s {
		out = append(out, line(x.msg))
	}
	return strings.Join(out, ", ")
}

// times are the moments at which something was sent.
func times(s []sent) string {
	var out []string
	for _, x := range s {
		out = append(out, x.at.String())
	}
	return strings.Join(out, " ")
}

// tu is a User made of functions, which also keeps a log of its calls.
type tu struct {
	mu      sync.Mutex
	log     []string
	request func(s *Server)
	cancel  func(s *Server)
}

func (u *tu) note(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.log = append(u.log, fmt.Sprintf(format, args...))
}

func (u *tu) take() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := strings.Join(u.log, ", ")
	u.log = nil
	return s
}

func (u *tu) Request(s *Server) {
	u.note("request %s", s.Req.Method())
	if u.request != nil {
		u.request(s)
	}
}

func (u *tu) Cancel(s *Server, m *sip.Message) {
	u.note("cancel")
	if u.cancel != nil {
		u.cancel(s)
	}
}

func (u *tu) Ack(_ *Shard, _ sip.Flow, m *sip.Message)   { u.note("ack %s", m.ToTag()) }
func (u *tu) Stray(_ *Shard, _ sip.Flow, m *sip.Message) { u.note("stray %s", line(m)) }

// rig is a Layer in a synctest bubble with a wire and a User.
type rig struct {
	*testing.T
	wire *wire
	tu   *tu
	l    *Layer
}

// bubble runs f on a rig; when f is done, all that lingers must go away by itself.
func bubble(t *testing.T, cfg Config, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, wire: &wire{start: time.Now()}, tu: &tu{}}
		cfg.Sender, cfg.User = r.wire, r.tu
		if cfg.Shards == 0 {
			cfg.Shards = 2
		}
		r.l = New(cfg)
		defer r.l.Close()
		f(r)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		s := r.l.Stats()
		if s.Servers+s.Clients+s.Open+s.Lingering+s.Timers+s.Queued+s.Octets+s.Answers != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

func (r *rig) receive(f sip.Flow, raw string) {
	r.l.Receive(f, raw)
	synctest.Wait()
}

// sleepTo sleeps until d has passed since the start, and a little for what is due then.
func (r *rig) sleepTo(d time.Duration) {
	time.Sleep(d - time.Since(r.wire.start))
	synctest.Wait()
}

// on runs fn on the shard of the tests' Call-ID.
func (r *rig) on(fn func(sh *Shard)) {
	sh := r.l.Shard(callID)
	sh.Post(func() { fn(sh) })
	synctest.Wait()
}

func (r *rig) want(what, got, want string) {
	r.Helper()
	if got != want {
		r.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

const callID = "a84b4c76e66710"

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// Flows of the tests: the peer is 192.0.2.1, we are 192.0.2.9.
var (
	udp   = sip.Flow{Proto: sip.UDP, Role: sip.RoleCore, Local: addr("192.0.2.9:5060"), Remote: addr("192.0.2.1:5060")}
	gmUDP = sip.Flow{Proto: sip.UDP, Role: sip.RoleGm, Local: addr("192.0.2.9:5060"), Remote: addr("192.0.2.1:5060")}
	tcp   = sip.Flow{Proto: sip.TCP, Role: sip.RoleCore, Local: addr("192.0.2.9:5060"), Remote: addr("192.0.2.1:40000"), Conn: 7}
)

func gmTimersFor(f sip.Flow) Timers {
	if f.Role == sip.RoleGm {
		return GmTimers()
	}
	return DefaultTimers()
}

// request is a request as the peer sends it. The branch is z9hG4bK and b; extra
// lines end in CRLF.
func request(method, b, extra string) string {
	return requestVia(method, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK"+b, "", extra)
}

func requestVia(method, via, toTag, extra string) string {
	if toTag != "" {
		toTag = ";tag=" + toTag
	}
	return method + " sip:bob@example.com SIP/2.0\r\n" +
		"Via: " + via + "\r\n" +
		"Max-Forwards: 70\r\n" +
		"From: <sip:alice@example.com>;tag=1928301774\r\n" +
		"To: <sip:bob@example.com>" + toTag + "\r\n" +
		"Call-ID: " + callID + "\r\n" +
		"CSeq: 1 " + method + "\r\n" +
		extra +
		"Content-Length: 0\r\n\r\n"
}

// response is a response to one of our requests. The branch is z9hG4bK and b.
func response(status int, method, b string) string {
	return fmt.Sprintf("SIP/2.0 %d X\r\n"+
		"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK%s\r\n"+
		"From: <sip:alice@example.com>;tag=1928301774\r\n"+
		"To: <sip:bob@example.com>;tag=peer\r\n"+
		"Call-ID: %s\r\n"+
		"CSeq: 1 %s\r\n"+
		"Content-Length: 0\r\n\r\n", status, b, callID, method)
}

// answer responds to s with tag "us".
func answer(s *Server, status int) {
	s.Respond(status, sip.NewResponse(s.Req, status, "", "us").Bytes())
}

// client is a ClientRequest whose callbacks go into the log of u.
func (u *tu) client(f sip.Flow, method, b string) ClientRequest {
	return ClientRequest{
		Method: method, Branch: "z9hG4bK" + b, Flow: f,
		Render: func(f sip.Flow) *sip.Buffer {
			via := fmt.Sprintf("SIP/2.0/%s 192.0.2.9;branch=z9hG4bK%s", f.Proto, b)
			return sip.BufferOf([]byte(requestVia(method, via, "", "Via: SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKprev\r\nRoute: <sip:r1;lr>\r\nRoute: <sip:r2;lr>, <sip:r3;lr>\r\n")))
		},
		Response: func(_ *Client, _ sip.Flow, m *sip.Message) { u.note("%s", line(m)) },
		Failed:   func(_ *Client, err error) { u.note("failed: %v", err) },
	}
}
