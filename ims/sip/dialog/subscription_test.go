package dialog_test

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// notifier is a Bob that accepts subscriptions for so many seconds.
type notifier struct {
	notes
	agent *dialog.Agent
	n     *dialog.Notifier
}

// on runs f on the subscription's shard.
func (n *notifier) on(f func()) {
	synctest.Wait()
	onShard(n.n.Post, f)
}

func reginfo(s string) dialog.Part { return dialog.Part{Type: "application/reginfo+xml", Body: s} }

func (w *world) notifier(seconds uint32) *notifier {
	bob := &notifier{}
	bob.agent = w.agent(bobAddr, dialog.Config{Request: func(in *dialog.Incoming) {
		n, err := bob.agent.AcceptSubscription(in, seconds, dialog.NotifierEvents{
			Refreshed: func(n *dialog.Notifier) {
				bob.add("refreshed")
				_ = n.Notify(reginfo("full"))
			},
			Final: func(*dialog.Notifier) dialog.Part { return reginfo("last") },
			Ended: func(_ *dialog.Notifier, e dialog.SubscriptionEnd) { bob.add("ended: %s%s", e.Reason, ending(e)) },
		})
		if err != nil {
			bob.add("%v", err)
			return
		}
		bob.n = n
		if seconds == 0 {
			n.Terminate("timeout", 0, reginfo("full"))
			return
		}
		_ = n.Notify(reginfo("full"))
	}})
	return bob
}

func ending(e dialog.SubscriptionEnd) string {
	switch {
	case e.Err != nil:
		return "(" + e.Err.Error() + ")"
	case e.Outcome != (dialog.Outcome{}):
		return "(" + e.Outcome.String() + ")"
	}
	return ""
}

// subscriber is an Alice that subscribes to reg.
type subscriber struct {
	notes
	agent *dialog.Agent
	s     *dialog.Subscription
}

// on runs f on the subscription's shard.
func (s *subscriber) on(f func()) { onShard(s.s.Post, f) }

func (w *world) subscribe(expires uint32) *subscriber {
	w.t.Helper()
	alice := &subscriber{agent: w.agent(aliceAddr, dialog.Config{})}
	s, err := alice.agent.Subscribe(&dialog.SubscribeRequest{
		Request: dialog.Request{URI: "sip:bob@" + bobAddr.String(), From: "<sip:alice@home1.net>", To: "<sip:bob@home1.net>"},
		Event:   "reg", Expires: expires,
	}, dialog.SubscriptionEvents{
		Notify: func(_ *dialog.Subscription, in *dialog.Incoming, st sip.SubscriptionState) {
			alice.add("%s %s", st.State, in.Req.Body())
		},
		Ended: func(_ *dialog.Subscription, e dialog.SubscriptionEnd) { alice.add("ended: %s%s", e.Reason, ending(e)) },
	})
	must(w.t, err)
	alice.s = s
	return alice
}

func TestSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.notifier(3600)
		alice := w.subscribe(600000)
		time.Sleep(time.Second)
		w.expect("subscribing", `
			A SUBSCRIBE 1
			B 200 1 SUBSCRIBE
			B NOTIFY 1 [full] active;expires=3600
			A 200 1 NOTIFY`)
		// NOTIFYs follow one another.
		bob.on(func() {
			must(t, bob.n.Notify(reginfo("two")))
			must(t, bob.n.Notify(reginfo("three")))
		})
		time.Sleep(time.Second)
		w.expect("two changes", `
			B NOTIFY 2 [two] active;expires=3600
			A 200 2 NOTIFY
			B NOTIFY 3 [three] active;expires=3599
			A 200 3 NOTIFY`)
		time.Sleep(3000 * time.Second) // 600 s before the end it is refreshed
		w.expect("refresh", `
			A SUBSCRIBE 2
			B 200 2 SUBSCRIBE
			B NOTIFY 4 [full] active;expires=3600
			A 200 4 NOTIFY`)
		alice.on(alice.s.Unsubscribe)
		time.Sleep(time.Second)
		w.expect("end", `
			A SUBSCRIBE 3
			B 200 3 SUBSCRIBE
			B NOTIFY 5 [last] terminated;reason=timeout
			A 200 5 NOTIFY`)
		alice.expect(t, "active full; active two; active three; active full; terminated last; ended: timeout")
		bob.expect(t, "refreshed; ended: timeout")
		if n := alice.agent.Dialogs() + bob.agent.Dialogs(); n != 0 {
			t.Errorf("%d dialogs are left", n)
		}
	})
}

