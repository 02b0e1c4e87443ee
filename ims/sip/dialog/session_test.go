package dialog_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// callee is a Bob that keeps its session for the test to steer.
type callee struct {
	notes
	s  *dialog.Session
	in *dialog.Incoming // the last request within the call
}

func (c *callee) events(answerRequests bool) dialog.SessionEvents {
	return dialog.SessionEvents{
		Confirmed: func(*dialog.Session, *sip.Message) { c.add("confirmed") },
		Acked:     func(*dialog.Session, *sip.Message) { c.add("acked") },
		Request: func(_ *dialog.Session, in *dialog.Incoming) {
			c.in = in
			c.add("%s", in.Req.Method())
			if answerRequests {
				in.Reply(200, "", sdp("answer"))
			}
		},
		Ended: func(_ *dialog.Session, e dialog.SessionEnd) {
			c.add("ended: %v", e.Cause)
			if e.Err != nil {
				c.add("%v", e.Err)
			}
		},
	}
}

// on runs f on the session's shard.
func (c *callee) on(f func()) {
	synctest.Wait()
	onShard(c.s.Post, f)
}

func (w *world) callee(answerRequests bool) *callee {
	c := &callee{}
	var a *dialog.Agent
	a = w.agent(bobAddr, dialog.Config{Request: func(in *dialog.Incoming) {
		if in.Req.Method() != "INVITE" {
			in.Reply(405, "", dialog.Part{})
			return
		}
		s, err := a.Accept(in, c.events(answerRequests))
		if err != nil {
			w.t.Error(err)
			return
		}
		c.s = s
	}})
	return c
}

// caller is an Alice that notes what happens.
type caller struct {
	notes
	agent *dialog.Agent
	inv   *dialog.Invitation
	s     *dialog.Session // confirmed, or the last with progress
}

// on runs f on the session's shard.
func (c *caller) on(f func()) {
	synctest.Wait()
	onShard(c.s.Post, f)
}

func (w *world) caller() *caller { return &caller{agent: w.agent(aliceAddr, dialog.Config{})} }

func (c *caller) events() dialog.InviteEvents {
	return dialog.InviteEvents{
		SessionEvents: dialog.SessionEvents{
			Progress: func(s *dialog.Session, m *sip.Message) { c.s = s; c.add("%d", m.Status()) },
			Pracked: func(_ *dialog.Session, m *sip.Message, o dialog.Outcome) {
				c.add("PRACK for %d: %d", m.Status(), o.Status)
			},
			Confirmed: func(s *dialog.Session, m *sip.Message) { c.s = s; c.add("confirmed") },
			Request: func(_ *dialog.Session, in *dialog.Incoming) {
				c.add("%s", in.Req.Method())
				in.Reply(200, "", sdp("answer"))
			},
			Ended: func(_ *dialog.Session, e dialog.SessionEnd) { c.add("ended: %v", e.Cause) },
		},
		Failed: func(_ *dialog.Invitation, o dialog.Outcome) { c.add("failed: %v", o) },
	}
}

func (c *caller) invite(t *testing.T, r *dialog.Request) {
	t.Helper()
	inv, err := c.agent.Invite(r, c.events())
	if err != nil {
		t.Fatal(err)
	}
	c.inv = inv
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A VoLTE call with preconditions: 183 and 180 reliable, UPDATE between them, hold
// by re-INVITE, BYE from the callee.
func TestCallWithPreconditions(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.callee(true)
		alice := w.caller()
		alice.invite(t, invite())
		time.Sleep(time.Second)
		bob.on(func() { must(t, bob.s.Progress(183, "", true, sdp("answer"))) })
		time.Sleep(time.Second)
		w.expect("early media", `
			A INVITE 1 [offer]
			B 183 1 INVITE rel [answer]
			A PRACK 2
			B 200 2 PRACK`)
		alice.expect(t, "183; PRACK for 183: 200")

		alice.on(func() {
			must(t, alice.s.Update(sdp("offer2"), nil, func(o dialog.Outcome) { alice.add("UPDATE: %d", o.Status) }))
		})
		time.Sleep(time.Second)
		bob.on(func() {
			must(t, bob.s.Progress(180, "", true, dialog.Part{}))
			// The answer waits for the PRACK (RFC 3262 3).
			must(t, bob.s.Answer(dialog.Part{}))
		})
		time.Sleep(time.Second)
		w.expect("ringing and answer", `
			A UPDATE 3 [offer2]
			B 200 3 UPDATE [answer]
			B 180 1 INVITE rel
			A PRACK 4
			B 200 4 PRACK
			B 200 1 INVITE
			A ACK 1`)
		alice.expect(t, "UPDATE: 200; 180; PRACK for 180: 200; confirmed")
		bob.expect(t, "UPDATE; confirmed")

		alice.on(func() {
			must(t, alice.s.Reinvite(sdp("hold"), nil, func(o dialog.Outcome) { alice.add("hold: %d", o.Status) }))
		})
		time.Sleep(time.Second)
		bob.on(func() { must(t, bob.s.Hangup()) })
		time.Sleep(time.Second)
		w.expect("hold and end", `
			A INVITE 5 [hold]
			B 200 5 INVITE [answer]
			A ACK 5
			B BYE 1
			A 200 1 BYE`)
		alice.expect(t, "hold: 200; ended: the peer hung up")
		bob.expect(t, "INVITE; acked; ended: we hung up")
		if n := alice.agent.Dialogs(); n != 0 {
			t.Errorf("%d dialogs are left", n)
		}
	})
}

