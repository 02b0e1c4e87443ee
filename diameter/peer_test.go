package diameter

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"github.com/gocscf/gocscf/testbed/conformance"
)

// states records the states of connections by peer.
type states struct {
	mu  sync.Mutex
	all []string
}

func (s *states) Message(MessageEvent) {}
func (s *states) Connection(e ConnectionEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, e.Peer+" "+e.State.String())
}
func (s *states) has(want string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.all {
		if v == want {
			return true
		}
	}
	return false
}

// outcome is what Do's callback got.
type outcome struct {
	a   *Answer
	err error
	at  time.Time
}

func do(n *Node, timeout time.Duration, m *Message, opts ...DoOption) <-chan outcome {
	ch := make(chan outcome, 2) // a second call would be seen
	n.Do(time.Now().Add(timeout), m, func(a *Answer, err error) { ch <- outcome{a, err, time.Now()} }, opts...)
	return ch
}

func TestDeadlineEndsARequestThatIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		server(t, mem, "hss.example.net", "hss:3868", func(*Request) {})
		n := client(t, mem, nil, "hss:3868")
		ready(t, n)
		start := time.Now()
		r := <-do(n, 3*time.Second, testRequest(n, "a"))
		var timeout *TimeoutError
		if !errors.As(r.err, &timeout) || timeout.Peer != "hss.example.net" || r.at.Sub(start) != 3*time.Second {
			t.Errorf("after %v: %v", r.at.Sub(start), r.err)
		}
		// The default deadline applies where none is given.
		ch := make(chan outcome, 1)
		n.Do(time.Time{}, testRequest(n, "b"), func(a *Answer, err error) { ch <- outcome{a, err, time.Now()} })
		start = time.Now()
		if r := <-ch; r.at.Sub(start) != 5*time.Second {
			t.Errorf("default deadline after %v", r.at.Sub(start))
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		for c := range n.conns {
			if len(c.pending) != 0 {
				t.Errorf("%d requests stay in the pending table", len(c.pending))
			}
		}
	})
}

func TestAServerThatForgetsARequestAnswersInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		got := make(chan *Request, 1)
		server(t, mem, "hss.example.net", "hss:3868", func(r *Request) { got <- r })
		n := client(t, mem, nil, "hss:3868")
		ready(t, n)
		r := <-do(n, time.Minute, testRequest(n, "a"))
		var e *ResultError
		if !errors.As(r.err, &e) || !e.Is(UnableToComply) {
			t.Errorf("%v", r.err)
		}
		kept := <-got
		if err := kept.Answer(kept.NewAnswer(Base(Success))); !errors.Is(err, ErrAnswered) {
			t.Errorf("a second answer: %v", err)
		}
	})
}

func TestDoNeverCallsBackBeforeItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		n := client(t, mem, nil, "nobody:3868")
		var mu sync.Mutex // a caller's lock that the callback takes as well
		got := make(chan error, 1)
		mu.Lock()
		n.Do(time.Time{}, testRequest(n, "a"), func(_ *Answer, err error) {
			mu.Lock()
			defer mu.Unlock()
			got <- err
		})
		mu.Unlock()
		var e *TransportError
		if err := <-got; !errors.As(err, &e) || !strings.Contains(err.Error(), "nobody:3868") {
			t.Errorf("%v", err)
		}
	})
}

