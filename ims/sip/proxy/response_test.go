package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// cancel is the CANCEL of an INVITE.
func cancel(invite string, more string) string {
	c := strings.Replace(invite, "INVITE ", "CANCEL ", 1)
	c = strings.Replace(c, "CSeq: 1 INVITE\r\n", "CSeq: 1 CANCEL\r\n"+more, 1)
	return c
}

// forkTo is a fork of INVITEs to two, in parallel.
var forkTo = to("192.0.2.20:5060", "192.0.2.21:5060")

// trio runs a script with a caller and two callees.
func trio(t *testing.T, h Handler, f func(w *world, a, b, c *peer), configure ...func(*Config)) {
	t.Helper()
	run(t, h, func(w *world) {
		a, b, c := w.peer("alice", "192.0.2.10", true), w.peer("bob", "192.0.2.20", true), w.peer("carol", "192.0.2.21", true)
		defer a.close()
		defer b.close()
		defer c.close()
		f(w, a, b, c)
		w.quiet()
	}, configure...)
}

func TestForkedResponses(t *testing.T) {
	conformance.Shows(t, "TR-14")
	for _, tt := range []struct {
		name    string
		b, c    int
		want    int
		wantBy  string // whose response it is, "" for our own
		onlyOne bool   // c has not answered when b does, and gets a CANCEL
	}{
		{"lowest class", 486, 302, 302, "carol", false},
		{"4xx before 5xx", 500, 404, 404, "carol", false},
		{"what the caller can mend", 486, 415, 415, "carol", false},
		{"503 is not passed on", 503, 503, 500, "bob", false},
		{"503 is the last choice", 503, 500, 500, "carol", false},
		{"6xx wins and cancels", 603, 0, 603, "bob", true},
		{"6xx before 3xx", 302, 600, 600, "carol", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trio(t, forkTo, func(w *world, a, b, c *peer) {
				invite := a.text("INVITE", "sip:bob@test", "c1")
				a.send(invite)
				mb, mc := b.request("INVITE"), c.request("INVITE")
				c.answer(mc, 180)
				a.status(180)
				answered := b.answer(mb, tt.b, sip.Field{ID: sip.HRetryAfter, Value: "7"})
				b.request("ACK")
				if tt.onlyOne {
					cm := c.request("CANCEL")
					a.nothing(time.Second) // not before all have answered (RFC 3261 16.7 step 5)
					c.answer(cm, 200)
					c.answer(mc, 487)
				} else {
					a.nothing(time.Second)
					answered = c.answer(mc, tt.c)
				}
				c.request("ACK")
				m := a.status(tt.want)
				a.ack(invite, m)
				want := answered.ToTag()
				if tt.wantBy != "" {
					want = tt.wantBy
				}
				check(t, "To tag", m.ToTag(), want)
				if tt.want == 500 {
					check(t, "Retry-After", m.Get(sip.HRetryAfter), "")
				}
				check(t, "Vias", len(slices.Collect(m.Values(sip.HVia))), 1)
				b.nothing(time.Minute)
				c.nothing(time.Minute)
			})
		})
	}
	t.Run("2xx at once, others cancelled", func(t *testing.T) {
		trio(t, forkTo, func(w *world, a, b, c *peer) {
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			mb, mc := b.request("INVITE"), c.request("INVITE")
			b.answer(mb, 180)
			check(t, "To tag", a.status(180).ToTag(), "bob")
			c.answer(mc, 183)
			check(t, "To tag", a.status(183).ToTag(), "carol")
			c.answer(mc, 200)
			ok := a.status(200)
			check(t, "To tag", ok.ToTag(), "carol")
			bc := b.request("CANCEL")
			b.answer(bc, 200)
			b.answer(mb, 487)
			b.request("ACK")
			c.nothing(time.Second)
			a.nothing(time.Minute)
		})
	})
	t.Run("a second 2xx is forwarded", func(t *testing.T) {
		trio(t, forkTo, func(w *world, a, b, c *peer) {
			a.send(a.text("INVITE", "sip:bob@test", "c1"))
			mb, mc := b.request("INVITE"), c.request("INVITE")
			b.answer(mb, 200)
			c.answer(mc, 200)
			tags := []string{a.status(200).ToTag(), a.status(200).ToTag()}
			slices.Sort(tags)
			check(t, "To tags", strings.Join(tags, " "), "bob carol")
		})
	})
	t.Run("only the first 2xx to another request", func(t *testing.T) {
		trio(t, forkTo, func(w *world, a, b, c *peer) {
			a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
			mb, mc := b.request("MESSAGE"), c.request("MESSAGE")
			b.answer(mb, 200)
			check(t, "To tag", a.status(200).ToTag(), "bob")
			c.answer(mc, 200)
			a.nothing(time.Minute)
		})
	})
	t.Run("challenges are merged", func(t *testing.T) {
		trio(t, forkTo, func(w *world, a, b, c *peer) {
			a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
			mb, mc := b.request("MESSAGE"), c.request("MESSAGE")
			b.answer(mb, 401, sip.Field{ID: sip.HWWWAuthenticate, Value: `Digest realm="b", nonce="1"`})
			c.answer(mc, 407, sip.Field{ID: sip.HProxyAuthenticate, Value: `Digest realm="c", nonce="2"`},
				sip.Field{ID: sip.HProxyAuthenticate, Value: `Digest realm="d", nonce="3"`})
			m := a.status(401)
			check(t, "WWW-Authenticate", strings.Join(slices.Collect(m.Lines(sip.HWWWAuthenticate)), "|"), `Digest realm="b", nonce="1"`)
			check(t, "Proxy-Authenticate", strings.Join(slices.Collect(m.Lines(sip.HProxyAuthenticate)), "|"), `Digest realm="c", nonce="2"|Digest realm="d", nonce="3"`)
		})
	})
	// What the P-CSCF does with the 503 of all its next hops.
	t.Run("503 by the handler's will", func(t *testing.T) {
		h := handlerFunc(func(x *Exchange) {
			x.OnBest(func(best *Final) bool {
				if best.Status != 503 {
					return true
				}
				x.Reply(503, "", sip.Field{ID: sip.HRetryAfter, Value: "30"})
				return false
			})
			forkTo(x)
		})
		trio(t, h, func(w *world, a, b, c *peer) {
			a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
			b.answer(b.request("MESSAGE"), 503)
			c.answer(c.request("MESSAGE"), 503)
			m := a.status(503)
			check(t, "Retry-After", m.Get(sip.HRetryAfter), "30")
		})
	})
}