// Everything that the dialog layer sends again, it sends until it is
// acknowledged: a reliable 180, the 200; and the ACK for each 200.
func TestRetransmission(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.callee(true)
		alice := w.caller()
		lost := map[string]int{"180 INVITE": 2, "200 INVITE": 1, "ACK": 2}
		w.drop(func(_ netip.AddrPort, m *sip.Message) bool {
			k := m.Method()
			if !m.IsRequest() {
				c, _ := m.CSeq()
				k = strings.Join([]string{strings.Fields(m.StartLine())[1], c.Method}, " ")
			}
			lost[k]--
			return lost[k] >= 0
		})
		alice.invite(t, invite())
		time.Sleep(time.Second)
		bob.on(func() { must(t, bob.s.Progress(180, "", true, dialog.Part{})) })
		time.Sleep(5 * time.Second)
		bob.on(func() { must(t, bob.s.Answer(sdp("answer"))) })
		time.Sleep(40 * time.Second)
		w.expect("losses", `
			A INVITE 1 [offer]
			B 180 1 INVITE rel lost
			B 180 1 INVITE rel lost
			B 180 1 INVITE rel
			A PRACK 2
			B 200 2 PRACK
			B 200 1 INVITE [answer] lost
			B 200 1 INVITE [answer]
			A ACK 1 lost
			B 200 1 INVITE [answer]
			A ACK 1 lost
			B 200 1 INVITE [answer]
			A ACK 1`)
		alice.expect(t, "180; PRACK for 180: 200; confirmed")
		bob.expect(t, "confirmed")
	})
}

func TestNoAckReleases(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.callee(true)
		p := w.peer(aliceAddr, bobAddr)
		p.send(p.raw("INVITE", 7, "c1", "<sip:a@x>;tag=a", "<sip:b@x>"))
		time.Sleep(time.Second)
		bob.on(func() { must(t, bob.s.Answer(sdp("answer"))) })
		first := time.Now()
		p.await("200")
		bye := p.await("BYE")
		if d := time.Since(first); d < 32*time.Second || d > 33*time.Second {
			t.Errorf("BYE after %v, want 64·T1", d)
		}
		p.send(p.response(bye, 200, ""))
		bob.expect(t, "ended: the peer is lost; "+dialog.ErrNoAck.Error())
	})
}

// A re-INVITE that overtakes the ACK shows that the caller has the 2xx (RFC 5407
// 3.1.4), unless the ACK was to bring an answer.
func TestReinviteOvertakesAck(t *testing.T) {
	for _, c := range []struct {
		name, offer string
		want        int
	}{
		{"offer in the INVITE", "v=0", 200},
		{"offer in the 2xx", "", 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				bob := w.callee(true)
				p := w.peer(aliceAddr, bobAddr)
				inv := p.raw("INVITE", 7, "c1", "<sip:a@x>;tag=a", "<sip:b@x>")
				if c.offer != "" {
					inv.Body("application/sdp", c.offer)
				}
				p.send(inv)
				time.Sleep(time.Second)
				bob.on(func() { must(t, bob.s.Answer(sdp("answer"))) })
				ok := p.await("200")
				p.send(p.request(ok, "INVITE", 8).Body("application/sdp", "v=1"))
				for { // past retransmissions of the first 200
					got := p.next()
					if cs, _ := got.CSeq(); cs.Seq == 8 && got.Status() >= 200 {
						if got.Status() != c.want {
							t.Errorf("the re-INVITE got %s", got.StartLine())
						}
						break
					}
				}
				if bob.s.Confirmed() != (c.offer != "") {
					t.Errorf("confirmed: %v", bob.s.Confirmed())
				}
			})
		})
	}
}

func TestNoPrackRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.callee(true)
		p := w.peer(aliceAddr, bobAddr)
		p.send(p.raw("INVITE", 7, "c1", "<sip:a@x>;tag=a", "<sip:b@x>").Add(sip.HRequire, "100rel"))
		time.Sleep(time.Second)
		// The caller requires it, so a plain 180 is reliable too.
		bob.on(func() { must(t, bob.s.Progress(180, "", false, dialog.Part{})) })
		m := p.await("180")
		if !m.HasOption(sip.HRequire, "100rel") || !m.Has(sip.HRSeq) {
			t.Errorf("not reliable:\n%s", m.Raw())
		}
		p.await("504")
		bob.expect(t, "ended: we rejected it; "+dialog.ErrNoPrack.Error())
	})
}

// What a PRACK must match, and what requests out of order get.
func TestRequestsOutOfPlace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.callee(true)
		p := w.peer(aliceAddr, bobAddr)
		p.send(p.raw("INVITE", 7, "c1", "<sip:a@x>;tag=a", "<sip:b@x>").Add(sip.HSupported, "100rel"))
		time.Sleep(time.Second)
		bob.on(func() { must(t, bob.s.Progress(183, "", true, sdp("answer"))) })
		m := p.await("183")
		rseq := m.Get(sip.HRSeq)
		for _, c := range []struct {
			name, method string
			cseq         uint32
			id           sip.ID
			value, want  string
		}{
			{"PRACK of another RSeq", "PRACK", 8, sip.HRAck, "9 7 INVITE", "481"},
			{"PRACK of another INVITE", "PRACK", 9, sip.HRAck, rseq + " 6 INVITE", "481"},
			{"PRACK without RAck", "PRACK", 10, sip.HSubject, "x", "400"},
			{"PRACK", "PRACK", 11, sip.HRAck, rseq + " 7 INVITE", "200"},
			{"PRACK again", "PRACK", 12, sip.HRAck, rseq + " 7 INVITE", "481"},
			{"lower CSeq", "UPDATE", 11, sip.HSubject, "x", "500"},
			{"unknown option", "UPDATE", 13, sip.HRequire, "100rel, nonsense", "420"},
		} {
			p.send(p.request(m, c.method, c.cseq).Add(c.id, c.value))
			got := p.next()
			if got.StartLine()[8:11] != c.want {
				t.Errorf("%s: %s, want %s", c.name, got.StartLine(), c.want)
			}
			if c.want == "420" && got.Get(sip.HUnsupported) != "nonsense" {
				t.Errorf("%s: Unsupported: %q", c.name, got.Get(sip.HUnsupported))
			}
		}
		p.send(p.raw("BYE", 20, "nowhere", "<sip:a@x>;tag=a", "<sip:b@x>;tag=b"))
		if got := p.next(); got.Status() != 481 {
			t.Errorf("BYE for nothing: %s", got.StartLine())
		}
		p.send(p.raw("INVITE", 7, "c1", "<sip:a@x>;tag=a", "<sip:b@x>"))
		if got := p.next(); got.Status() != 482 {
			t.Errorf("the INVITE by another way: %s", got.StartLine())
		}
	})
}

// Reliable responses that jump, come again or come without RSeq get no PRACK.
func TestReliableOrderAtCaller(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.caller()
		p := w.peer(bobAddr, aliceAddr)
		alice.invite(t, invite())
		inv := p.await("INVITE")
		send := func(status int, rseq string) {
			b := p.response(inv, status, "b").Add(sip.HRequire, "100rel")
			if rseq != "" {
				b.Add(sip.HRSeq, rseq)
			}
			p.send(b)
			time.Sleep(100 * time.Millisecond)
		}
		send(183, "10")
		prack := p.await("PRACK")
		if got := prack.Get(sip.HRAck); got != "10 1 INVITE" {
			t.Errorf("RAck: %s", got)
		}
		p.send(p.response(prack, 200, ""))
		send(180, "12") // 11 is still missing
		send(183, "10") // again
		send(180, "")
		alice.expect(t, "183; PRACK for 183: 200")
		send(180, "11")
		if got := p.await("PRACK").Get(sip.HRAck); got != "11 1 INVITE" {
			t.Errorf("RAck: %s", got)
		}
		alice.expect(t, "180")
	})
}

