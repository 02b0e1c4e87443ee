package dialog_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

func routes(m *sip.Message) []string { return slices.Collect(m.Values(sip.HRoute)) }

// The route set is the Record-Route the other way round at the caller; the last
// hop of a strict router is in the Request-URI (RFC 3261 12.2.1.1).
func TestRouteSetOfCaller(t *testing.T) {
	for _, c := range []struct {
		name, rr, uri string
		routes        []string
	}{
		{"none", "", "sip:peer@192.0.2.2:5060", nil},
		{"loose", "<sip:p2@192.0.2.2:5060;lr>, <sip:p1@192.0.2.2:5060;lr>", "sip:peer@192.0.2.2:5060",
			[]string{"<sip:p1@192.0.2.2:5060;lr>", "<sip:p2@192.0.2.2:5060;lr>"}},
		{"strict", "<sip:p2@192.0.2.2:5060>, <sip:p1@192.0.2.2:5060>", "sip:p1@192.0.2.2:5060",
			[]string{"<sip:p2@192.0.2.2:5060>", "<sip:peer@192.0.2.2:5060>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				alice := w.caller()
				p := w.peer(bobAddr, aliceAddr)
				alice.invite(t, invite())
				m := p.await("INVITE")
				b := p.response(m, 200, "b")
				if c.rr != "" {
					b.Add(sip.HRecordRoute, c.rr)
				}
				p.send(b)
				ack := p.await("ACK")
				alice.on(func() { must(t, alice.s.Hangup()) })
				bye := p.await("BYE")
				for _, m := range []*sip.Message{ack, bye} {
					if m.RequestURI() != c.uri || !slices.Equal(routes(m), c.routes) {
						t.Errorf("%s to %s via %v, want %s via %v", m.Method(), m.RequestURI(), routes(m), c.uri, c.routes)
					}
				}
				if q, _ := ack.CSeq(); q.Seq != 1 {
					t.Errorf("ACK with CSeq %d", q.Seq)
				}
			})
		})
	}
}

// At the callee the route set keeps its order; a target refresh moves the target,
// one that is refused does not.
func TestRouteSetAndTargetOfCallee(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		bob := w.callee(false)
		p := w.peer(aliceAddr, bobAddr)
		p.send(p.raw("INVITE", 7, "c1", "<sip:a@x>;tag=a", "<sip:b@x>").
			Add(sip.HRecordRoute, "<sip:p2@192.0.2.1:5060;lr>, <sip:p1@192.0.2.1:5060;lr>"))
		time.Sleep(time.Second)
		bob.on(func() { must(t, bob.s.Answer(sdp("answer"))) })
		ok := p.await("200")
		if ok.Count(sip.HRecordRoute) != 1 {
			t.Errorf("the 200 lost its Record-Route:\n%s", ok.Raw())
		}
		p.send(p.request(ok, "ACK", 7))
		for i, c := range []struct {
			status int
			uri    string
		}{{488, "sip:peer@192.0.2.1:5060"}, {200, "sip:moved@192.0.2.1:5060"}} {
			m, err := p.request(ok, "UPDATE", uint32(8+i)).Message()
			must(t, err)
			var e sip.Edits
			e.Set(sip.HContact, "<sip:moved@192.0.2.1:5060>")
			moved, err := m.Apply(&e)
			must(t, err)
			p.sendText(moved.Raw())
			time.Sleep(time.Second)
			bob.on(func() { bob.in.Reply(c.status, "", dialog.Part{}) })
			p.next()
			bob.on(func() { must(t, bob.s.Do("INFO", dialog.Part{}, nil, nil)) })
			info := p.await("INFO")
			if info.RequestURI() != c.uri {
				t.Errorf("after a %d: INFO to %s, want %s", c.status, info.RequestURI(), c.uri)
			}
			if got := routes(info); !slices.Equal(got, []string{"<sip:p2@192.0.2.1:5060;lr>", "<sip:p1@192.0.2.1:5060;lr>"}) {
				t.Errorf("routes %v", got)
			}
			p.send(p.response(info, 200, ""))
		}
	})
}

