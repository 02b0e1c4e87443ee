package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// marking is a handler that marks each response.
type marking struct {
	to      Handler
	note    string
	revived int
}

func (h *marking) mark(x *Exchange, text string) {
	x.OnResponse(func(_ *Branch, _ *sip.Message, e *sip.Edits) bool {
		e.Add(sip.HServer, text)
		return true
	})
}

func (h *marking) Request(x *Exchange) {
	h.mark(x, "mark")
	x.Retires(h.note)
	h.to.Request(x)
}

func (h *marking) Revive(x *Exchange, note string) {
	h.revived++
	h.mark(x, note+" of "+x.Route.User)
}

// reticent is one that leaves no note.
type reticent struct{ marking }

func (h *reticent) Request(x *Exchange) {
	h.mark(x, "mark")
	h.to.Request(x)
}

// TestRetiredExchange: the 2xx of another fork goes through the handler again, the same
// one is relayed as it was, and what has retired is no transaction of the layer's.
func TestRetiredExchange(t *testing.T) {
	h := &marking{to: to("192.0.2.20:5060"), note: "noted"}
	run(t, h, func(w *world) {
		a, b := w.peer("a", "192.0.2.10", false), w.peer("b", "192.0.2.20", false)
		defer a.close()
		defer b.close()
		invite := a.text("INVITE", "sip:b@test", "c1", "Route: <sip:me@"+coreAddr+";lr>")
		a.send(invite)
		in := b.request("INVITE")
		b.answer(in, 200)
		first := a.status(200)
		check(t, "mark", first.Get(sip.HServer), "mark")

		a.repeats = true
		b.answer(in, 200)
		check(t, "the same again", a.status(200).Raw(), first.Raw())
		check(t, "revived", h.revived, 0)
		b.tag = "fork"
		for range 2 {
			b.answer(in, 200)
			m := a.status(200)
			check(t, "another's tag", m.ToTag(), "fork")
			check(t, "its mark", m.Get(sip.HServer), "noted of me")
			check(t, "its Vias", m.Count(sip.HVia), 1)
		}
		b.tag = "b"
		b.answer(in, 200)
		check(t, "the first behind it", a.status(200).ToTag(), "b")
		check(t, "revived", h.revived, 1)
		a.send(invite)
		b.nothing(time.Second)
		w.quiet()
		check(t, "badly ended", w.core.Stats().Late, uint64(0))
	})
}

// An exchange is kept where its handler says nothing of a further 2xx, or where more
// than one branch may bring one.
func TestExchangeThatDoesNotRetire(t *testing.T) {
	silent := handlerFunc(func(x *Exchange) {
		x.OnResponse(func(_ *Branch, _ *sip.Message, e *sip.Edits) bool { e.Add(sip.HServer, "mark"); return true })
		x.Forward(targets("192.0.2.20:5060")...)
	})
	forks := &marking{note: "noted", to: handlerFunc(func(x *Exchange) {
		x.OnBest(func(*Final) bool { x.Forward(targets("192.0.2.20:5060")...); return false })
		x.Forward(targets("192.0.2.21:5060")...)
	})}
	noNote := &reticent{marking{to: to("192.0.2.20:5060")}}
	for name, h := range map[string]Handler{"no Reviver": silent, "no note": noNote, "several branches": forks} {
		t.Run(name, func(t *testing.T) {
			trio(t, h, func(w *world, a, b, c *peer) {
				a.send(a.text("INVITE", "sip:b@test", "c1"))
				if name == "several branches" {
					c.answer(c.request("INVITE"), 486)
				}
				in := b.request("INVITE")
				b.answer(in, 200)
				a.status(200)
				b.tag = "fork"
				b.answer(in, 200)
				m := a.status(200)
				check(t, "tag and mark", strings.Join([]string{m.ToTag(), m.Get(sip.HServer)}, " "), "fork mark")
				synctest.Wait()
			})
		})
	}
	check(t, "revived", forks.revived+noNote.revived, 0)
}
