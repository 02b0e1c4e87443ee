package transaction

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// seen is an Observer that writes down what it is told.
type seen struct{ *tu }

func (o seen) Dropped(_ sip.Flow, raw, why string) { o.note("dropped: %s", why) }
func (o seen) Rejected(_ sip.Flow, raw string, status int, why string) {
	o.note("rejected %d: %s", status, why)
}
func (o seen) Absorbed(_ sip.Flow, raw string) { o.note("absorbed") }

func TestOverload(t *testing.T) {
	conformance.Shows(t, "TR-18")
	fill := func(r *rig, n int) {
		r.tu.request = func(s *Server) { s.Shard.After(time.Second, s.Abandon) }
		for i := range n {
			r.receive(udp, request("MESSAGE", fmt.Sprint("fill", i), ""))
		}
		r.tu.take()
		r.wire.take()
	}
	const sos = "urn:service:sos.fire"
	emergency := strings.Replace(request("INVITE", "x", ""), "sip:bob@example.com", sos, 1)
	inDialog := requestVia("BYE", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx", "us", "")
	priority := request("INVITE", "x", "Resource-Priority: ets.0\r\n")
	for _, c := range []struct {
		name string
		full int // open transactions, of 16
		flow sip.Flow
		raw  string
		want string
	}{
		{"ordinary below the reserve", 13, udp, request("MESSAGE", "x", ""), "request MESSAGE"},
		{"ordinary in the reserve", 14, udp, request("MESSAGE", "x", ""), "503"},
		{"in a dialog in the reserve", 14, udp, inDialog, "request BYE"},
		{"emergency in the reserve", 14, gmUDP, emergency, "request INVITE"},
		{"priority from the core in the reserve", 14, udp, priority, "request INVITE"},
		{"priority that a phone claims", 14, gmUDP, priority, "503"},
		{"in a dialog at the cap", 16, udp, inDialog, "503"},
		{"emergency at the cap", 16, udp, emergency, "503"},
		{"a retransmission at the cap is absorbed", 16, udp, request("MESSAGE", "fill3", ""), ""},
		{"ACK at the cap", 16, udp, strings.ReplaceAll(inDialog, "BYE", "ACK"), "ack us"},
		{"malformed at the cap: shed before it is inspected", 16, udp,
			strings.Replace(request("MESSAGE", "x", ""), "To: ", "To: <<\"", 1), "503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{MaxTransactions: 16, NoTrying: true, RetryAfter: 7500 * time.Millisecond}, func(r *rig) {
				fill(r, c.full)
				fill(r, 0)
				if c.full == 16 { // the last two as in-dialog ones
					for i := range 2 {
						r.receive(udp, requestVia("MESSAGE", fmt.Sprintf("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKd%d", i), "us", ""))
					}
					r.tu.take()
				}
				if got := r.l.Stats().Open; got != c.full {
					r.Fatalf("%d open, not %d", got, c.full)
				}
				r.receive(c.flow, c.raw)
				got := r.tu.take()
				if out := r.wire.take(); len(out) > 0 {
					m := out[0].msg
					got += fmt.Sprint(m.Status())
					if n, ok := sip.ParseRetryAfter(m.Get(sip.HRetryAfter)); !ok || n < 8 || n > 16 {
						r.Errorf("Retry-After %d, want 8 to 16", n)
					}
					if len(out) > 1 || r.l.Stats().Open != c.full {
						r.Errorf("not stateless: %s, %+v", lines(out), r.l.Stats())
					}
				}
				r.want("outcome", got, c.want)
				r.sleepTo(2 * time.Second)
				r.receive(udp, request("MESSAGE", "later", ""))
				r.want("when there is room again", r.tu.take(), "request MESSAGE")
			})
		})
	}
}

// Who classifies may count, so that each request is classified once, however often it is
// looked at.
func TestClassifiedOnce(t *testing.T) {
	var asked atomic.Int64
	c := Config{MaxTransactions: 16, NoTrying: true, Classify: func(sip.Flow, *sip.Message) admission.Class { asked.Add(1); return admission.Vital }}
	bubble(t, c, func(r *rig) {
		r.tu.request = func(s *Server) { s.Shard.After(time.Second, s.Abandon) }
		for i := range 15 {
			r.receive(udp, request("MESSAGE", fmt.Sprint(i), ""))
		}
		// The last one came in the reserve, an eighth of all.
		if n, open := asked.Load(), r.l.Stats().Open; n != 1 || open != 15 {
			r.Errorf("asked %d times, want once; %d are open", n, open)
		}
	})
}

