package transport

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

func TestMain(m *testing.M) {
	sip.PoisonBuffers()
	goleak.VerifyTestMain(m)
}

// arrival is one call of a Handler.
type arrival struct {
	what string // receive, malformed, closed
	flow sip.Flow
	raw  string
	err  error
	at   time.Time
}

// recorder is a Handler and an Observer that keeps what it is told.
type recorder struct {
	mu       sync.Mutex
	arrivals []arrival
	sent     []string
	drops    map[Reason]int
	failures []error
	reply    func(what string, f sip.Flow, raw string) // called for what arrives

	news chan struct{} // something arrived; for tests in real time
}

func newRecorder() *recorder {
	return &recorder{drops: make(map[Reason]int), news: make(chan struct{}, 1<<16)}
}

func (r *recorder) arrived(a arrival) {
	a.at = time.Now()
	r.mu.Lock()
	r.arrivals = append(r.arrivals, a)
	reply := r.reply
	r.mu.Unlock()
	if reply != nil {
		reply(a.what, a.flow, a.raw)
	}
	r.tell()
}

func (r *recorder) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

func (r *recorder) Receive(f sip.Flow, raw string) {
	r.arrived(arrival{what: "receive", flow: f, raw: raw})
}
func (r *recorder) Malformed(f sip.Flow, raw string, err error) {
	r.arrived(arrival{what: "malformed", flow: f, raw: raw, err: err})
}
func (r *recorder) Closed(f sip.Flow)         { r.arrived(arrival{what: "closed", flow: f}) }
func (r *recorder) Received(sip.Flow, string) {}
func (r *recorder) Sent(_ sip.Flow, data []byte) {
	r.locked(func() { r.sent = append(r.sent, string(data)) })
}
func (r *recorder) Dropped(_ sip.Flow, why Reason, _ error) {
	r.locked(func() { r.drops[why]++ })
}

// Fail is for Outgoing.Fail.
func (r *recorder) Fail(err error) {
	r.locked(func() { r.failures = append(r.failures, err) })
	r.tell()
}

// onArrival sets what is called for each arrival.
func (r *recorder) onArrival(f func(what string, f sip.Flow, raw string)) {
	r.locked(func() { r.reply = f })
}

func (r *recorder) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// of returns the arrivals of one kind.
func (r *recorder) of(what string) []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	var as []arrival
	for _, a := range r.arrivals {
		if a.what == what {
			as = append(as, a)
		}
	}
	return as
}

func (r *recorder) received() []string {
	var raws []string
	for _, a := range r.of("receive") {
		raws = append(raws, a.raw)
	}
	return raws
}

func (r *recorder) counted(why Reason) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drops[why]
}

func (r *recorder) failed() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.failures...)
}

// await waits in real time until cond holds.
func (r *recorder) await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	timeout := time.After(5 * time.Second)
	for !cond() {
		select {
		case <-r.news:
		case <-timeout:
			t.Fatalf("%s: not within 5 s", what)
		}
	}
}

// end is a Transport with its recorder.
type end struct {
	*Transport
	*recorder
	addr netip.AddrPort
}

// newEnd listens on UDP and TCP at addr.
func newEnd(t *testing.T, n Net, addr string, role sip.Role, cfg Config) *end {
	t.Helper()
	if resting {
		n = restingNet{Net: n}
	}
	r := newRecorder()
	cfg.Observer = r
	e := &end{Transport: New(n, cfg, r), recorder: r}
	var err error
	if e.addr, err = e.Listen(Listen{Addr: netip.MustParseAddrPort(addr), UDP: true, TCP: true, Role: role}); err != nil {
		_ = e.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// send sends from a picked flow; failures go to the recorder.
func (e *end) send(t *testing.T, proto sip.Proto, role sip.Role, to netip.AddrPort, msg string) sip.Flow {
	t.Helper()
	f, ok := e.Pick(proto, role, to)
	if !ok {
		t.Fatalf("no %s flow to %s", proto, to)
	}
	e.Send(Outgoing{Flow: f, Data: []byte(msg), Fail: e.Fail})
	return f
}

// resting has the connections of each newEnd left alone while nothing comes.
var resting bool

// bubble runs a test on two hosts, a with 192.0.2.1 and 2001:db8::1, b with
// 192.0.2.2 and 2001:db8::2, in virtual time: with connections that are read always, and
// with such that can be left alone.
func bubble(t *testing.T, f func(t *testing.T, n *memnet.Network, a, b *memnet.Host)) {
	t.Helper()
	defer func() { resting = false }()
	for _, resting = range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := memnet.New(1)
			f(t, n, n.Host("192.0.2.1", "2001:db8::1"), n.Host("192.0.2.2", "2001:db8::2"))
		})
		if t.Failed() {
			t.Logf("with connections left alone: %v", resting)
			return
		}
	}
}

const (
	addrA = "192.0.2.1:5060"
	addrB = "192.0.2.2:5060"
)

// rawDial opens a plain connection to an address of the network.
func rawDial(t *testing.T, h *memnet.Host, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := h.Dial(t.Context(), netip.AddrPort{}, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// numbered returns n messages that tell their order.
func numbered(n int) []string {
	ms := make([]string, n)
	for i := range ms {
		ms[i] = message(fmt.Sprintf("m%d", i), i%7*100)
	}
	return ms
}

func short(ms []string) string {
	var b strings.Builder
	for _, m := range ms {
		_, id, _ := strings.Cut(m, "Call-ID: ")
		id, _, _ = strings.Cut(id, "\r\n")
		b.WriteString(id + " ")
	}
	return b.String()
}