// testWatchdog follows RFC 3539 3.4.1: quiet for Tw, DWR; no answer for Tw,
// Suspect; nothing for another Tw, closed.
func testWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		l := mem.listen("hss:3868")
		var seen states
		n := client(t, mem, func(c *Config) { c.Observer = &seen }, "hss:3868")
		p := acceptRaw(t, l)
		p.accept("hss.example.net")
		ready(t, n)
		last := time.Now()
		for range 20 {
			m := p.read()
			if m.Command != DeviceWatchdog || !m.IsRequest() {
				t.Fatalf("instead of a DWR: %v", m)
			}
			if d := time.Since(last); d < 28*time.Second || d > 32*time.Second {
				t.Errorf("DWR after %v", d)
			}
			p.replyResult(m, "hss.example.net", Success)
			last = time.Now()
		}
		p.read() // one more DWR, never answered
		silent := time.Now()
		synctest.Wait()
		if seen.has("hss.example.net suspect") {
			t.Error("suspect before Tw is over")
		}
		pass(33 * time.Second)
		synctest.Wait()
		if !seen.has("hss.example.net suspect") || seen.has("hss.example.net down") {
			t.Errorf("%v after the DWR: %v", time.Since(silent), seen.all)
		}
		// A late answer brings it back.
		p.replyResult(baseMessage(DeviceWatchdog, true), "hss.example.net", Success)
		synctest.Wait()
		if s := n.Peers()[0].State; s != Okay {
			t.Errorf("state %v after a late DWA", s)
		}
		p.read()
		silent = time.Now()
		p.expectClosed(70 * time.Second)
		if d := time.Since(silent); d < 56*time.Second || d > 64*time.Second {
			t.Errorf("closed %v after the DWR, want twice Tw", d)
		}
	})
}

func TestTrafficKeepsTheWatchdogQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		l := mem.listen("hss:3868")
		n := client(t, mem, nil, "hss:3868")
		p := acceptRaw(t, l)
		p.accept("hss.example.net")
		ready(t, n)
		for range 10 {
			ch := do(n, time.Minute, testRequest(n, "a"))
			m := p.read()
			if m.Command != testCommand {
				t.Fatalf("instead of the request: %v", m)
			}
			p.replyResult(m, "hss.example.net", Success)
			if r := <-ch; r.err != nil {
				t.Fatal(r.err)
			}
			pass(20 * time.Second)
		}
	})
}

// twoPeers connects a node to two raw peers, the first preferred.
func twoPeers(t *testing.T, change func(*Config)) (n *Node, mem *memNet, l1 *memListener, p1, p2 *rawPeer) {
	t.Helper()
	mem = newMemNet()
	l1 = mem.listen("hss1:3868")
	l2 := mem.listen("hss2:3868")
	n = client(t, mem, change, "hss1:3868", "hss2:3868")
	p1 = acceptRaw(t, l1)
	p1.accept("hss1.example.net")
	p2 = acceptRaw(t, l2)
	p2.accept("hss2.example.net")
	synctest.Wait()
	return n, mem, l1, p1, p2
}