// A NOTIFY may overtake the 2xx (RFC 6665 4.1.2.4).
func TestNotifyBeforeAccepted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.notifier(3600)
		first := true
		w.drop(func(from netip.AddrPort, m *sip.Message) bool {
			if m.Status() == 200 && from == bobAddr && first {
				first = false
				return true
			}
			return false
		})
		alice := w.subscribe(3600)
		time.Sleep(400 * time.Millisecond)
		alice.expect(t, "active full")
		time.Sleep(400 * time.Millisecond)
		alice.on(alice.s.Unsubscribe)
		time.Sleep(time.Second)
		alice.expect(t, "terminated last; ended: timeout")
	})
}

func TestFetch(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.notifier(0)
		alice := w.subscribe(0)
		time.Sleep(time.Second)
		alice.expect(t, "terminated full; ended: timeout")
	})
}

// A subscription whose NOTIFY is refused or not answered is removed; a refresh
// within the dialog brings the full state.
func TestNotifyFailures(t *testing.T) {
	conformance.Shows(t, "RE-09")
	t.Run("481", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			bob := w.notifier(3600)
			p := w.peer(aliceAddr, bobAddr)
			p.send(p.raw("SUBSCRIBE", 1, "s1", "<sip:a@x>;tag=a", "<sip:b@x>").Add(sip.HEvent, "reg"))
			p.await("200")
			n := p.await("NOTIFY")
			p.send(p.response(n, 200, ""))
			p.send(p.request(n, "SUBSCRIBE", 2).Add(sip.HEvent, "reg").Add(sip.HExpires, "1800"))
			if got := p.await("200").Get(sip.HExpires); got != "1800" {
				t.Errorf("refreshed for %s s", got)
			}
			n = p.await("NOTIFY")
			if n.Body() != "full" {
				t.Errorf("after the refresh: %q", n.Body())
			}
			p.send(p.response(n, 481, ""))
			time.Sleep(time.Second)
			bob.expect(t, "refreshed; ended: (481 Call/Transaction Does Not Exist)")
			p.send(p.request(n, "SUBSCRIBE", 3).Add(sip.HEvent, "reg"))
			p.await("481")
		})
	})
	t.Run("silence", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			bob := w.notifier(3600)
			p := w.peer(aliceAddr, bobAddr)
			p.send(p.raw("SUBSCRIBE", 1, "s1", "<sip:a@x>;tag=a", "<sip:b@x>").Add(sip.HEvent, "reg"))
			p.await("200")
			var err error
			bob.on(func() {
				for err == nil {
					err = bob.n.Notify(reginfo("more"))
				}
			})
			if !errors.Is(err, dialog.ErrBusy) {
				t.Errorf("queueing without end: %v", err)
			}
			time.Sleep(40 * time.Second)
			bob.expect(t, "ended: (408 (transaction: no answer in time))")
		})
	})
	t.Run("Retry-After", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			bob := w.notifier(3600)
			p := w.peer(aliceAddr, bobAddr)
			p.send(p.raw("SUBSCRIBE", 1, "s1", "<sip:a@x>;tag=a", "<sip:b@x>").Add(sip.HEvent, "reg"))
			n := p.await("NOTIFY")
			p.send(p.response(n, 503, "").Add(sip.HRetryAfter, "20"))
			again := p.await("NOTIFY")
			if again.Body() != "full" {
				t.Errorf("again: %q", again.Body())
			}
			p.send(p.response(again, 200, ""))
			bob.expect(t, "")
		})
	})
}