func TestCancel(t *testing.T) {
	conformance.Shows(t, "TR-15")
	t.Run("a ringing call", func(t *testing.T) {
		trio(t, forkTo, func(w *world, a, b, c *peer) {
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			mb, mc := b.request("INVITE"), c.request("INVITE")
			b.answer(mb, 180)
			c.answer(mc, 100)
			a.status(180)
			a.send(cancel(invite, "Reason: SIP;cause=200\r\n"))
			check(t, "CSeq", a.status(200).Get(sip.HCSeq), "1 CANCEL")
			for p, inv := range map[*peer]arrival{b: mb, c: mc} {
				cm := p.request("CANCEL")
				check(t, "Via", cm.msg.Get(sip.HVia), inv.msg.First(sip.HVia))
				check(t, "Vias", cm.msg.Count(sip.HVia), 1)
				check(t, "Reason", cm.msg.Get(sip.HReason), "SIP;cause=200")
				p.answer(cm, 200)
				p.answer(inv, 487)
				p.request("ACK")
			}
			m := a.status(487)
			check(t, "CSeq", m.Get(sip.HCSeq), "1 INVITE")
			a.ack(invite, m)
			a.nothing(time.Minute)
		})
	})
	t.Run("not before a provisional", func(t *testing.T) {
		trio(t, to("192.0.2.20:5060"), func(w *world, a, b, _ *peer) {
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			mb := b.request("INVITE")
			a.send(cancel(invite, ""))
			a.status(200)
			b.nothing(3 * time.Second)
			b.answer(mb, 180)
			a.status(180)
			b.answer(b.request("CANCEL"), 200)
			b.answer(mb, 487)
			b.request("ACK")
			a.ack(invite, a.status(487))
		})
	})
	t.Run("a callee that never answers", func(t *testing.T) {
		trio(t, to("192.0.2.20:5060"), func(w *world, a, b, _ *peer) {
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			mb := b.request("INVITE")
			b.answer(mb, 180)
			a.status(180)
			a.send(cancel(invite, ""))
			a.status(200)
			b.request("CANCEL")
			start := time.Now()
			a.ack(invite, a.status(487)) // 64·T1 after the CANCEL
			if d := time.Since(start).Round(time.Second); d != 32*time.Second {
				t.Errorf("487 after %v, want 32 s", d)
			}
		})
	})
	t.Run("a 200 that crosses wins", func(t *testing.T) {
		trio(t, to("192.0.2.20:5060"), func(w *world, a, b, _ *peer) {
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			mb := b.request("INVITE")
			b.answer(mb, 180)
			a.status(180)
			a.send(cancel(invite, ""))
			a.status(200)
			cm := b.request("CANCEL")
			b.answer(mb, 200)
			b.answer(cm, 200)
			ok := a.status(200)
			check(t, "CSeq", ok.Get(sip.HCSeq), "1 INVITE")
			a.nothing(time.Minute) // and no 487 after it
		})
	})
	t.Run("while the handler thinks", func(t *testing.T) {
		cancelled := 0
		h := handlerFunc(func(x *Exchange) {
			x.OnCancel(func() { cancelled++ })
			go func() {
				time.Sleep(5 * time.Second)
				x.Post(func() { x.Forward() })
			}()
		})
		trio(t, h, func(w *world, a, b, _ *peer) {
			invite := a.text("INVITE", "sip:bob@192.0.2.20", "c1")
			a.send(invite)
			a.status(100)
			a.send(cancel(invite, ""))
			check(t, "CSeq", a.status(200).Get(sip.HCSeq), "1 CANCEL")
			a.ack(invite, a.status(487))
			b.nothing(time.Minute)
			check(t, "OnCancel", cancelled, 1)
			check(t, "late", w.core.Stats().Late, uint64(1))
		})
	})
	t.Run("of nothing", func(t *testing.T) {
		trio(t, forkTo, func(w *world, a, b, _ *peer) {
			a.send(cancel(a.text("INVITE", "sip:bob@test", "c1"), ""))
			a.status(481)
		})
	})
}