func TestPeersFailOverWithTheTBitAndFailBack(t *testing.T) {
	conformance.Shows(t, "CX-26", "CX-27")
	t.Run("watchdog", testWatchdog)
	t.Run("duplicates", testDuplicates)
	t.Run("disconnect", testDisconnect)
	t.Run("suspect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, _, _, p1, p2 := twoPeers(t, nil)
			p1.read() // a DWR, which stays without answer
			q := testRequest(n, "a")
			ch := do(n, 5*time.Minute, q)
			first := p1.read()
			if first.IsRetransmitted() || first.SessionID() != q.SessionID() {
				t.Errorf("first copy: flags %#x", first.Flags)
			}
			// hss1 says nothing: Suspect, the request moves.
			second := p2.request("hss2.example.net")
			if !second.IsRetransmitted() || second.EndToEnd != first.EndToEnd || second.SessionID() != first.SessionID() {
				t.Errorf("second copy: flags %#x, end-to-end %#x and %#x", second.Flags, first.EndToEnd, second.EndToEnd)
			}
			other := do(n, time.Minute, testRequest(n, "b"))
			if m := p2.request("hss2.example.net"); m.IsRetransmitted() {
				t.Error("a new request carries T")
			} else {
				p2.replyResult(m, "hss2.example.net", Success)
			}
			if r := <-other; r.err != nil {
				t.Error(r.err)
			}
			p2.replyResult(second, "hss2.example.net", Success)
			if r := <-ch; r.err != nil || r.a.Peer != "hss2.example.net" {
				t.Errorf("%+v", r)
			}
			// The late answer to the first copy is nobody's.
			p1.replyResult(first, "hss1.example.net", Success)
			synctest.Wait()
			if len(ch) != 0 {
				t.Error("the callback was called twice")
			}
			// That message brought hss1 back: new requests go there again.
			back := do(n, time.Minute, testRequest(n, "c"))
			p1.replyResult(p1.read(), "hss1.example.net", Success)
			if r := <-back; r.err != nil || r.a.Peer != "hss1.example.net" {
				t.Errorf("after failback: %+v", r)
			}
		})
	})
	t.Run("lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, _, l1, p1, p2 := twoPeers(t, nil)
			ch := do(n, time.Minute, testRequest(n, "a"))
			first := p1.read()
			p1.nc.Close()
			second := p2.read()
			if !second.IsRetransmitted() || second.EndToEnd != first.EndToEnd {
				t.Errorf("second copy: flags %#x", second.Flags)
			}
			p2.replyResult(second, "hss2.example.net", Success)
			if r := <-ch; r.err != nil {
				t.Error(r.err)
			}
			// hss1 comes back, has to answer three watchdogs, then is used again.
			p1 = acceptRaw(t, l1)
			p1.accept("hss1.example.net")
			for i := range 3 {
				m := p1.read()
				if m.Command != DeviceWatchdog {
					t.Fatalf("in reopen: %v", m)
				}
				ch := do(n, time.Minute, testRequest(n, "b"))
				q := p2.request("hss2.example.net")
				p2.replyResult(q, "hss2.example.net", Success)
				if r := <-ch; r.err != nil || r.a.Peer != "hss2.example.net" {
					t.Errorf("watchdog %d: %+v", i, r)
				}
				p1.replyResult(m, "hss1.example.net", Success)
			}
			synctest.Wait()
			back := do(n, time.Minute, testRequest(n, "c"))
			p1.replyResult(p1.read(), "hss1.example.net", Success)
			if r := <-back; r.err != nil || r.a.Peer != "hss1.example.net" {
				t.Errorf("after reopen: %+v", r)
			}
		})
	})
	t.Run("busy", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, _, _, p1, p2 := twoPeers(t, nil)
			ch := do(n, time.Minute, testRequest(n, "a"))
			p1.replyResult(p1.read(), "hss1.example.net", TooBusy)
			second := p2.read()
			if second.IsRetransmitted() {
				t.Error("T although an answer came (RFC 6733 3)")
			}
			p2.replyResult(second, "hss2.example.net", TooBusy)
			r := <-ch
			var e *ResultError
			if !errors.As(r.err, &e) || !e.Is(TooBusy) || e.Peer != "hss2.example.net" {
				t.Errorf("%v", r.err)
			}
		})
	})
	t.Run("no other peer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			l := mem.listen("hss:3868")
			n := client(t, mem, nil, "hss:3868")
			p := acceptRaw(t, l)
			p.accept("hss.example.net")
			ready(t, n)
			ch := do(n, time.Minute, testRequest(n, "a"))
			p.read()
			p.nc.Close()
			r := <-ch
			var e *TransportError
			if !errors.As(r.err, &e) || e.Peer != "hss.example.net" {
				t.Errorf("%v", r.err)
			}
		})
	})
	t.Run("suspect without another peer keeps the request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			l := mem.listen("hss:3868")
			var seen states
			n := client(t, mem, func(c *Config) { c.Observer = &seen }, "hss:3868")
			p := acceptRaw(t, l)
			p.accept("hss.example.net")
			ready(t, n)
			p.read() // DWR
			ch := do(n, 2*time.Minute, testRequest(n, "a"))
			q := p.read()
			pass(33 * time.Second)
			if !seen.has("hss.example.net suspect") {
				t.Fatal("not suspect")
			}
			p.replyResult(q, "hss.example.net", Success)
			if r := <-ch; r.err != nil {
				t.Error(r.err)
			}
		})
	})
}