// Two callees answer: the first wins, the second is acknowledged and released.
func TestForkedAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.caller()
		p := w.peer(bobAddr, aliceAddr)
		alice.invite(t, invite())
		inv := p.await("INVITE")
		p.send(p.response(inv, 180, "one"))
		p.send(p.response(inv, 180, "two"))
		time.Sleep(time.Second)
		alice.expect(t, "180; 180")
		p.send(p.response(inv, 200, "one"))
		if ack := p.await("ACK"); ack.ToTag() != "one" {
			t.Errorf("ACK to %s", ack.ToTag())
		}
		alice.expect(t, "ended: another device answered; confirmed")
		p.send(p.response(inv, 200, "two"))
		if ack := p.await("ACK"); ack.ToTag() != "two" {
			t.Errorf("ACK to %s", ack.ToTag())
		}
		bye := p.await("BYE")
		if c, _ := bye.CSeq(); bye.ToTag() != "two" || c.Seq != 2 {
			t.Errorf("released:\n%s", bye.Raw())
		}
		p.send(p.response(bye, 200, ""))
		p.send(p.response(inv, 200, "two")) // again: ACK, no second BYE
		p.await("ACK")
		w.said()
		time.Sleep(10 * time.Second)
		w.expect("afterwards", "")
		alice.expect(t, "")
	})
}

func TestCancel(t *testing.T) {
	t.Run("while ringing", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			bob := w.callee(true)
			alice := w.caller()
			alice.invite(t, invite())
			time.Sleep(time.Second)
			bob.on(func() { must(t, bob.s.Progress(180, "", false, dialog.Part{})) })
			time.Sleep(time.Second)
			onShard(alice.inv.Post, func() { alice.inv.Cancel() })
			time.Sleep(time.Second)
			w.expect("cancel", `
				A INVITE 1 [offer]
				B 180 1 INVITE
				A CANCEL 1
				B 200 1 CANCEL
				B 487 1 INVITE
				A ACK 1`)
			alice.expect(t, "180; ended: the INVITE failed; failed: 487 Request Terminated")
			bob.expect(t, "ended: the caller gave up")
			bob.on(func() {
				if err := bob.s.Answer(sdp("answer")); !errors.Is(err, dialog.ErrState) {
					t.Errorf("answering after CANCEL: %v", err)
				}
			})
		})
	})
	t.Run("crossed by 200", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			bob := w.callee(true)
			alice := w.caller()
			alice.invite(t, invite())
			time.Sleep(time.Second)
			bob.on(func() { must(t, bob.s.Answer(sdp("answer"))) })
			time.Sleep(5 * time.Millisecond)
			onShard(alice.inv.Post, func() { alice.inv.Cancel() })
			time.Sleep(time.Second)
			w.expect("crossing", `
				A INVITE 1 [offer]
				B 200 1 INVITE [answer]
				A CANCEL 1
				A ACK 1
				A BYE 2
				B 200 1 CANCEL
				B 200 2 BYE`)
			alice.expect(t, "failed: 200 ("+dialog.ErrCancelled.Error()+")")
			bob.expect(t, "confirmed; ended: the peer hung up")
		})
	})
	t.Run("before any response", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			alice := w.caller()
			p := w.peer(bobAddr, aliceAddr)
			alice.invite(t, invite())
			inv := p.await("INVITE")
			onShard(alice.inv.Post, func() { alice.inv.Cancel() })
			p.send(p.response(inv, 180, "b"))
			p.await("CANCEL") // not before the 180
			alice.expect(t, "")
		})
	})
}