// RFC 6026: what comes after the first 2xx.
func TestAccepted(t *testing.T) {
	conformance.Shows(t, "TR-12")
	h := handlerFunc(func(x *Exchange) {
		x.Forward(Target{Hop: Hop{Addr: netip.MustParseAddrPort("192.0.2.20:5060")}, RecordRoute: &Own{User: "dlg"}})
	})
	trio(t, h, func(w *world, a, b, _ *peer) {
		invite := a.text("INVITE", "sip:bob@test", "c1")
		a.send(invite)
		mb := b.request("INVITE")
		b.answer(mb, 180)
		a.status(180)
		b.answer(mb, 200)
		ok := a.status(200)

		// The callee repeats its 200 until the ACK comes; each copy is forwarded.
		a.repeats = true
		for range 3 {
			time.Sleep(4 * time.Second)
			b.answer(mb, 200)
			check(t, "again", a.status(200).Raw(), ok.Raw())
		}
		// The caller repeats its INVITE: absorbed.
		a.send(invite)
		b.nothing(time.Second)

		a.ack(invite, ok)
		ack := b.request("ACK")
		check(t, "Request-URI", ack.msg.RequestURI(), "sip:bob@192.0.2.20:5060")
		check(t, "Route", ack.msg.Get(sip.HRoute), "")
		check(t, "Vias", len(slices.Collect(ack.msg.Values(sip.HVia))), 2)
		check(t, "Max-Forwards", ack.msg.Get(sip.HMaxForwards), "69")

		// Long after the transactions have gone the ACK still finds its way, and a
		// copy of the 200 does not.
		time.Sleep(3 * time.Minute)
		st := w.core.Stats().Transaction
		check(t, "transactions", st.Servers+st.Clients, 0)
		a.ack(invite, ok)
		b.request("ACK")
		b.answer(mb, 200)
		a.repeats = false
		a.nothing(time.Minute)
		check(t, "strays", w.core.Stats().Strays, uint64(1))

		// An ACK that is for nobody behind us goes nowhere.
		a.send(a.text("ACK", "sip:192.0.2.1", "c2"))
		a.send(a.text("ACK", "sip:bob@192.0.2.20", "c3", "Max-Forwards: 0"))
		b.nothing(time.Minute)
		check(t, "dropped ACKs", w.core.Stats().DroppedACKs, uint64(2))
	})
}

// A final response that is for nobody behind us ends its branch, whatever it says.
func TestResponseForNobodyElse(t *testing.T) {
	for _, code := range []int{200, 486} {
		for _, method := range []string{"INVITE", "MESSAGE"} {
			t.Run(fmt.Sprintf("%d to %s", code, method), func(t *testing.T) {
				trio(t, to("192.0.2.20:5060"), func(w *world, a, b, _ *peer) {
					request := a.text(method, "sip:bob@test", "c1")
					a.send(request)
					in := b.request(method)
					m, err := sip.Parse(string(sip.NewResponse(in.msg, code, "", "b").Bytes()))
					if err != nil {
						t.Fatal(err)
					}
					first := m.First(sip.HVia)
					var e sip.Edits
					e.Remove(sip.HVia)
					e.Prepend(sip.HVia, first)
					b.reply(in, m.Edited(&e).Bytes())
					if final := a.status(502); method == "INVITE" {
						a.ack(request, final)
					}
					w.quiet()
					if n := w.core.Stats().BadResponses; n == 0 {
						t.Error("the response is not counted")
					}
				})
			})
		}
	}
}