// testDuplicates shows what a server does with a request that comes again.
func testDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		var served []*Request
		server(t, mem, "hss.example.net", "hss:3868", func(r *Request) { served = append(served, r) })
		p1, p2 := dialRaw(t, mem, "hss:3868"), dialRaw(t, mem, "hss:3868")
		p1.handshake("raw1.example.net")
		p2.handshake("raw2.example.net")
		request := func(hop uint32, flags uint8, session string) *Message {
			m := NewRequest(testApp, testCommand)
			m.Flags |= flags
			m.HopByHop, m.EndToEnd = hop, 1234
			m.Add(newAVP(avp.SessionID, datatype.UTF8String(session)))
			m.Add(origin("raw.example.net")...)
			m.Add(testDictionary.Named(testApp, "Test-Name").New(datatype.UTF8String("n")))
			return m
		}
		p1.send(request(1, 0, "s1"))
		synctest.Wait()
		p2.send(request(2, FlagRetransmitted, "s1")) // by another way, while the first is served
		synctest.Wait()
		if len(served) != 1 {
			t.Fatalf("served %d times", len(served))
		}
		answers := make(chan *Message, 2)
		go func() { answers <- p1.read() }()
		go func() { answers <- p2.read() }()
		if err := served[0].Answer(served[0].NewAnswer(Result{Code: 2001, Experimental: true, Vendor: Vendor3GPP})); err != nil {
			t.Error(err)
		}
		hops := map[uint32]bool{(<-answers).HopByHop: true}
		if hops[(<-answers).HopByHop] = true; !hops[1] || !hops[2] {
			t.Errorf("answered %v", hops)
		}
		p1.send(request(3, FlagRetransmitted, "s1")) // after the answer
		if m := p1.read(); m.HopByHop != 3 || m.Find(avp.ExperimentalResult, 0) == nil {
			t.Errorf("the copy got %v", m)
		}
		// Not copies: no T on either, another session.
		p1.send(request(4, 0, "s1"))
		p1.send(request(5, FlagRetransmitted, "s2"))
		synctest.Wait()
		if len(served) != 3 {
			t.Errorf("served %d times, want 3", len(served))
		}
		for _, r := range served[1:] {
			go func() { _ = r.Answer(r.NewAnswer(Base(Success))) }()
			p1.read()
		}
	})
}

