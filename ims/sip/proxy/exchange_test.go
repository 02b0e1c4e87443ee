package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// hop is a target's address.
func hop(s string) Hop { return Hop{Addr: netip.MustParseAddrPort(s)} }

const (
	bob   = "192.0.2.20:5060"
	carol = "192.0.2.21:5060"
)

// uas is a handler that also takes ACKs.
type uas struct {
	request, ack func(x *Exchange)
}

func (u uas) Request(x *Exchange) { u.request(x) }
func (u uas) Ack(x *Exchange)     { u.ack(x) }

func TestReplyOnce(t *testing.T) {
	ended := 0
	h := handlerFunc(func(x *Exchange) {
		x.OnEnd(func() { ended++ })
		x.OnEnd(func() { ended *= 10 })
		x.Reply(403, "Not you", sip.Field{ID: sip.HWarning, Value: `399 test "no"`})
		check(t, "Done", x.Done(), true)
		x.Reply(200, "")
		x.Forward(Target{Hop: hop(bob)})
		x.Retry(Target{Hop: hop(bob)})
		x.Post(func() { t.Error("posted function ran after the end") })
	})
	trio(t, h, func(w *world, a, b, _ *peer) {
		a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
		m := a.status(403)
		check(t, "reason", m.Reason(), "Not you")
		check(t, "Warning", m.Get(sip.HWarning), `399 test "no"`)
		check(t, "To tag", m.ToTag() != "", true)
		a.nothing(time.Minute)
		b.nothing(time.Minute)
		check(t, "late", w.core.Stats().Late, uint64(4))
		check(t, "ended", ended, 10)
	})
}

func TestHandlerThatForgets(t *testing.T) {
	h := handlerFunc(func(x *Exchange) {
		if x.Req.CallID() == "absorb" {
			x.OnResponse(func(*Branch, *sip.Message, *sip.Edits) bool { return false })
			x.Forward(Target{Hop: hop(bob)})
		}
	})
	trio(t, h, func(w *world, a, b, _ *peer) {
		start := time.Now()
		invite := a.text("INVITE", "sip:bob@test", "c1")
		a.send(invite)
		a.ack(invite, a.status(500))
		if d := time.Since(start).Round(time.Second); d != 30*time.Second {
			t.Errorf("500 after %v, want 30 s", d)
		}
		invite = a.text("INVITE", "sip:bob@test", "absorb")
		a.send(invite)
		mb := b.request("INVITE")
		b.answer(mb, 180)
		time.Sleep(time.Minute) // a callee may ring for longer than a handler may think
		b.answer(mb, 486)
		b.request("ACK")
		start = time.Now()
		a.ack(invite, a.status(500))
		if d := time.Since(start).Round(time.Second); d != 30*time.Second {
			t.Errorf("500 after %v, want 30 s", d)
		}
		check(t, "unanswered", w.core.Stats().Unanswered, uint64(2))
	})
}

func TestUserAgent(t *testing.T) {
	var acks, tags []string
	h := uas{
		request: func(x *Exchange) {
			tags = append(tags, x.ToTag())
			x.Reply(180, "")
			go func() {
				time.Sleep(3 * time.Second)
				x.Post(func() {
					x.Send(200, x.Response(200, "").Add(sip.HContact, "<sip:us@192.0.2.1>").Body("text/plain", "hello"))
				})
			}()
		},
		ack: func(x *Exchange) {
			acks = append(acks, x.Req.CallID())
			x.Reply(200, "") // nothing to answer: ignored
		},
	}
	trio(t, h, func(w *world, a, b, _ *peer) {
		invite := a.text("INVITE", "sip:us@test", "c1", "Record-Route: <sip:p.test;lr>")
		a.send(invite)
		r := a.status(180)
		ok := a.status(200)
		check(t, "tags", r.ToTag()+" "+ok.ToTag(), tags[0]+" "+tags[0])
		check(t, "Record-Route", ok.Get(sip.HRecordRoute), "<sip:p.test;lr>")
		check(t, "body", ok.Body(), "hello")
		a.send(a.text("ACK", "sip:us@192.0.2.1", "c1"))
		time.Sleep(time.Second)
		synctest.Wait()
		check(t, "ACKs", strings.Join(acks, " "), "c1")
		b.nothing(time.Minute)
	})
}

