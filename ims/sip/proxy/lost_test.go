package proxy

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// streamTo forwards everything to bob over a stream.
func streamTo(addr string) handlerFunc {
	return func(x *Exchange) {
		x.Forward(Target{Hop: Hop{Addr: netip.MustParseAddrPort(addr), Proto: sip.TCP}})
	}
}

// A connection that looks open may lead nowhere: the peer was restarted. What was
// written on it and not answered goes over a new one.
func TestConnectionLostWithRequest(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE"} {
		t.Run(method, func(t *testing.T) {
			run(t, streamTo("192.0.2.20:5060"), func(w *world) {
				a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", true)
				defer a.close()
				a.send(a.text("MESSAGE", "sip:bob@test", "first"))
				b.answer(b.request("MESSAGE"), 200)
				a.status(200)

				a.send(a.text(method, "sip:bob@test", "second"))
				lost := b.request(method)
				b.close() // before it has said anything
				b2 := w.again("bob", b, true)
				defer b2.close()
				start := time.Now()
				m := b2.request(method)
				if took := time.Since(start); took > time.Second {
					t.Errorf("again after %v", took)
				}
				check(t, "over", m.flow.Proto, sip.TCP)
				check(t, "the same Via: who has it already knows it", m.msg.First(sip.HVia), lost.msg.First(sip.HVia))
				check(t, "over another connection", m.flow != lost.flow, true)
				b2.answer(m, 486)
				if method == "INVITE" {
					b2.request("ACK")
				}
				a.ack(a.text(method, "sip:bob@test", "second"), a.status(486))
				w.quiet()
			})
		})
	}
	// The callee rings already: the end of the connection says nothing about the
	// call, and its responses come over another one.
	t.Run("ringing", func(t *testing.T) {
		run(t, streamTo("192.0.2.20:5060"), func(w *world) {
			a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", true)
			defer a.close()
			a.send(a.text("INVITE", "sip:bob@test", "c1"))
			m := b.request("INVITE")
			b.answer(m, 180)
			a.status(180)
			b.close()
			b2 := w.again("bob", b, true)
			defer b2.close()
			b2.nothing(10 * time.Second)
			b2.sendTo(sip.TCP, coreAddr, string(sip.NewResponse(m.msg, 200, "", "bob").Add(sip.HContact, "<sip:bob@192.0.2.20>").Bytes()))
			a.status(200)
			w.quiet()
		})
	})
	// Nor does the CANCEL get lost with it.
	t.Run("CANCEL", func(t *testing.T) {
		run(t, streamTo("192.0.2.20:5060"), func(w *world) {
			a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", true)
			defer a.close()
			a.send(a.text("MESSAGE", "sip:bob@test", "first"))
			b.answer(b.request("MESSAGE"), 200)
			a.status(200)
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			m := b.request("INVITE")
			b.answer(m, 180)
			a.status(180)
			b.close()
			synctest.Wait()
			time.Sleep(time.Second)
			b2 := w.again("bob", b, true)
			defer b2.close()
			a.send(cancel(invite, ""))
			a.status(200)
			c := b2.request("CANCEL")
			check(t, "Via", c.msg.First(sip.HVia), m.msg.First(sip.HVia))
			b2.answer(c, 200)
			b2.answer(arrival{c.flow, m.msg}, 487)
			b2.request("ACK")
			a.ack(invite, a.status(487))
			w.quiet()
		})
	})
}