// Both sides offer at once: both get 491 and try again, the owner of the Call-ID
// later.
func TestGlare(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.call()
		alice.on(func() {
			must(t, alice.s.Reinvite(sdp("from A"), nil, func(o dialog.Outcome) { alice.add("re-INVITE: %d", o.Status) }))
			if err := alice.s.Update(sdp("x"), nil, nil); !errors.Is(err, dialog.ErrPending) {
				t.Errorf("a second offer: %v", err)
			}
		})
		time.Sleep(time.Millisecond)
		bob.on(func() {
			must(t, bob.s.Reinvite(sdp("from B"), nil, func(o dialog.Outcome) { bob.add("re-INVITE: %d", o.Status) }))
		})
		time.Sleep(10 * time.Second)
		w.expect("glare", `
			A INVITE 2 [from A]
			B INVITE 1 [from B]
			B 491 2 INVITE
			A 491 1 INVITE
			A ACK 2
			B ACK 1
			B INVITE 2 [from B]
			A 200 2 INVITE [answer]
			B ACK 2
			A INVITE 3 [from A]
			B 200 3 INVITE [answer]
			A ACK 3`)
		alice.expect(t, "INVITE; re-INVITE: 200")
		bob.expect(t, "re-INVITE: 200; INVITE; acked")
	})
}

// call sets up a call between Alice and Bob.
func (w *world) call() (*caller, *callee) {
	w.t.Helper()
	bob := w.callee(true)
	alice := w.caller()
	alice.invite(w.t, invite())
	time.Sleep(time.Second)
	bob.on(func() { must(w.t, bob.s.Answer(sdp("answer"))) })
	time.Sleep(time.Second)
	alice.expect(w.t, "confirmed")
	bob.expect(w.t, "confirmed")
	w.said()
	return alice, bob
}

// A request that the peer knows nothing of any more ends the call.
func TestPeerLost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, _ := w.call()
		w.drop(func(from netip.AddrPort, m *sip.Message) bool { return from == bobAddr })
		alice.on(func() { must(t, alice.s.Do("INFO", dialog.Part{}, nil, nil)) })
		time.Sleep(33 * time.Second)
		alice.expect(t, "ended: the peer is lost")
	})
}

// A callee that hangs up before the ACK sends BYE after it (RFC 3261 15).
func TestByeWaitsForAck(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.callee(true)
		p := w.peer(aliceAddr, bobAddr)
		p.send(p.raw("INVITE", 7, "c1", "<sip:a@x>;tag=a", "<sip:b@x>"))
		time.Sleep(time.Second)
		bob.on(func() {
			must(t, bob.s.Answer(sdp("answer")))
			must(t, bob.s.Hangup())
		})
		ok := p.await("200")
		time.Sleep(200 * time.Millisecond)
		w.expect("before the ACK", "A INVITE 7\nB 200 7 INVITE [answer]")
		p.send(p.request(ok, "ACK", 7))
		p.await("BYE")
	})
}

// An unanswered call goes on ringing for longer than Timer C, and says so.
func TestLongRinging(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.callee(true)
		alice := w.caller()
		alice.invite(t, invite())
		time.Sleep(time.Second)
		bob.on(func() { must(t, bob.s.Progress(180, "", false, dialog.Part{})) })
		time.Sleep(200 * time.Second)
		alice.expect(t, "180; 180; 180; 180")
		bob.on(func() { must(t, bob.s.Reject(486, "")) })
		alice.expect(t, "")
		time.Sleep(time.Second)
		alice.expect(t, "ended: the INVITE failed; failed: 486 Busy Here")
	})
}

// A To that ends with a semicolon, as some phones send it, is the same in the answer and in
// what the callee asks for: with a tag, and no empty parameter.
func TestToWithASemicolon(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.callee(true)
		p := w.peer(aliceAddr, bobAddr)
		p.send(p.raw("INVITE", 1, "semicolon", "<sip:alice@home1.net>;tag=a", "<sip:bob@home1.net>;"))
		time.Sleep(time.Second)
		bob.on(func() { must(t, bob.s.Answer(sdp("answer"))) })
		ok := p.await("200")
		p.send(p.request(ok, "ACK", 1))
		bob.on(func() { must(t, bob.s.Hangup()) })
		bye := p.await("BYE")
		if from := bye.Get(sip.HFrom); from != ok.Get(sip.HTo) || strings.Contains(from, ";;") {
			t.Errorf("BYE from %q, answered as %q", from, ok.Get(sip.HTo))
		}
		p.send(p.response(bye, 200, ""))
	})
}