func TestOnResponse(t *testing.T) {
	var log []string
	h := handlerFunc(func(x *Exchange) {
		x.OnResponse(func(b *Branch, m *sip.Message, e *sip.Edits) bool {
			log = append(log, fmt.Sprint(b.Index, " ", m.Status(), " ", b.Provisional(), " ", b.URI))
			e.Set(sip.HPAssertedIdentity, "<sip:bob@test>")
			return m.Status() != 183
		})
		x.Forward(Target{URI: "sip:bob@elsewhere.test", Hop: hop(bob)})
	})
	trio(t, h, func(w *world, a, b, _ *peer) {
		invite := a.text("INVITE", "sip:bob@test", "c1")
		a.send(invite)
		m := b.request("INVITE")
		check(t, "Request-URI", m.msg.RequestURI(), "sip:bob@elsewhere.test")
		b.answer(m, 183)
		b.answer(m, 180)
		check(t, "identity", a.status(180).Get(sip.HPAssertedIdentity), "<sip:bob@test>")
		b.answer(m, 486, sip.Field{ID: sip.HPAssertedIdentity, Value: "<sip:mallory@test>"})
		b.request("ACK")
		final := a.status(486)
		check(t, "identity", final.Get(sip.HPAssertedIdentity), "<sip:bob@test>")
		a.ack(invite, final)
		check(t, "seen", strings.Join(log, ", "), "0 183 true sip:bob@elsewhere.test, 0 180 true sip:bob@elsewhere.test, 0 486 true sip:bob@elsewhere.test")
	})
}

// An application server that is silent, or fails, and the call that goes on
// without it (TS 24.229 5.4.3.2, default handling SESSION_CONTINUED).
func TestRetryPastApplicationServer(t *testing.T) {
	h := handlerFunc(func(x *Exchange) {
		tried := false
		x.OnBest(func(best *Final) bool {
			if x.Cancelled() {
				t.Error("OnBest after CANCEL")
			}
			if tried || best.Status != 408 && best.Status < 500 {
				return true
			}
			tried = true
			x.Retry(Target{Hop: hop(carol)})
			return false
		})
		x.Forward(Target{
			Hop: Hop{Addr: netip.MustParseAddrPort(bob), Role: sip.RoleISC}, Timeout: 2 * time.Second,
			Edits: func(e *sip.Edits) { e.Prepend(sip.HRoute, "<sip:as.test;lr>, <sip:odi@192.0.2.1:5090;lr>") },
		})
	})
	trio(t, h, func(w *world, a, b, c *peer) {
		// Silent: 2 s, then without it, and the request is as it was.
		start := time.Now()
		invite := a.text("INVITE", "sip:carol@test", "c1")
		a.send(invite)
		as := b.request("INVITE")
		check(t, "Route to the AS", as.msg.Get(sip.HRoute), "<sip:as.test;lr>, <sip:odi@192.0.2.1:5090;lr>")
		m := c.request("INVITE")
		if d := time.Since(start); d < 2*time.Second || d > 2100*time.Millisecond {
			t.Errorf("went on after %v, want 2 s", d)
		}
		check(t, "Route past the AS", m.msg.Get(sip.HRoute), "")
		check(t, "Max-Breadth", m.msg.Get(sip.HMaxBreadth), "60")
		c.answer(m, 500) // its own failure is the answer, the AS's 408 is forgotten
		c.request("ACK")
		a.ack(invite, a.status(500))
		// The AS wakes up: it gets its CANCEL and harms nobody.
		b.answer(as, 180)
		b.answer(b.request("CANCEL"), 200)
		b.answer(as, 487)
		b.request("ACK")
		a.nothing(time.Minute)

		// It answers 100 in time and 500 later.
		invite = a.text("INVITE", "sip:carol@test", "c2")
		a.send(invite)
		as = b.request("INVITE")
		b.answer(as, 100)
		c.nothing(20 * time.Second)
		b.answer(as, 500)
		b.request("ACK")
		m = c.request("INVITE")
		c.answer(m, 486)
		c.request("ACK")
		a.ack(invite, a.status(486))

		// It answers after it has been given up, before the callee does.
		invite = a.text("INVITE", "sip:carol@test", "c3")
		a.send(invite)
		as = b.request("INVITE")
		m = c.request("INVITE")
		c.answer(m, 180)
		a.status(180)
		b.answer(as, 200)
		check(t, "the 200 counts", a.status(200).ToTag(), "bob")
		c.answer(c.request("CANCEL"), 200)
		c.answer(m, 487)
		c.request("ACK")

		// Cancelled while the AS is silent: nobody else is tried.
		invite = a.text("INVITE", "sip:carol@test", "c4")
		a.send(invite)
		b.request("INVITE")
		time.Sleep(time.Second)
		a.send(cancel(invite, ""))
		a.status(200)
		a.ack(invite, a.status(487))
		c.nothing(time.Minute)
	})
}