// testDisconnect shows DPR and DPA in both directions.
func testDisconnect(t *testing.T) {
	t.Run("by us, after the requests under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			l := mem.listen("hss:3868")
			n := client(t, mem, nil, "hss:3868")
			p := acceptRaw(t, l)
			p.accept("hss.example.net")
			ready(t, n)
			ch := do(n, time.Minute, testRequest(n, "a"))
			q := p.read()
			closed := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				closed <- n.Close(ctx)
			}()
			synctest.Wait()
			if r := <-do(n, time.Second, testRequest(n, "late")); !errors.Is(r.err, ErrClosed) {
				t.Errorf("a request after Close: %v", r.err)
			}
			p.replyResult(q, "hss.example.net", Success)
			if r := <-ch; r.err != nil {
				t.Errorf("the request under way: %v", r.err)
			}
			dpr := p.read()
			cause, ok := Enumerated(dpr.Find(avp.DisconnectCause, 0))
			if dpr.Command != DisconnectPeer || !dpr.IsRequest() || !ok || cause != 0 {
				t.Errorf("%v, cause %d", dpr, cause)
			}
			p.replyResult(dpr, "hss.example.net", Success)
			p.expectClosed(time.Second)
			if err := <-closed; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("by us, the peer is silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			l := mem.listen("hss:3868")
			n := client(t, mem, nil, "hss:3868")
			p := acceptRaw(t, l)
			p.accept("hss.example.net")
			ready(t, n)
			ch := do(n, time.Minute, testRequest(n, "a"))
			start := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			if err := n.Close(ctx); err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d > 4*time.Second {
				t.Errorf("Close took %v", d)
			}
			if r := <-ch; !errors.Is(r.err, ErrClosed) {
				t.Errorf("%v", r.err)
			}
		})
	})
	t.Run("by the peer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, _, l1, p1, p2 := twoPeers(t, nil)
			ch := do(n, time.Minute, testRequest(n, "a"))
			under := p1.read()
			p1.send(baseMessage(DisconnectPeer, true, append(origin("hss1.example.net"), newAVP(avp.DisconnectCause, datatype.Enumerated(0)))...))
			if m := p1.read(); m.Command != DisconnectPeer || m.IsRequest() || result(m) != Success {
				t.Errorf("instead of a DPA: %v", m)
			}
			other := do(n, time.Minute, testRequest(n, "b"))
			p2.replyResult(p2.read(), "hss2.example.net", Success)
			if r := <-other; r.err != nil {
				t.Error(r.err)
			}
			p1.replyResult(under, "hss1.example.net", Success) // may still come
			if r := <-ch; r.err != nil {
				t.Error(r.err)
			}
			p1.nc.Close()
			// It went in order, so it need not prove itself when it is back.
			p1 = acceptRaw(t, l1)
			p1.accept("hss1.example.net")
			synctest.Wait()
			if s := n.Peers()[0].State; s != Okay {
				t.Errorf("state %v", s)
			}
		})
	})
	t.Run("by the peer that then does not close", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			server(t, mem, "hss.example.net", "hss:3868", nil)
			p := dialRaw(t, mem, "hss:3868")
			p.handshake("raw.example.net")
			p.send(baseMessage(DisconnectPeer, true, append(origin("raw.example.net"), newAVP(avp.DisconnectCause, datatype.Enumerated(2)))...))
			p.read()
			p.expectClosed(closeTimeout + time.Second)
		})
	})
}

func TestReconnectPausesGrowAndAreReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		var mu sync.Mutex
		var dialed []time.Time
		var l *memListener
		n := client(t, mem, func(c *Config) {
			c.Dialer = dialerFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
				mu.Lock()
				dialed = append(dialed, time.Now())
				mu.Unlock()
				return mem.DialContext(ctx, network, addr)
			})
		}, "hss:3868")
		pass(5 * time.Minute)
		mu.Lock()
		var pauses []time.Duration
		for i := 1; i < len(dialed); i++ {
			pauses = append(pauses, dialed[i].Sub(dialed[i-1]))
		}
		mu.Unlock()
		for i, d := range pauses {
			full := min(n.cfg.ReconnectMin<<i, n.cfg.ReconnectMax)
			if i > 10 {
				full = n.cfg.ReconnectMax
			}
			if d < full/2 || d > full {
				t.Errorf("pause %d is %v, want %v to %v", i, d, full/2, full)
			}
		}
		if len(pauses) < 12 {
			t.Errorf("only %d dials in five minutes", len(pauses))
		}
		l = mem.listen("hss:3868")
		p := acceptRaw(t, l)
		p.accept("hss.example.net")
		ready(t, n)
		p.nc.Close()
		start := time.Now()
		acceptRaw(t, l)
		if d := time.Since(start); d > n.cfg.ReconnectMin {
			t.Errorf("after a good connection the pause is %v", d)
		}
	})
}

