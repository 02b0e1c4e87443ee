package dialog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// telling is a Bob whose NOTIFYs say what state does.
func (w *world) telling(state func(part int) (string, bool)) *notifier {
	bob := &notifier{}
	bob.agent = w.agent(bobAddr, dialog.Config{Request: func(in *dialog.Incoming) {
		n, err := bob.agent.AcceptSubscription(in, 3600, dialog.NotifierEvents{
			State: func(_ *dialog.Notifier, part int) (dialog.Part, bool) {
				body, more := state(part)
				return reginfo(body), more
			},
			Ended: func(_ *dialog.Notifier, e dialog.SubscriptionEnd) { bob.add("ended: %s%s", e.Reason, ending(e)) },
		})
		if err != nil {
			bob.add("%v", err)
			return
		}
		bob.n = n
		_ = n.Changed()
	}})
	return bob
}

// subscribe subscribes to reg and returns the first NOTIFY.
func (p *peer) subscribe() *sip.Message {
	p.w.t.Helper()
	p.send(p.raw("SUBSCRIBE", 1, "s1", "<sip:a@x>;tag=a", "<sip:b@x>").Add(sip.HEvent, "reg"))
	p.await("200")
	return p.await("NOTIFY")
}

// putOff asks for a NOTIFY in a week.
func (p *peer) putOff(n *sip.Message) {
	p.w.t.Helper()
	p.send(p.response(n, 500, "").Add(sip.HRetryAfter, "599000"))
}

// However many changes there are while a NOTIFY is not answered, the newest state is told,
// and nothing else waits.
func TestNewestStateIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		state := 0
		bob := w.telling(func(int) (string, bool) { return fmt.Sprint(state), false })
		p := w.peer(aliceAddr, bobAddr)
		n := p.subscribe()
		bob.on(func() {
			for range 33 {
				state++
				must(t, bob.n.Changed())
			}
		})
		p.send(p.response(n, 200, ""))
		p.send(p.response(p.await("NOTIFY"), 200, ""))
		time.Sleep(time.Second)
		w.expect("33 changes", `
			A SUBSCRIBE 1
			B 200 1 SUBSCRIBE
			B NOTIFY 1 [0] active;expires=3600
			A 200 1 NOTIFY
			B NOTIFY 2 [33] active;expires=3600
			A 200 2 NOTIFY`)
		bob.on(func() { state++; must(t, bob.n.Changed()) })
		if n := p.await("NOTIFY"); n.Body() != "34" {
			t.Errorf("a further change is told as %q", n.Body())
		}
	})
}

// A subscriber may put a NOTIFY off for 64·T1, whatever it asks for, and the end of the
// subscription no longer than that.
func TestHowLongNotifyIsPutOff(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.telling(func(int) (string, bool) { return "state", false })
		p := w.peer(aliceAddr, bobAddr)
		start := time.Now()
		p.putOff(p.subscribe())
		n := p.await("NOTIFY")
		if d := time.Since(start); d < 32*time.Second || d > 33*time.Second {
			t.Errorf("tried again after %v", d)
		}
		p.send(p.response(n, 200, ""))

		bob.on(func() { must(t, bob.n.Changed()) })
		p.putOff(p.await("NOTIFY"))
		time.Sleep(time.Second)
		start = time.Now()
		bob.on(func() {
			must(t, bob.n.Changed())
			bob.n.Conclude("noresource", 0)
		})
		w.said()
		p.putOff(p.await("NOTIFY"))
		p.putOff(p.await("NOTIFY"))
		time.Sleep(time.Second)
		if d := time.Since(start); d > 34*time.Second {
			t.Errorf("ended after %v", d)
		}
		w.expect("the end", `
			B NOTIFY 4 [state] active;expires=1
			A 500 4 NOTIFY
			B NOTIFY 5 [state] terminated;reason=noresource
			A 500 5 NOTIFY`)
		bob.expect(t, "ended: noresource")
		if n := bob.agent.Dialogs(); n != 0 {
			t.Errorf("%d dialogs are left", n)
		}
	})
}

// A state that one NOTIFY does not take is told in several, the last of which ends the
// subscription.
func TestStateInParts(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.telling(func(part int) (string, bool) { return fmt.Sprint("part ", part), part < 2 })
		alice := w.subscribe(3600)
		time.Sleep(time.Second)
		alice.expect(t, "active part 0; active part 1; active part 2")
		bob.on(func() {
			must(t, bob.n.Changed()) // the first part is out when the end comes
			bob.n.Conclude("rejected", 0)
		})
		time.Sleep(time.Second)
		alice.expect(t, "active part 0; active part 1; active part 2; active part 0; active part 1; terminated part 2; ended: rejected")
		bob.expect(t, "ended: rejected")
	})
}

// A NOTIFY that is longer than a message may be ends the subscription, and the subscriber
// is told so.
func TestNotifyThatIsTooLong(t *testing.T) {
	for _, tt := range []struct {
		name  string
		send  func(n *dialog.Notifier, body dialog.Part)
		state string
		ended string
	}{
		{"one of many", func(n *dialog.Notifier, body dialog.Part) { _ = n.Notify(body) }, "terminated;reason=probation;retry-after=300", "probation"},
		{"the last", func(n *dialog.Notifier, body dialog.Part) { n.Terminate("rejected", 0, body) }, "terminated;reason=rejected", "rejected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				bob := w.notifier(3600)
				p := w.peer(aliceAddr, bobAddr)
				p.send(p.response(p.subscribe(), 200, ""))
				time.Sleep(time.Second)
				bob.on(func() { tt.send(bob.n, reginfo(strings.Repeat("x", sip.MaxMessage))) })
				n := p.await("NOTIFY")
				p.send(p.response(n, 200, ""))
				time.Sleep(time.Second)
				if got := n.Get(sip.HSubscriptionState); got != tt.state || n.Body() != "" {
					t.Errorf("%s with %d octets", got, len(n.Body()))
				}
				bob.expect(t, "ended: "+tt.ended+"(writing a request: "+sip.ErrTooLarge.Error()+")")
			})
		})
	}
}