func TestOutOfDialog(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var n notes
		a := w.agent(aliceAddr, dialog.Config{
			Fields: func(method string, status int) []sip.Field {
				return []sip.Field{{ID: sip.HUserAgent, Value: "gocscf"}}
			},
			Hop: func() proxy.Hop { return proxy.Hop{Addr: bobAddr} },
		})
		p := w.peer(bobAddr, aliceAddr)
		a.Do(&dialog.Request{
			Method: "REGISTER", URI: "sip:as.home1.net", From: "<sip:scscf.home1.net>", To: "<sip:user1@home1.net>",
			CallID: "reg1", CSeq: 3, FromTag: "f", Contact: "<sip:scscf.home1.net>", Routes: []string{"<sip:as.home1.net;lr>"},
			Fields: []sip.Field{{ID: sip.HExpires, Value: "3600"}},
		}, func(o dialog.Outcome) { n.add("%v", o) })
		m := p.await("REGISTER")
		for _, c := range []struct {
			id   sip.ID
			want string
		}{
			{sip.HFrom, "<sip:scscf.home1.net>;tag=f"}, {sip.HTo, "<sip:user1@home1.net>"}, {sip.HCallID, "reg1"},
			{sip.HCSeq, "3 REGISTER"}, {sip.HContact, "<sip:scscf.home1.net>"}, {sip.HUserAgent, "gocscf"},
			{sip.HExpires, "3600"}, {sip.HRoute, "<sip:as.home1.net;lr>"}, {sip.HMaxForwards, "70"},
		} {
			if got := m.Get(c.id); got != c.want {
				t.Errorf("%v: %q, want %q", c.id, got, c.want)
			}
		}
		p.send(p.response(m, 403, "x"))
		time.Sleep(time.Second)
		n.expect(t, "403 Forbidden")

		a.Do(&dialog.Request{Method: "MESSAGE", URI: "sip:b@x", From: "<sip:a@x>", To: "<sip:b@x>", Timeout: 4 * time.Second},
			func(o dialog.Outcome) { n.add("%v", o.Status) })
		time.Sleep(5 * time.Second)
		n.expect(t, "408")
	})
}

// Bounds, and an Agent that cannot send yet.
func TestRefusals(t *testing.T) {
	if _, err := dialog.New(dialog.Config{}).Invite(invite(), dialog.InviteEvents{}); !errors.Is(err, dialog.ErrUnbound) {
		t.Errorf("without a core: %v", err)
	}
	bubble(t, func(t *testing.T, w *world) {
		var bob *dialog.Agent
		bob = w.agent(bobAddr, dialog.Config{MaxDialogs: 1, Request: func(in *dialog.Incoming) {
			if in.Req.Method() == "MESSAGE" {
				in.Reply(202, "", dialog.Part{})
				in.Reply(500, "", dialog.Part{}) // too late: ignored
				return
			}
			_, _ = bob.Accept(in, dialog.SessionEvents{})
		}})
		p := w.peer(aliceAddr, bobAddr)
		p.send(p.raw("INVITE", 1, "c1", "<sip:a@x>;tag=a", "<sip:b@x>"))
		time.Sleep(time.Second)
		p.send(p.raw("INVITE", 1, "c2", "<sip:a@x>;tag=a", "<sip:b@x>"))
		if m := p.await("503"); !m.Has(sip.HRetryAfter) {
			t.Errorf("no Retry-After:\n%s", m.Raw())
		}
		p.send(p.raw("MESSAGE", 1, "c3", "<sip:a@x>;tag=a", "<sip:b@x>"))
		p.await("202")
	})
}

// A proxy that keeps the state of a call releases it with BYE.
func TestDetached(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.agent(aliceAddr, dialog.Config{})
		p := w.peer(bobAddr, aliceAddr)
		d, err := a.Detached(dialog.State{
			CallID: "c9", Local: "<sip:a@x>;tag=1", Remote: "<sip:b@x>;tag=2", LocalTag: "1", RemoteTag: "2",
			Target: "sip:b@192.0.2.2:5060", LocalCSeq: 41,
		}, proxy.Hop{})
		must(t, err)
		d.Post(func() { _ = d.Do("BYE", dialog.Part{}, []sip.Field{{ID: sip.HReason, Value: "SIP;cause=503"}}, nil) })
		bye := p.await("BYE")
		if bye.Get(sip.HCSeq) != "42 BYE" || bye.ToTag() != "2" || bye.FromTag() != "1" || bye.Get(sip.HReason) == "" {
			t.Errorf("BYE:\n%s", bye.Raw())
		}
		p.send(p.response(bye, 200, ""))
	})
}