// Whoever sends INVITEs and never an ACK must not keep others out: 64·T1 on Gm is
// 128 s, so that some hundred INVITEs a second of one stranger would do.
func TestMissingACKsKeepNobodyOut(t *testing.T) {
	bubble(t, Config{MaxTransactions: 16, MaxLingering: 64, TimersFor: gmTimersFor}, func(r *rig) {
		var last *Server
		r.tu.request = func(s *Server) { last = s; answer(s, 403) }
		for i := range 100 {
			r.receive(gmUDP, request("INVITE", fmt.Sprint(i), ""))
		}
		if s := r.l.Stats(); s.Unavailable != 0 || s.Open != 64 || s.Servers != 64 || s.Cut != 36 {
			r.Errorf("%+v", s)
		}
		if last.tx != nil {
			r.Error("an answered INVITE holds on to its request while the ACK is awaited")
		}
		r.wire.take()
		r.tu.take()
		r.receive(gmUDP, request("INVITE", "3", ""))
		r.want("to a copy", lines(r.wire.take()), "403 INVITE")
		r.receive(gmUDP, request("CANCEL", "3", ""))
		r.want("to a late CANCEL", lines(r.wire.take()), "200 CANCEL")
		r.receive(gmUDP, request("ACK", "3", ""))
		r.want("log", r.tu.take(), "")
		r.receive(gmUDP, request("INVITE", "new", ""))
		r.want("to another", r.tu.take(), "request INVITE")
	})
}

// Few requests may hold as much memory as many: what they weigh counts as well.
func TestLargeRequestsAreBounded(t *testing.T) {
	large := func(method, b string) string {
		return request(method, b, "Subject: "+strings.Repeat("x", 10_000)+"\r\n")
	}
	bubble(t, Config{MaxOctets: 50_000, NoTrying: true}, func(r *rig) {
		var held []*Server
		r.tu.request = func(s *Server) { held = append(held, s) }
		for i := range 10 {
			r.receive(udp, large("INVITE", fmt.Sprint(i)))
		}
		r.want("sent", lines(r.wire.take()), strings.TrimSuffix(strings.Repeat("503 INVITE, ", 5), ", "))
		if s := r.l.Stats(); s.Open != 5 || s.Unavailable != 5 || s.Octets < 50_000 || s.Octets > 60_000 {
			r.Errorf("%+v", s)
		}
		r.on(func(*Shard) { answer(held[0], 486); answer(held[1], 200); held[2].Abandon() })
		r.wire.take()
		r.receive(udp, large("MESSAGE", "a")) // in place of the 486, although its ACK is missing
		r.receive(udp, large("MESSAGE", "b")) // in place of the one that nobody answers
		r.receive(udp, large("MESSAGE", "c")) // the 200 is still held
		r.want("sent", lines(r.wire.take()), "503 MESSAGE")
		r.on(func(*Shard) {
			for _, s := range held[3:] {
				answer(s, 486)
			}
		})
	})
}

