package proxy

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// response takes a response of the branch (RFC 3261 16.7). e is empty, and the
// caller's again after it.
func (b *Branch) response(c *transaction.Client, f sip.Flow, m *sip.Message, e *sip.Edits) {
	x := b.x
	status := m.Status()
	current := c == b.client && !b.done
	if current {
		b.heard = true
		b.wait.stop()
		if x.server != nil {
			x.server.Heard(status)
		}
	}
	if status == 100 {
		if current && x.server != nil {
			x.server.Trying()
		}
		return
	}
	if x.core.cfg.Heed && current {
		b.heed(status, f)
	}
	invite := x.Req.Method() == "INVITE"
	if !current && !(invite && status >= 200 && status < 300) {
		return // of an attempt that has been given up
	}
	if status < 200 {
		if b.timerC.running() {
			b.began = x.core.layer.Now() // 16.7 step 2
			if !b.provisional {
				b.rang = b.began
			}
		}
		b.provisional = true
		if x.done {
			return
		}
	}

	if x.origin == nil {
		// What is below our Via must be somebody else's: 16.7 step 3.
		if m.Count(sip.HVia) < 2 && !moreVias(m) {
			x.core.stats.badResponses.Add(1)
			if status >= 200 {
				// A 2xx to an INVITE, too: its transaction hears no more of it, neither a
				// time-out nor an answer to a CANCEL, and the branch would never end.
				b.complete(&Final{Branch: b, Status: 502, Err: errNoVia}, true)
			}
			return
		}
		e.PopFirst(sip.HVia)
	}
	// A second 2xx passes without the hook only if the branch had given it one.
	if x.onResponse != nil && !x.onResponse(b, m, e) {
		if status >= 200 && current {
			b.complete(nil, false)
		}
		return
	}
	switch {
	case status < 200:
		x.provide(status, m, e)
	case status < 300:
		x.succeed(b, m, e, current)
	default:
		b.reject(status, m, e)
	}
}

// heed tells the admission control, once for each branch, what the core makes of a
// request from outside that begins something: whether it refuses it with 503. What is
// never refused here, as an emergency call, tells nothing: it goes elsewhere.
func (b *Branch) heed(status int, f sip.Flow) {
	x := b.x
	a := x.core.cfg.Admission
	if a == nil || b.provisional || f.Role != sip.RoleCore || x.origin != nil || x.Flow.Role == sip.RoleCore || x.Req.ToTag() != "" || x.server.Class() == admission.Vital {
		return
	}
	a.Further(x.core.layer.Now(), status == 503)
}

// provide relays a provisional response. A non-INVITE gets none but the layer's
// own 100 (RFC 4320 4.1).
func (x *Exchange) provide(status int, m *sip.Message, e *sip.Edits) {
	if x.done {
		return
	}
	if x.origin != nil {
		x.origin.Response(x, m)
		return
	}
	x.relay(status, m, e)
}

// succeed relays a 2xx at once, and each further one to an INVITE; the other
// branches are cancelled.
func (x *Exchange) succeed(b *Branch, m *sip.Message, e *sip.Edits, current bool) {
	again := x.done
	if again && x.Req.Method() != "INVITE" {
		b.complete(nil, false)
		return
	}
	x.finish()
	var data *sip.Buffer
	if x.origin != nil {
		x.origin.Response(x, m)
	} else {
		data = m.Edited(e)
		defer data.Free()
		x.server.RespondBuffer(m.Status(), data)
	}
	if current {
		b.complete(nil, false)
	}
	if !again {
		x.cancelOthers(m.Status())
	}
	x.end()
	if current && !again && data != nil && x.Req.Method() == "INVITE" {
		x.retire(b, m, data.Bytes())
	}
}

// reject keeps a final response of 300 or more until all branches have one.
func (b *Branch) reject(status int, m *sip.Message, e *sip.Edits) {
	x := b.x
	if status == 503 && b.again() {
		x.Tracef("503 from %v: trying the next address", b.client.Flow())
		b.attempt()
		return
	}
	f := &Final{Branch: b, Status: status, Msg: m, Edits: e.Copy()}
	if status == 487 && b.expired && !x.cancelled {
		f = &Final{Branch: b, Status: 408, Err: transaction.ErrTimeout} // nobody but Timer C asked for it
	}
	if status >= 600 && !x.done {
		x.live++ // so that the 6xx is not sent before the others have ended
		b.complete(f, true)
		x.cancelOthers(status)
		x.live--
		x.check()
		return
	}
	b.complete(f, true)
}

// moreVias reports whether a response with one Via line has a second Via in it.
func moreVias(m *sip.Message) bool {
	n := 0
	for range m.Values(sip.HVia) {
		n++
	}
	return n > 1
}
