package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
)

// What has outgrown a stream on its way costs its sender an answer, and nobody else a
// connection.
func TestTooLargeToBePassedOn(t *testing.T) {
	grow := func(e *sip.Edits) { e.Add(sip.HSubject, strings.Repeat("x", sip.MaxHeader)) }
	h := handlerFunc(func(x *Exchange) {
		target := Target{Hop: Hop{Addr: netip.MustParseAddrPort("192.0.2.20:5060"), Proto: sip.TCP}}
		switch x.Req.CallID() {
		case "request":
			target.Edits = grow
		case "response":
			x.OnResponse(func(_ *Branch, _ *sip.Message, e *sip.Edits) bool { grow(e); return true })
		}
		x.Forward(target)
	})
	run(t, h, func(w *world) {
		a, b := w.peer("alice", "192.0.2.10", true), w.peer("bob", "192.0.2.20", true)
		defer a.close()
		defer b.close()
		send := func(call string) {
			a.sendTo(sip.TCP, coreAddr, strings.Replace(a.text("MESSAGE", "sip:bob@test", call), "/UDP", "/TCP", 1))
		}
		send("first")
		first := b.request("MESSAGE")
		b.answer(first, 200)
		up := a.next()
		check(t, "status", up.msg.Status(), 200)

		send("request")
		check(t, "what has become too large", a.next().msg.Status(), 513)
		send("response")
		b.answer(b.request("MESSAGE"), 200)
		check(t, "its response has", a.next().msg.Status(), 500)

		send("last")
		last := b.request("MESSAGE")
		b.answer(last, 200)
		down := a.next()
		check(t, "status", down.msg.Status(), 200)
		check(t, "to bob by the same connection", last.flow, first.flow)
		check(t, "to alice by the same connection", down.flow, up.flow)
		w.quiet()
	})
}