func TestSequentialForking(t *testing.T) {
	h := handlerFunc(func(x *Exchange) {
		second := false
		x.OnBest(func(best *Final) bool {
			if second {
				return true
			}
			second = true
			x.Edits.Set(sip.HSubject, "second")
			x.Forward(Target{Hop: hop(carol)})
			return false
		})
		x.Edits.Set(sip.HSubject, "first")
		x.Forward(Target{Hop: hop(bob)})
	})
	trio(t, h, func(w *world, a, b, c *peer) {
		a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
		m := b.request("MESSAGE")
		check(t, "Subject", m.msg.Get(sip.HSubject), "first")
		b.answer(m, 404)
		m = c.request("MESSAGE")
		check(t, "Subject", m.msg.Get(sip.HSubject), "second")
		c.answer(m, 500)
		check(t, "the best of both", a.status(404).ToTag(), "bob")

		a.send(a.text("MESSAGE", "sip:bob@test", "c2"))
		b.answer(b.request("MESSAGE"), 600) // nobody is asked after that (RFC 3261 16.7 step 5)
		a.status(600)
		c.nothing(time.Minute)
	})
}

// A handler that tries again for ever is stopped.
func TestRoundsAreBounded(t *testing.T) {
	rounds := 0
	h := handlerFunc(func(x *Exchange) {
		x.OnBest(func(*Final) bool {
			rounds++
			x.Retry(Target{URI: "sip:nowhere.invalid"})
			return false
		})
		x.Forward(Target{URI: "sip:nowhere.invalid"})
	})
	trio(t, h, func(w *world, a, _, _ *peer) {
		a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
		a.status(500)
		check(t, "rounds", rounds, maxRounds)
	})
}

// Whoever sent a non-INVITE request has given up after Timer F: no branch is
// begun after that.
func TestNoForwardAfterTimerF(t *testing.T) {
	rounds := 0
	h := handlerFunc(func(x *Exchange) {
		x.OnBest(func(*Final) bool {
			rounds++
			x.Retry(Target{Hop: hop(carol), Timeout: 10 * time.Second})
			return false
		})
		x.Forward(Target{Hop: hop(bob), Timeout: 10 * time.Second})
	})
	trio(t, h, func(w *world, a, b, c *peer) {
		a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
		a.nothing(5 * time.Minute)
		check(t, "rounds", rounds, 4) // after 10, 20, 30 and 40 s; the last one in vain
	})
}

func TestTargetsDiffer(t *testing.T) {
	h := handlerFunc(func(x *Exchange) {
		x.Edits.Set(sip.HSubject, "both")
		var ts []Target
		for i, p := range []string{bob, carol} {
			ts = append(ts, Target{
				URI: fmt.Sprintf("sip:t%d@test", i), Hop: hop(p), ViaParams: ";rport",
				Edits: func(e *sip.Edits) { e.Set(sip.HPCalledPartyID, fmt.Sprintf("<sip:p%d@test>", i)) },
			})
		}
		x.Forward(ts...)
	})
	trio(t, h, func(w *world, a, b, c *peer) {
		a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
		for i, p := range []*peer{b, c} {
			m := p.request("MESSAGE")
			check(t, "Subject", m.msg.Get(sip.HSubject), "both")
			check(t, "Request-URI", m.msg.RequestURI(), fmt.Sprintf("sip:t%d@test", i))
			check(t, "P-Called-Party-ID", m.msg.Get(sip.HPCalledPartyID), fmt.Sprintf("<sip:p%d@test>", i))
			v, _ := m.msg.TopVia()
			check(t, "rport", v.HasRPort, true)
			p.answer(m, 404+i*76)
		}
		a.status(404)
	})
}

