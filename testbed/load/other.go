package load

import (
	"bytes"
	"strconv"
)

func (e *engine) beginMessage(a *attempt) {
	t := &a.main
	a.callID = e.appendCallID(a.callID[:0], callOther, a.number, a.from, a.to)
	a.cseq = 1
	t.branch = e.newBranch()
	t.request = appendBody(e.initial(t.request[:0], a, "MESSAGE", a.to, t.branch), "text/plain", text)
	e.start(a, t, "MESSAGE")
}

// beginSubscribe subscribes a phone to the state of its registration, or refreshes
// that.
func (e *engine) beginSubscribe(a *attempt) {
	p, t := a.from, &a.main
	again := p.sub != nil && p.sub.target != "" // else nobody has answered the first SUBSCRIBE
	if !again {
		p.sub = &subscription{number: a.number}
	}
	p.sub.cseq++
	a.cseq = p.sub.cseq
	a.callID = e.appendCallID(a.callID[:0], callSubscribe, p.sub.number, p, nil)
	t.branch = e.newBranch()
	var b []byte
	if again {
		b = e.request(t.request[:0], p, "SUBSCRIBE", []byte(p.sub.target), []byte(p.sub.routes), a.callID, a.cseq, t.branch)
		b = append(append(append(e.appendFrom(b, p), "To: "...), p.sub.to...), "\r\n"+agent...)
	} else {
		b = e.initial(t.request[:0], a, "SUBSCRIBE", p, t.branch)
	}
	b = append(e.appendContact(b, p), "\r\nEvent: reg\r\nAccept: application/reginfo+xml\r\nExpires: "...)
	b = append(strconv.AppendInt(b, int64(e.cfg.Expires), 10), "\r\n"...)
	t.request = appendBody(b, "", "")
	e.start(a, t, "SUBSCRIBE")
}

func (e *engine) subscribeAnswered(a *attempt, h *heard) {
	p := a.from
	if h.status >= 300 {
		p.sub = nil // it begins anew
		e.refused(a, h)
		return
	}
	if p.sub.target == "" {
		p.sub.to, p.sub.target = string(h.to), string(between(h.contact))
		p.sub.routes = string(appendRoutes(nil, h))
	}
	a.accepted = true
	if a.notified {
		e.succeed(a)
	} else {
		a.main.method = "NOTIFY" // what is missing, should it not come
	}
}

// notify takes a NOTIFY at a phone, which may come at any time.
func (e *engine) notify(p *phone, c call, a *attempt, h *heard) {
	if c.kind != callSubscribe || c.from != p || p.sub == nil || p.sub.number != c.number {
		e.answer(p, h, "481 Subscription Does Not Exist")
		return
	}
	e.answer(p, h, "200 OK")
	if bytes.HasPrefix(h.subscription, []byte("terminated")) && a == nil {
		p.sub = nil
		return
	}
	if a != nil && !a.notified {
		a.notified = true
		if a.accepted {
			e.succeed(a)
		}
	}
}