func TestTimerC(t *testing.T) {
	conformance.Shows(t, "TR-13")
	const timerC = 200 * time.Second
	set := func(c *Config) { c.TimerC = timerC }
	const patience = 10 * time.Minute
	near := func(t *testing.T, what string, got, want time.Duration) {
		t.Helper()
		if got < want || got > want+time.Second {
			t.Errorf("%s after %v, want %v", what, got, want)
		}
	}
	t.Run("restarted by provisionals", func(t *testing.T) {
		trio(t, to("192.0.2.20:5060"), func(w *world, a, b, _ *peer) {
			a.limit, b.limit = patience, patience
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			mb := b.request("INVITE")
			b.answer(mb, 180)
			a.status(180)
			for _, code := range []int{181, 183, 180} {
				time.Sleep(150 * time.Second)
				b.answer(mb, code, sip.Field{ID: sip.HRSeq, Value: "1"})
				a.status(code)
			}
			start := time.Now()
			cm := b.request("CANCEL")
			near(t, "CANCEL", time.Since(start), timerC)
			b.answer(cm, 200)
			b.answer(mb, 487)
			b.request("ACK")
			a.ack(invite, a.status(408))
			check(t, "fired", w.core.Stats().TimerC, uint64(1))
		}, set)
	})
	t.Run("not for ever", func(t *testing.T) {
		const rings = 7 * time.Minute
		h := handlerFunc(func(x *Exchange) { x.Forward(Target{Hop: hop(bob), Ringing: rings}) })
		trio(t, h, func(w *world, a, b, _ *peer) {
			a.limit, b.limit = patience, patience
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			mb := b.request("INVITE")
			b.answer(mb, 100)
			time.Sleep(100 * time.Second)
			start := time.Now()
			for _, code := range []int{180, 181, 183, 182} {
				b.answer(mb, code, sip.Field{ID: sip.HRSeq, Value: "1"})
				a.status(code)
				time.Sleep(100 * time.Second)
			}
			cm := b.request("CANCEL")
			near(t, "CANCEL", time.Since(start), rings)
			b.answer(cm, 200)
			b.answer(mb, 487)
			a.ack(invite, a.status(408))
		}, set)
	})
	t.Run("not restarted by 100", func(t *testing.T) {
		trio(t, to("192.0.2.20:5060"), func(w *world, a, b, _ *peer) {
			a.limit, b.limit = patience, patience
			start := time.Now()
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			mb := b.request("INVITE")
			b.answer(mb, 100)
			time.Sleep(150 * time.Second)
			b.answer(mb, 100)
			b.request("CANCEL")
			near(t, "CANCEL", time.Since(start), timerC)
			start = time.Now()
			a.ack(invite, a.status(408)) // nothing came of it
			near(t, "408", time.Since(start), 32*time.Second)
		}, set)
	})
	t.Run("a 200 after it", func(t *testing.T) {
		trio(t, to("192.0.2.20:5060"), func(w *world, a, b, _ *peer) {
			a.limit, b.limit = patience, patience
			a.send(a.text("INVITE", "sip:bob@test", "c1"))
			mb := b.request("INVITE")
			b.answer(mb, 180)
			a.status(180)
			b.request("CANCEL")
			b.answer(mb, 200)
			a.status(200)
		}, set)
	})
	t.Run("Timer B comes before", func(t *testing.T) {
		trio(t, to("192.0.2.20:5060"), func(w *world, a, b, _ *peer) {
			a.limit, b.limit = patience, patience
			start := time.Now()
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			b.request("INVITE")
			a.ack(invite, a.status(408))
			near(t, "408", time.Since(start), 32*time.Second)
		}, set)
	})
	t.Run("no 408 to other requests", func(t *testing.T) {
		trio(t, to("192.0.2.20:5060"), func(w *world, a, b, _ *peer) {
			a.limit, b.limit = patience, patience
			a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
			b.request("MESSAGE")
			a.nothing(5 * time.Minute)
			a.send(a.text("MESSAGE", "sip:bob@test", "c2"))
			b.answer(b.request("MESSAGE"), 408)
			a.nothing(5 * time.Minute)
		}, set)
	})
}
