package load

import (
	"time"
)

// beginCall sends the INVITE of any call.
func (e *engine) beginCall(a *attempt) {
	a.callID = e.appendCallID(a.callID[:0], callOther, a.number, a.from, a.to)
	e.sendInvite(a)
}

// beginEmergency sends the INVITE of an emergency call, which reaches no phone.
func (e *engine) beginEmergency(a *attempt) {
	a.callID = e.appendCallID(a.callID[:0], callEmergency, a.number, a.from, nil)
	e.sendInvite(a)
}

func (e *engine) sendInvite(a *attempt) {
	t := &a.main
	a.cseq = 1
	t.branch = e.newBranch()
	b := e.initial(t.request[:0], a, "INVITE", a.to, t.branch)
	if a.kind == Priority {
		b = append(append(append(b, "Resource-Priority: "...), e.cfg.Priority...), "\r\n"...)
	}
	b = append(e.appendContact(b, a.from), "\r\n"...)
	t.request = appendBody(b, "application/sdp", sdp)
	e.start(a, t, "INVITE")
}

// ringbackLost is when a called phone that rings answers without having seen that the
// caller knows: a provisional answer may be lost.
const ringbackLost = time.Second

// called takes an INVITE at the called phone.
func (e *engine) called(a *attempt, h *heard) {
	if len(a.answered) > 0 {
		e.transmit(a.to, a.answered)
		return
	}
	a.invite = append(a.invite[:0], h.raw...)
	if a.kind == Rejected {
		e.finalAnswer(a, "486 Busy Here", "")
		return
	}
	e.answer(a.to, h, "180 Ringing")
	if a.plan != nothing || a.state != trying {
		return
	}
	switch a.kind {
	case Call, Priority:
		a.plan, a.planAt = answerCall, e.now+e.cfg.Ring+ringbackLost
	case Unanswered:
		a.plan, a.planAt = giveUpRinging, e.now+e.cfg.Ring+ringbackLost
	case Cancelled:
		a.plan, a.planAt = cancelCall, e.now+ringbackLost
	}
}

// rings takes a 180 at the caller. What comes next is what the scenario says.
func (e *engine) rings(a *attempt) {
	if a.state != trying {
		return
	}
	a.state = ringing
	switch a.kind {
	case Call, Priority:
		a.plan, a.planAt = nothing, 0
		e.after(a, e.cfg.Ring, answerCall)
	case Unanswered:
		a.plan, a.planAt = nothing, 0
		e.after(a, e.cfg.Ring, giveUpRinging)
	case Cancelled:
		a.plan, a.planAt = nothing, 0
		e.sendCancel(a)
	}
}

// loseHeart has a caller who hears nothing of a phone that rings cancel, once there has
// been a provisional answer (RFC 3261 9.1).
func (e *engine) loseHeart(a *attempt) {
	switch {
	case a.state != trying:
	case a.main.proceeding:
		e.sendCancel(a)
	default:
		a.plan, a.planAt = cancelCall, e.now+ringbackLost
	}
}

func (e *engine) answerCall(a *attempt) { e.finalAnswer(a, "200 OK", sdp) }

// finalAnswer is the called phone's to the INVITE, and goes again until the ACK comes
// (RFC 3261 13.3.1.4, 17.2.1).
func (e *engine) finalAnswer(a *attempt, status, body string) {
	if len(a.answered) > 0 || !e.kept.read(a.invite) {
		return
	}
	kind := ""
	if body != "" {
		kind = "application/sdp"
	}
	a.answered = e.respond(a.answered[:0], a.to, &e.kept, status, kind, body)
	a.interval = e.cfg.T1
	a.repeat = e.now + a.interval
	e.transmit(a.to, a.answered)
}

// stopRinging has the called phone give up when the attempt is over. Where a proxy between
// the two has died nobody cancels, and it would ring until Timer C.
func (e *engine) stopRinging(a *attempt) {
	if len(a.invite) > 0 {
		e.finalAnswer(a, "480 Temporarily Unavailable", "")
	}
}

// inviteAnswered takes the final answer at the caller.
func (e *engine) inviteAnswered(a *attempt, h *heard) {
	switch {
	case h.status < 300:
		a.dialog(h)
		a.ack = e.inDialog(a.ack[:0], a, "ACK", e.newBranch())
		e.transmit(a.from, a.ack)
		if !a.kind.answered() && a.kind != Emergency {
			e.fail(a, "INVITE: answered, which nobody did")
			return
		}
		a.state, a.connected = established, e.now
		if a.acked || a.kind == Emergency {
			e.after(a, e.cfg.Hold, hangUp)
		}
	default:
		b := e.acknowledge(e.socket.begin(), a.from, a.to, h, a.main.branch)
		e.socket.send(b, a.from.control, a.from.pcscf)
		switch {
		case a.kind == Cancelled && a.state == ending && h.status == 487,
			a.kind == Rejected && h.status == 486, a.kind == Emergency && h.status == 380, a.kind == Unanswered && h.status == 480 && len(a.answered) > 0:
			e.succeed(a)
		default:
			e.refused(a, h)
		}
	}
}

// acknowledged takes the ACK at the called phone.
func (e *engine) acknowledged(a *attempt) {
	if a.repeat == 0 {
		return
	}
	a.repeat = 0
	if a.kind.answered() {
		if a.state == established {
			e.after(a, e.cfg.Hold, hangUp)
		} else {
			a.acked = true // somebody between us answers for himself
		}
	}
}

func (e *engine) sendBye(a *attempt) {
	t := &a.main
	a.state = ending
	a.cseq++
	t.branch = e.newBranch()
	t.request = e.inDialog(t.request[:0], a, "BYE", t.branch)
	e.start(a, t, "BYE")
}

// sendCancel takes the INVITE back (RFC 3261 9.1): its branch, Route and CSeq number.
func (e *engine) sendCancel(a *attempt) {
	t := &a.cancel
	a.state = ending
	t.branch = a.main.branch
	e.uri = e.appendIMPU(e.uri[:0], a.to.index)
	b := e.request(t.request[:0], a.from, "CANCEL", e.uri, a.from.routes, a.callID, a.cseq, t.branch)
	b = e.appendFrom(b, a.from)
	b = append(append(append(b, "To: <"...), e.uri...), ">\r\n"...)
	t.request = appendBody(b, "", "")
	e.start(a, t, "CANCEL")
}
