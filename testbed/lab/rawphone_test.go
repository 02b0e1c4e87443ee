package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/ue"
)

// bench is a core with everything it says written down.
type bench struct {
	*Core
	t      *testing.T
	logs   *observer.ObservedLogs
	mu     sync.Mutex
	events []trace.Event
	more   chan struct{} // closed when another event has come
}

// startBench starts a core with alice and bob for a test.
func startBench(t *testing.T, subscribers []hss.Subscriber, adjust func(*Configs)) *bench {
	t.Helper()
	return startBenchAt(t, Loopback, subscribers, adjust)
}

// startBenchAt is startBench at another address than that of IPv4's loopback.
func startBenchAt(t *testing.T, ip netip.Addr, subscribers []hss.Subscriber, adjust func(*Configs)) *bench {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	b := &bench{t: t, logs: logs, more: make(chan struct{})}
	stream := &trace.Stream{}
	sub := stream.Subscribe(10_000)
	var wg sync.WaitGroup
	wg.Go(func() {
		for e := range sub.C() {
			b.mu.Lock()
			b.events = append(b.events, e)
			close(b.more)
			b.more = make(chan struct{})
			b.mu.Unlock()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var err error
	if b.Core, err = StartCore(ctx, CoreConfig{Domain: DefaultDomain, IP: ip, Subscribers: subscribers, Log: zap.New(core), Stream: stream, Adjust: adjust}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Stop()
		sub.Close()
		wg.Wait()
		b.noKeys()
	})
	return b
}

// noKeys checks that nothing that was said holds a key.
func (b *bench) noKeys() {
	b.t.Helper()
	secret := []string{aliceK, aliceOPc, bobK, bobOPc}
	for _, e := range b.logs.All() {
		line := fmt.Sprint(e.Message, e.ContextMap())
		for _, k := range secret {
			if strings.Contains(line, k) {
				b.t.Errorf("a log line holds a key: %s", e.Message)
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e.Kind != trace.SIP {
			continue
		}
		if m, err := sip.Parse(string(e.Raw)); err == nil && m.Status() == 401 {
			if ch, err := sip.ParseChallenge(m.Get(sip.HWWWAuthenticate)); err == nil && strings.Trim(ch.CK+ch.IK, "x") != "" {
				b.t.Errorf("a traced 401 at %s holds CK or IK", e.Node)
			}
		}
	}
}

// failure waits for a trace event that tells of a failure with these words.
func (b *bench) failure(words string) trace.Event {
	b.t.Helper()
	return b.event(func(e trace.Event) bool { return e.Kind == trace.Failure && strings.Contains(e.Text, words) }, "failure: "+words)
}

// told checks that whoever refused a phone's request said why to the phone, and
// the same to the log and the trace.
func (b *bench) told(e *ue.Error) {
	b.t.Helper()
	if e.Warning == "" {
		b.t.Errorf("the phone is not told why: %v", e)
		return
	}
	f := b.event(func(f trace.Event) bool { return f.Kind == trace.Failure && strings.Contains(e.Warning, f.Text) }, "what the phone was told: "+e.Warning)
	b.explained(f.Text)
}

func (b *bench) event(want func(trace.Event) bool, what string) trace.Event {
	b.t.Helper()
	late := time.After(5 * time.Second)
	for seen := 0; ; {
		b.mu.Lock()
		events, more := b.events[seen:], b.more
		seen = len(b.events)
		b.mu.Unlock()
		for _, e := range events {
			if want(e) {
				return e
			}
		}
		select {
		case <-more:
		case <-late:
			b.t.Fatalf("no trace event of %s", what)
		}
	}
}

// logged reports whether a log line holds these words.
func (b *bench) logged(words string) bool {
	return b.logs.Filter(func(e observer.LoggedEntry) bool { return strings.Contains(e.Message, words) }).Len() > 0
}

// simPhone is a phone with a SIM whose REGISTERs a test makes one by one.
type simPhone struct {
	t      *testing.T
	conn   net.Conn
	impi   string
	impu   string
	user   string
	usim   *aka.USIM
	algo   aka.Algorithm
	callID string
	cseq   int
	instID string
	last   string // the last Authorization
	sos    bool   // it registers for emergencies
}

// newSIMPhone makes a phone over UDP for subscriber i of DemoSubscribers.
func newSIMPhone(t *testing.T, b *bench, i int) *simPhone {
	t.Helper()
	sub := DemoSubscribers(DefaultDomain)[i]
	keys := [][2]string{{aliceK, aliceOPc}, {bobK, bobOPc}}[i]
	p := &simPhone{t: t, impi: sub.IMPI, impu: sub.IMPUs[0], user: fmt.Sprintf("phone%d", i), callID: sip.NewCallID(), instID: fmt.Sprintf("<urn:gsma:imei:00000000-00000%d-0>", i)}
	p.sim(keys[0], keys[1], 0)
	conn, err := net.Dial("udp", b.P.Gm().String())
	if err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	t.Cleanup(func() { _ = conn.Close() })
	return p
}

// sim puts in another SIM, which has seen sequence numbers up to sqn.
func (p *simPhone) sim(k, opc string, sqn aka.SQN) {
	p.t.Helper()
	key, err := aka.ParseSecret(k)
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := aka.ParseSecret(opc)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.algo, err = aka.NewMilenage(key, c); err != nil {
		p.t.Fatal(err)
	}
	array, err := aka.NewSQNArray(sqn, aka.SQNArrayOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	p.usim = &aka.USIM{Algorithm: p.algo, SQN: array}
}

func (p *simPhone) contact() string {
	c := "sip:" + p.user + "@" + p.conn.LocalAddr().String()
	if p.sos {
		c += ";sos"
	}
	return c
}

// send sends a request and returns the final response. Requests without one
// before the deadline end the test.
func (p *simPhone) send(method, uri string, headers []string, wait time.Duration) *sip.Message {
	p.t.Helper()
	m, err := p.try(method, uri, headers, wait)
	if err != nil {
		p.t.Fatalf("no final answer to %s: %v", method, err)
	}
	return m
}

func (p *simPhone) try(method, uri string, headers []string, wait time.Duration) (*sip.Message, error) {
	p.t.Helper()
	p.cseq++
	if err := p.write(method, uri, headers); err != nil {
		return nil, err
	}
	buf := make([]byte, 65535)
	deadline := time.Now().Add(wait)
	for {
		if err := p.conn.SetReadDeadline(deadline); err != nil {
			return nil, err
		}
		n, err := p.conn.Read(buf)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && time.Now().Before(deadline) {
				continue // ICMP while the P-CSCF is away
			}
			return nil, err
		}
		m, err := sip.Parse(string(buf[:n]))
		if err != nil {
			return nil, err
		}
		if cs, _ := m.CSeq(); m.Status() >= 200 && cs.Seq == uint32(p.cseq) && m.CallID() == p.callID {
			return m, nil
		}
	}
}

// write sends a request with the sequence number of the last one.
func (p *simPhone) write(method, uri string, headers []string) error {
	text := strings.Join(append([]string{
		method + " " + uri + " SIP/2.0",
		"Via: SIP/2.0/UDP " + p.conn.LocalAddr().String() + ";branch=" + sip.NewBranch() + ";rport",
		"Max-Forwards: 70",
		"From: <" + p.impu + ">;tag=" + p.user,
		"Call-ID: " + p.callID,
		fmt.Sprintf("CSeq: %d %s", p.cseq, method),
	}, append(slices.Clip(headers), "Content-Length: 0", "", "")...), "\r\n")
	_, err := p.conn.Write([]byte(text))
	return err
}

// ack acknowledges the INVITE that was sent last.
func (p *simPhone) ack(uri string, headers []string) {
	p.t.Helper()
	if err := p.write("ACK", uri, headers); err != nil {
		p.t.Fatal(err)
	}
}

// register sends a REGISTER with that Authorization ("" for none).
func (p *simPhone) register(authorization string, expires int) *sip.Message {
	p.t.Helper()
	return p.send("REGISTER", "sip:"+DefaultDomain, p.registerHeaders(authorization, expires), 6*time.Second)
}

func (p *simPhone) registerHeaders(authorization string, expires int) []string {
	h := []string{
		"To: <" + p.impu + ">",
		"Contact: <" + p.contact() + `>;+sip.instance="` + p.instID + `"`,
		fmt.Sprintf("Expires: %d", expires),
		"Supported: path",
	}
	if authorization != "" {
		p.last = authorization
		h = append(h, "Authorization: "+authorization)
	}
	return h
}

// initial is the Authorization of a first REGISTER (TS 24.229 5.1.1.2.2).
func (p *simPhone) initial() string { return p.credentials("", "") }

func (p *simPhone) credentials(nonce, rest string) string {
	return `Digest username="` + p.impi + `", realm="` + DefaultDomain + `", uri="sip:` + DefaultDomain + `", nonce="` + nonce + `"` + rest
}

// nonce reads the challenge of a 401.
func (p *simPhone) nonce(m *sip.Message) aka.Nonce {
	p.t.Helper()
	if m.Status() != 401 {
		p.t.Fatalf("expected a challenge, got:\n%s", m.Raw())
	}
	ch, err := sip.ParseChallenge(m.Get(sip.HWWWAuthenticate))
	if err != nil {
		p.t.Fatal(err)
	}
	n, err := aka.ParseNonce(ch.Nonce)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// answer computes the Authorization that answers a challenge.
func (p *simPhone) answer(n aka.Nonce, res aka.Secret) string {
	p.t.Helper()
	d := aka.Digest{Method: "REGISTER", Username: p.impi, Realm: DefaultDomain, Nonce: n.String(), URI: "sip:" + DefaultDomain, QOP: "auth", NC: "00000001", CNonce: "c0ffee"}
	response, err := d.Response(res)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.credentials(n.String(), `, response="`+response+`", algorithm=AKAv1-MD5, qop=auth, nc=00000001, cnonce="c0ffee"`)
}

// registerFully registers and fails the test if that does not work.
func (p *simPhone) registerFully() *sip.Message {
	p.t.Helper()
	n := p.nonce(p.register(p.initial(), 600000))
	r, err := p.usim.Authenticate(n.RAND, n.AUTN)
	if err != nil {
		p.t.Fatalf("the SIM refuses the challenge: %v", err)
	}
	m := p.register(p.answer(n, r.RES), 600000)
	if m.Status() != 200 {
		p.t.Fatalf("registering got:\n%s", m.Raw())
	}
	return m
}