// What the subscriber's side does with a notifier that misbehaves.
func TestSubscriberSide(t *testing.T) {
	sub := func(t *testing.T, f func(t *testing.T, w *world, alice *subscriber, p *peer, m *sip.Message)) {
		bubble(t, func(t *testing.T, w *world) {
			p := w.peer(bobAddr, aliceAddr)
			alice := w.subscribe(3600)
			f(t, w, alice, p, p.await("SUBSCRIBE"))
		})
	}
	accept := func(p *peer, m *sip.Message) *sip.Message {
		b := p.response(m, 200, "b").Add(sip.HExpires, "3600")
		p.send(b)
		ok, _ := b.Message()
		return ok
	}
	t.Run("refused", func(t *testing.T) {
		sub(t, func(t *testing.T, _ *world, alice *subscriber, p *peer, m *sip.Message) {
			p.send(p.response(m, 403, "b"))
			time.Sleep(time.Second)
			alice.expect(t, "ended: (403 Forbidden)")
		})
	})
	t.Run("423 raises Expires", func(t *testing.T) {
		sub(t, func(t *testing.T, _ *world, alice *subscriber, p *peer, m *sip.Message) {
			p.send(p.response(m, 423, "b").Add(sip.HMinExpires, "7200"))
			if got := p.await("SUBSCRIBE").Get(sip.HExpires); got != "7200" {
				t.Errorf("asked for %s s", got)
			}
			alice.expect(t, "")
		})
	})
	t.Run("no NOTIFY", func(t *testing.T) {
		sub(t, func(t *testing.T, _ *world, alice *subscriber, p *peer, m *sip.Message) {
			accept(p, m)
			time.Sleep(33 * time.Second)
			alice.expect(t, "ended: ("+dialog.ErrNoNotify.Error()+")")
		})
	})
	t.Run("NOTIFYs that do not fit", func(t *testing.T) {
		sub(t, func(t *testing.T, _ *world, alice *subscriber, p *peer, m *sip.Message) {
			ok := accept(p, m)
			for i, c := range []struct{ event, state, want string }{
				{"presence", "active", "481"},
				{"reg", "", "400"},
				{"reg", "active;expires=100", "200"},
			} {
				b := p.raw("NOTIFY", uint32(5+i), ok.CallID(), ok.Get(sip.HTo), ok.Get(sip.HFrom)).Add(sip.HEvent, c.event)
				if c.state != "" {
					b.Add(sip.HSubscriptionState, c.state)
				}
				p.send(b)
				if got := p.next(); got.StartLine()[8:11] != c.want {
					t.Errorf("%+v: %s", c, got.StartLine())
				}
			}
			stranger := p.raw("NOTIFY", 9, ok.CallID(), "<sip:bob@home1.net>;tag=other", ok.Get(sip.HFrom)).
				Add(sip.HEvent, "reg").Add(sip.HSubscriptionState, "active")
			p.send(stranger)
			p.await("481")
			// The NOTIFY has shortened it: refresh at half of 100 s. It fails, and
			// the subscription goes on until it expires.
			start := time.Now()
			re := p.await("SUBSCRIBE")
			if d := time.Since(start); d < 49*time.Second || d > 51*time.Second {
				t.Errorf("refreshed after %v", d)
			}
			p.send(p.response(re, 500, ""))
			time.Sleep(45 * time.Second)
			alice.expect(t, "active ")
			time.Sleep(10 * time.Second)
			alice.expect(t, "ended: ("+dialog.ErrExpired.Error()+")")
		})
	})
	t.Run("481 to a refresh", func(t *testing.T) {
		sub(t, func(t *testing.T, _ *world, alice *subscriber, p *peer, m *sip.Message) {
			ok := accept(p, m)
			p.send(p.raw("NOTIFY", 5, ok.CallID(), ok.Get(sip.HTo), ok.Get(sip.HFrom)).
				Add(sip.HEvent, "reg").Add(sip.HSubscriptionState, "active;expires=3600"))
			p.await("200")
			alice.on(func() { must(t, alice.s.Refresh()) })
			p.send(p.response(p.await("SUBSCRIBE"), 481, ""))
			time.Sleep(time.Second)
			alice.expect(t, "active ; ended: (481 Call/Transaction Does Not Exist)")
		})
	})
}

func TestSubscriptionLapses(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.notifier(3600)
		alice := w.subscribe(600000)
		time.Sleep(time.Second)
		w.expect("subscribing", `
			A SUBSCRIBE 1
			B 200 1 SUBSCRIBE
			B NOTIFY 1 [full] active;expires=3600
			A 200 1 NOTIFY`)
		alice.on(alice.s.Lapse)
		bob.on(func() { must(t, bob.n.Notify(reginfo("two"))) })
		time.Sleep(time.Second)
		w.expect("what still comes is answered", `
			B NOTIFY 2 [two] active;expires=3600
			A 200 2 NOTIFY`)
		time.Sleep(2 * time.Hour)
		w.expect("nothing is sent, and in the end nothing is left", `
			B NOTIFY 3 [last] terminated;reason=timeout
			A 481 3 NOTIFY`)
		alice.expect(t, "active full; active two; ended: ("+dialog.ErrNoNotify.Error()+")")
		if n := alice.agent.Dialogs(); n != 0 {
			t.Errorf("%d dialogs are left", n)
		}
	})
}