// What the handler does to Edits after Forward is not seen by what is on its
// way, even when that has to be written again.
func TestEditsAfterForward(t *testing.T) {
	h := handlerFunc(func(x *Exchange) {
		x.Edits.Set(sip.HPAssertedIdentity, "<sip:alice@test>")
		x.Forward(Target{Hop: hop(bob)})
		for range 4 {
			x.Edits.Add(sip.HWarning, "late")
		}
	})
	run(t, h, func(w *world) {
		a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", false)
		defer a.close()
		defer b.close()
		a.send(a.text("MESSAGE", "sip:bob@test", "c1", big)) // too big, and nobody listens for TCP
		m := b.request("MESSAGE")
		check(t, "Warning", m.msg.Has(sip.HWarning), false)
		check(t, "identity", m.msg.Get(sip.HPAssertedIdentity), "<sip:alice@test>")
		check(t, "Max-Forwards", m.msg.Get(sip.HMaxForwards), "69")
		check(t, "Max-Breadth", m.msg.Get(sip.HMaxBreadth), "60")
		b.answer(m, 200)
		a.status(200)
		w.quiet()
	})
}

// A handler that measures its peers' silence itself.
func TestGiveUpSilent(t *testing.T) {
	var waiting []bool
	h := handlerFunc(func(x *Exchange) {
		x.OnBest(func(best *Final) bool {
			if best.Branch.Index > 0 {
				return true
			}
			x.Retry(Target{Hop: hop(carol)})
			return false
		})
		var wait func()
		wait = func() {
			if !x.Done() {
				waiting = append(waiting, x.GiveUpSilent(time.Second))
				if waiting[len(waiting)-1] {
					x.Shard.After(time.Second, wait)
				}
			}
		}
		x.Shard.After(time.Second, wait)
		x.Forward(Target{URI: "sip:as.test"})
	})
	trio(t, h, func(w *world, a, b, c *peer) {
		// Both addresses of the server are silent.
		invite := a.text("INVITE", "sip:bob@test", "c1")
		start := time.Now()
		a.send(invite)
		b.request("INVITE")
		b.request("INVITE")
		m := c.request("INVITE")
		if d := time.Since(start).Round(100 * time.Millisecond); d != 2*time.Second {
			t.Errorf("went on after %v, want 2 s", d)
		}
		c.answer(m, 486)
		c.request("ACK")
		a.ack(invite, a.status(486))
		check(t, "waiting", fmt.Sprint(waiting), "[true false]")

		// It has answered 100: it is left alone.
		waiting = nil
		invite = a.text("INVITE", "sip:bob@test", "c2")
		a.send(invite)
		m = b.request("INVITE")
		b.answer(m, 100)
		c.nothing(20 * time.Second)
		b.answer(m, 200)
		a.status(200)
		check(t, "waiting", fmt.Sprint(waiting), "[false]")
	}, func(c *Config) {
		c.Hosts = map[string][]netip.AddrPort{"as.test": {netip.MustParseAddrPort(bob), netip.MustParseAddrPort(bob)}}
	})
}

func TestDrain(t *testing.T) {
	trio(t, to(bob), func(w *world, a, b, _ *peer) {
		a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
		m := b.request("MESSAGE")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := w.core.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drained with a request open: %v", err)
		}
		a.send(a.text("MESSAGE", "sip:bob@test", "c2"))
		if n, ok := sip.ParseRetryAfter(a.status(503).Get(sip.HRetryAfter)); !ok || n < 5 || n > 10 {
			t.Errorf("Retry-After %d, want 5 to 10", n)
		}
		a.send(a.text("BYE", "sip:bob@test", "c3", "To: <sip:bob@test>;tag=b")) // dialogs are served
		b.answer(b.request("BYE"), 200)
		a.status(200)
		b.answer(m, 200)
		a.status(200)
		if err := w.core.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A stream that cannot be framed: the sender is told, the connection closed.
func TestUnframedStream(t *testing.T) {
	trio(t, forkTo, func(w *world, a, _, _ *peer) {
		raw := strings.Replace(a.text("MESSAGE", "sip:bob@test", "c1", "Via: SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bKx"), "Content-Length: 0\r\n", "", 1)
		a.sendTo(sip.TCP, coreAddr, raw)
		m := a.status(400)
		check(t, "names the header", strings.Contains(m.Reason(), "Content-Length"), true)
		check(t, "unframed", w.core.Stats().Unframed, uint64(1))
	})
}