func TestUnusableAnswersAreErrorsAndNeverHang(t *testing.T) {
	resultAVP := Base(Success).AVP()
	exp := func(code uint32) *AVP { return Result{Code: code, Experimental: true, Vendor: Vendor3GPP}.AVP() }
	for _, c := range []struct {
		name   string
		avps   []*AVP
		change func(*Message)
		want   string // part of the error, "" for none
		result Result // of the ResultError in the chain
	}{
		{name: "success", avps: []*AVP{resultAVP}},
		{name: "experimental success", avps: []*AVP{exp(2002)}},
		{name: "limited success", avps: []*AVP{Base(LimitedSuccess).AVP()}},
		{name: "no result", want: "neither Result-Code nor Experimental-Result"},
		{name: "base failure", avps: []*AVP{Base(UnableToComply).AVP()}, want: "DIAMETER_UNABLE_TO_COMPLY (5012)", result: Base(UnableToComply)},
		{name: "experimental failure", avps: []*AVP{exp(5001)}, want: "Experimental-Result-Code 5001", result: Result{5001, true, Vendor3GPP}},
		{name: "success and experimental failure", avps: []*AVP{resultAVP, exp(5005)}, want: "5005", result: Result{5005, true, Vendor3GPP}},
		{name: "failure and experimental success", avps: []*AVP{Base(MissingAVP).AVP(), exp(2001)}, want: "DIAMETER_MISSING_AVP", result: Base(MissingAVP)},
		{name: "failure twice", avps: []*AVP{Base(UnableToComply).AVP(), exp(4100)}, want: "4100", result: Result{4100, true, Vendor3GPP}},
		{name: "other application", avps: []*AVP{exp(5005)}, change: func(m *Message) { m.Application = 16777217 }, want: "application 16777217", result: Result{5005, true, Vendor3GPP}},
		{name: "other application, success", avps: []*AVP{resultAVP}, change: func(m *Message) { m.Application = 16777217 }, want: "application 16777217"},
		{name: "other command", avps: []*AVP{resultAVP}, change: func(m *Message) { m.Command = 901 }, want: "command 901"},
		{name: "E bit with success", avps: []*AVP{resultAVP}, change: func(m *Message) { m.Flags |= FlagError }, want: "E bit"},
		{name: "broken AVP", avps: []*AVP{resultAVP, {Code: testNumber, Flags: mv, VendorID: Vendor3GPP, Data: datatype.OctetString("abc")}}, want: "malformed"},
		{name: "unknown AVP with the M bit", avps: []*AVP{resultAVP, {Code: 9999, Flags: avp.Mbit, Data: datatype.OctetString("abc")}}},
		{name: "Auth-Session-State twice", avps: []*AVP{resultAVP, newAVP(avp.AuthSessionState, datatype.Enumerated(1)), newAVP(avp.AuthSessionState, datatype.Enumerated(1))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemNet()
				l := mem.listen("hss:3868")
				n := client(t, mem, nil, "hss:3868")
				p := acceptRaw(t, l)
				p.accept("hss.example.net")
				ready(t, n)
				start := time.Now()
				ch := do(n, time.Minute, testRequest(n, "a"))
				q := p.read()
				a := &Message{Command: q.Command, Application: q.Application, HopByHop: q.HopByHop, EndToEnd: q.EndToEnd, AVPs: c.avps}
				if c.change != nil {
					c.change(a)
				}
				p.send(a)
				r := <-ch
				if !r.at.Equal(start) {
					t.Errorf("took %v", r.at.Sub(start))
				}
				if c.want == "" != (r.err == nil) || r.err != nil && !strings.Contains(r.err.Error(), c.want) {
					t.Fatalf("error %v, want %q", r.err, c.want)
				}
				if r.a == nil {
					t.Error("no answer with the error")
				}
				var e *ResultError
				if errors.As(r.err, &e); (e != nil) != (c.result != Result{}) || e != nil && e.Result != c.result {
					t.Errorf("result error %v, want %v", e, c.result)
				}
				p.alive()
			})
		})
	}
}

func TestRequestsWithADestinationHostFindTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, _, p1, p2 := twoPeers(t, nil)
		to := func(host string) *Message {
			m := testRequest(n, "a")
			m.Add(newAVP(avp.DestinationHost, datatype.DiameterIdentity(host)))
			return m
		}
		ch := do(n, time.Minute, to("HSS2.example.net"))
		p2.replyResult(p2.read(), "hss2.example.net", Success)
		if r := <-ch; r.err != nil {
			t.Error(r.err)
		}
		ch = do(n, time.Minute, to("behind.example.net")) // an agent may know it
		m := p1.read()
		if m.Text(avp.DestinationHost, 0) != "behind.example.net" {
			t.Errorf("Destination-Host %q", m.Text(avp.DestinationHost, 0))
		}
		p1.replyResult(m, "behind.example.net", Success)
		if r := <-ch; r.err != nil || r.a.OriginHost() != "behind.example.net" {
			t.Error(r.err)
		}
		// A learned host is left out when its own peer is gone, a demanded one is kept.
		p2.nc.Close()
		synctest.Wait()
		ch = do(n, time.Minute, to("hss2.example.net"), HostIsHint)
		if m = p1.read(); m.Find(avp.DestinationHost, 0) != nil {
			t.Error("the learned host of a peer that is gone is still asked for")
		}
		p1.replyResult(m, "hss1.example.net", Success)
		<-ch
		ch = do(n, time.Minute, to("hss2.example.net"))
		if m = p1.read(); m.Find(avp.DestinationHost, 0) == nil {
			t.Error("the demanded host is left out")
		}
		p1.replyResult(m, "hss1.example.net", UnableToDeliver)
		if r := <-ch; r.err == nil {
			t.Error("no error although the host is out of reach")
		}
		// A learned host that an agent cannot reach is given up.
		ch = do(n, time.Minute, to("behind.example.net"), HostIsHint)
		m = p1.read()
		p1.replyResult(m, "hss1.example.net", UnableToDeliver)
		if m = p1.read(); m.Find(avp.DestinationHost, 0) != nil || m.IsRetransmitted() {
			t.Errorf("the second try is %v, flags %#x", m, m.Flags)
		}
		p1.replyResult(m, "hss1.example.net", Success)
		if r := <-ch; r.err != nil {
			t.Error(r.err)
		}
	})
}

func TestAnHSSNeverSendsToAPeerThatIsNotNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		hss := server(t, mem, "hss.example.net", "hss:3868", nil)
		p := dialRaw(t, mem, "hss:3868")
		p.handshake("icscf.example.net")
		m := testRequest(hss, "a")
		m.Add(newAVP(avp.DestinationHost, datatype.DiameterIdentity("scscf.example.net")))
		r := <-do(hss, time.Minute, m)
		var e *TransportError
		if !errors.As(r.err, &e) {
			t.Errorf("%v", r.err)
		}
		p.alive()
	})
}

func TestBoundsOfOneConnection(t *testing.T) {
	t.Run("requests under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			server(t, mem, "hss.example.net", "hss:3868", func(*Request) {})
			n := client(t, mem, func(c *Config) { c.MaxPending = 3 }, "hss:3868")
			ready(t, n)
			for range 3 {
				do(n, time.Minute, testRequest(n, "a"))
			}
			r := <-do(n, time.Minute, testRequest(n, "b"))
			if r.err == nil || !strings.Contains(r.err.Error(), "3 requests are unanswered") {
				t.Errorf("%v", r.err)
			}
		})
	})
	t.Run("requests of a peer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			cfg := testConfig("hss.example.net")
			cfg.MaxPending, cfg.Handler = 3, func(*Request) {}
			n := newNode(t, cfg)
			if err := n.Listen(mem.listen("hss:3868")); err != nil {
				t.Fatal(err)
			}
			p := dialRaw(t, mem, "hss:3868")
			p.handshake("raw.example.net")
			for range 4 {
				p.write(rawMessage(body(), nil))
			}
			if m := p.read(); result(m) != TooBusy {
				t.Errorf("%v", result(m))
			}
			p.alive()
		})
	})
	t.Run("octets to write", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			server(t, mem, "hss.example.net", "hss:3868", nil)
			p := dialRaw(t, mem, "hss:3868")
			p.handshake("raw.example.net")
			// Asks and asks, and never reads.
			frame := rawMessage(body(goodAVP(avp.ProxyInfo, avp.Mbit, 0, append(goodAVP(avp.ProxyHost, avp.Mbit, 0, []byte("h")),
				goodAVP(avp.ProxyState, avp.Mbit, 0, make([]byte, 200<<10))...))), nil)
			for range 100 {
				if _, err := p.nc.Write(frame); err != nil {
					return
				}
			}
			t.Error("20 MB of answers were queued for a peer that does not read")
		})
	})
	t.Run("connections", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			cfg := testConfig("hss.example.net")
			cfg.MaxConnections = 2
			n := newNode(t, cfg)
			if err := n.Listen(mem.listen("hss:3868")); err != nil {
				t.Fatal(err)
			}
			p := dialRaw(t, mem, "hss:3868")
			p.handshake("raw1.example.net")
			q := dialRaw(t, mem, "hss:3868")
			q.handshake("raw2.example.net")
			dialRaw(t, mem, "hss:3868").expectClosed(time.Second)
			p.nc.Close()
			synctest.Wait()
			dialRaw(t, mem, "hss:3868").handshake("raw3.example.net")
			q.alive()
		})
	})
}