// The ACK to a stateless 503 must not travel on as if it were for a 2xx.
func TestAckToStatelessAnswer(t *testing.T) {
	bubble(t, Config{MaxTransactions: 1}, func(r *rig) {
		r.tu.request = func(s *Server) { s.Shard.After(time.Second, s.Abandon) }
		r.receive(udp, requestVia("MESSAGE", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "us", ""))
		r.receive(udp, request("INVITE", "2", ""))
		r.receive(udp, request("INVITE", "2", ""))
		out := r.wire.take()
		r.want("sent", lines(out), "503 INVITE, 503 INVITE")
		tag := out[0].msg.ToTag()
		r.want("To tag of the second", out[1].msg.ToTag(), tag)
		r.receive(udp, requestVia("ACK", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2", tag, ""))
		r.want("log", r.tu.take(), "request MESSAGE")
	})
}

func TestLingeringIsBounded(t *testing.T) {
	bubble(t, Config{MaxLingering: 10}, func(r *rig) {
		r.tu.request = func(s *Server) { answer(s, 200) }
		for i := range 100 {
			r.receive(udp, request("MESSAGE", fmt.Sprint(i), ""))
		}
		s := r.l.Stats()
		if s.Lingering != 10 || s.Servers != 10 || s.Cut != 90 {
			r.Errorf("%+v", s)
		}
		if n := len(r.wire.take()); n != 100 {
			r.Errorf("%d answers", n)
		}
	})
}

// What anybody can have answered pushes out neither a call nor what goes on with a
// registration.
func TestLingeringHasRoomForWhatMatters(t *testing.T) {
	bubble(t, Config{MaxLingering: 12, NoTrying: true, Admission: admission.NewController(admission.Config{})}, func(r *rig) {
		status := 200
		r.tu.request = func(s *Server) { answer(s, status) }
		many := func(b string, method, extra string) (kept, cut int) {
			before := r.l.Stats()
			for i := range 100 {
				r.receive(udp, request(method, fmt.Sprint(b, i), extra))
			}
			s := r.l.Stats()
			return s.Lingering + s.Open - before.Lingering - before.Open, int(s.Cut - before.Cut)
		}
		for i, tt := range []struct {
			what, method, extra string
			status              int
			kept                int
		}{
			{"messages", "MESSAGE", "", 200, 12},
			{"refused calls", "INVITE", "", 403, 0},
			{"a challenged REGISTER", "REGISTER", "", 401, 0},
			{"one call and more, as many as there is room for", "INVITE", "", 200, 4},
			{"the answer to a challenge, when there is none", "REGISTER", `Authorization: Digest username="a", nonce="n"` + "\r\n", 200, 0},
		} {
			status = tt.status
			if kept, cut := many(fmt.Sprint("a", i, "-"), tt.method, tt.extra); kept != tt.kept || cut != 100-tt.kept {
				r.Errorf("%s: %d are kept and %d cut, want %d kept", tt.what, kept, cut, tt.kept)
			}
		}
		r.sleepTo(time.Minute)
		status = 200
		many("m", "MESSAGE", "")
		if kept, _ := many("r", "REGISTER", `Authorization: Digest username="a", nonce="n"`+"\r\n"); kept != 4 {
			r.Errorf("of the answers to challenges %d are kept beside the messages, want 4", kept)
		}
	})
}

func TestInboxFull(t *testing.T) {
	bubble(t, Config{Inbox: 4, Shards: 1}, func(r *rig) {
		r.l.cfg.Observer = seen{r.tu}
		release := make(chan struct{})
		r.l.Shard(callID).Post(func() { <-release }) // a User that blocks, as none should
		synctest.Wait()
		for i := range 4 {
			r.receive(udp, request("MESSAGE", fmt.Sprint(i), ""))
		}
		r.receive(udp, request("MESSAGE", "5", ""))
		r.receive(udp, response(200, "MESSAGE", "6"))
		r.receive(udp, request("ACK", "7", ""))
		for range 13 {
			r.receive(tcp, response(200, "MESSAGE", "8")) // 12 fit
		}
		r.want("log", r.tu.take(), "rejected 503: inbox full, dropped: inbox full, dropped: inbox full, dropped: inbox full")
		r.want("sent", lines(r.wire.take()), "503 MESSAGE")
		if s := r.l.Stats(); s.Queued != 16 || s.Overflow != 3 || s.Unavailable != 1 {
			r.Errorf("%+v", s)
		}
		r.tu.request = func(s *Server) { answer(s, 200) }
		close(release)
		synctest.Wait()
		if got := r.tu.take(); strings.Count(got, "request") != 4 || strings.Count(got, "stray") != 12 {
			r.Errorf("log: %s", got)
		}
	})
}

func TestMalformed(t *testing.T) {
	conformance.Shows(t, "TR-20")
	without := func(raw, header string) string {
		var out strings.Builder
		for l := range strings.Lines(raw) {
			if !strings.HasPrefix(l, header+":") {
				out.WriteString(l)
			}
		}
		return out.String()
	}
	for _, c := range []struct {
		name, raw, sent, dropped string
	}{
		{"no CSeq", without(request("MESSAGE", "1", ""), "CSeq"), "400 Missing CSeq", ""},
		{"no Call-ID", without(request("INVITE", "1", ""), "Call-ID"), "400 Missing Call-ID", ""},
		{"no From", without(request("INVITE", "1", ""), "From"), "400 Missing From", ""},
		{"no Via: nobody to answer", without(request("INVITE", "1", ""), "Via"), "", "malformed"},
		{"ACK", without(request("ACK", "1", ""), "CSeq"), "", "malformed"},
		{"response", without(response(200, "INVITE", "1"), "To"), "", "malformed"},
		{"response without status", strings.Replace(response(200, "INVITE", "1"), "200", "2x0", 1), "", "malformed"},
		{"not SIP", "GET / HTTP/1.1\r\n\r\n", "", "malformed"},
		{"nothing", "\r\n\r\n", "", "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				r.receive(udp, c.raw)
				got := ""
				for _, x := range r.wire.take() {
					got += fmt.Sprintf("%d %s", x.msg.Status(), x.msg.Reason())
				}
				r.want("sent", got, c.sent)
				r.want("log", r.tu.take(), "")
				s := r.l.Stats()
				if s.Servers != 0 || (s.Malformed == 1) != (c.dropped != "") || (s.BadRequests == 1) != (c.sent != "") {
					r.Errorf("%+v", s)
				}
			})
		})
	}
	t.Run("rate limit", func(t *testing.T) {
		bubble(t, Config{RejectRate: 10}, func(r *rig) {
			for range 25 {
				r.receive(udp, without(request("MESSAGE", "1", ""), "CSeq"))
			}
			if n := len(r.wire.take()); n != 10 {
				r.Errorf("%d answers, not 10", n)
			}
			if s := r.l.Stats(); s.RateLimited != 15 {
				r.Errorf("%+v", s)
			}
			r.sleepTo(time.Second)
			r.receive(udp, without(request("MESSAGE", "1", ""), "CSeq"))
			r.want("a second later", lines(r.wire.take()), "400 ")
		})
	})
}

