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
func (s *states) Refused(e RefusedEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, "refused: "+e.Err.Error())
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
			start := func(host, peer string) *Node {
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
			a, b := start("a.example.net", "b.example.net"), start("b.example.net", "a.example.net")
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