func TestOneConnectionAPeer(t *testing.T) {
	t.Run("a peer that restarted replaces its old connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			hss := server(t, mem, "hss.example.net", "hss:3868", nil)
			p := dialRaw(t, mem, "hss:3868")
			p.handshake("raw.example.net")
			ch := do(hss, time.Minute, func() *Message {
				m := testRequest(hss, "a")
				m.Add(newAVP(avp.DestinationHost, datatype.DiameterIdentity("raw.example.net")))
				return m
			}())
			p.read()
			q := dialRaw(t, mem, "hss:3868")
			q.handshake("raw.example.net")
			// What was under way goes on over the new one.
			m := q.read()
			if !m.IsRetransmitted() {
				t.Errorf("flags %#x", m.Flags)
			}
			q.replyResult(m, "raw.example.net", Success)
			if r := <-ch; r.err != nil {
				t.Error(r.err)
			}
			p.expectClosed(time.Second)
			if n := len(hss.Peers()); n != 1 {
				t.Errorf("%d peers", n)
			}
		})
	})
	t.Run("both dial", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			make := func(host, peer string) *Node {
				cfg := testConfig(host)
				cfg.Dialer = mem
				cfg.Peers = []PeerConfig{{Host: peer, Address: peer + ":3868"}}
				cfg.Handler = func(r *Request) { _ = r.Answer(r.NewAnswer(Base(Success))) }
				n := newNode(t, cfg)
				if err := n.Listen(mem.listen(host + ":3868")); err != nil {
					t.Fatal(err)
				}
				return n
			}
			a, b := make("a.example.net", "b.example.net"), make("b.example.net", "a.example.net")
			if err := errors.Join(a.Start(), b.Start()); err != nil {
				t.Fatal(err)
			}
			pass(5 * time.Minute)
			ready(t, a)
			ready(t, b)
			for _, n := range []*Node{a, b} {
				if p := n.Peers(); len(p) != 1 || p[0].State != Okay {
					t.Errorf("%s: %+v", n.OriginHost(), p)
				}
				if r := <-do(n, time.Second, testRequest(n, "a")); r.err != nil {
					t.Error(r.err)
				}
			}
			if a.Peers()[0].Dialed == b.Peers()[0].Dialed {
				t.Error("the two ends do not use the same connection")
			}
		})
	})
	t.Run("a peer of another name", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := newMemNet()
			l := mem.listen("hss:3868")
			n := client(t, mem, func(c *Config) { c.Peers = []PeerConfig{{Host: "hss.example.net", Address: "hss:3868"}} })
			p := acceptRaw(t, l)
			p.accept("impostor.example.net")
			p.expectClosed(time.Second)
			if s := n.Peers()[0].State; s != Down {
				t.Errorf("state %v", s)
			}
		})
	})
}