func TestDrain(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		var s *Server
		r.tu.request = func(got *Server) {
			if s = got; s.Req.Method() == "BYE" {
				answer(s, 200)
			}
		}
		r.receive(udp, request("INVITE", "1", ""))
		r.wire.take()
		invite := s
		drained := make(chan error, 1)
		go func() { drained <- r.l.Drain(context.Background()) }()
		synctest.Wait()

		r.receive(udp, request("INVITE", "2", ""))
		out := r.wire.take()
		r.want("new dialog", lines(out), "503 INVITE")
		if n, ok := sip.ParseRetryAfter(out[0].msg.Get(sip.HRetryAfter)); !ok || n < 5 || n > 10 {
			r.Errorf("Retry-After %d, want 5 to 10", n)
		}
		r.receive(udp, requestVia("BYE", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK3", "us", ""))
		r.want("in a dialog", lines(r.wire.take()), "200 BYE")
		select {
		case err := <-drained:
			r.Fatalf("Drain returned (%v) while an INVITE is unanswered", err)
		default:
		}
		r.on(func(*Shard) { answer(invite, 200) })
		select {
		case err := <-drained:
			if err != nil {
				r.Error(err)
			}
		default:
			r.Error("Drain waits for what only lingers")
		}
		if err := r.l.Drain(context.Background()); err != nil {
			r.Error(err)
		}
	})
	t.Run("bounded", func(t *testing.T) {
		bubble(t, Config{}, func(r *rig) {
			r.tu.request = func(s *Server) { s.Shard.After(time.Minute, func() { answer(s, 200) }) }
			r.receive(udp, request("INVITE", "1", ""))
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := r.l.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
				r.Errorf("Drain: %v", err)
			}
			if d := time.Since(r.wire.start); d != 10*time.Second {
				r.Errorf("after %v", d)
			}
		})
	})
}

// After Close nothing runs and nothing is accepted, and nothing blocks.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, u := &wire{start: time.Now()}, &tu{}
		l := New(Config{Sender: w, User: u, Shards: 3})
		l.Receive(udp, request("INVITE", "1", ""))
		synctest.Wait()
		u.take()
		sh := l.Shard(callID)
		l.Close()
		l.Close()
		l.Receive(udp, request("INVITE", "2", ""))
		sh.Post(func() { t.Error("ran after Close") })
		time.Sleep(time.Hour)
		if got := u.take(); got != "" {
			t.Errorf("log: %s", got)
		}
	})
}
