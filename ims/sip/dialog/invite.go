package dialog

import (
	"fmt"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// InviteEvents are the caller's callbacks.
type InviteEvents struct {
	SessionEvents
	// Failed comes once, instead of Confirmed: with a final response of 300 or
	// more, without one, or with Err ErrCancelled when the INVITE was answered
	// while it was being cancelled (that call has been released).
	Failed func(inv *Invitation, o Outcome)
}

// maxForks bounds the early dialogs of an INVITE, and the 2xx beyond the first.
const maxForks = 16

// Invitation is an INVITE of ours that begins a call. Each callee that answers to
// it, provisionally or not, makes a Session; at most one is confirmed.
type Invitation struct {
	// Data is the user's.
	Data any

	req       Request
	ev        InviteEvents
	agent     *Agent
	shard     *transaction.Shard
	x         *proxy.Exchange
	sessions  []*Session
	winner    *Session
	released  []*Session // answered too late
	cancelled bool
	reason    []sip.Field // for the CANCEL
	done      bool
}

// Invite sends an INVITE. It may be called from any goroutine.
func (a *Agent) Invite(r *Request, ev InviteEvents) (*Invitation, error) {
	core := a.core.Load()
	switch {
	case core == nil:
		return nil, ErrUnbound
	case a.full():
		return nil, ErrTooMany
	}
	inv := &Invitation{req: *r, ev: ev, agent: a}
	inv.req.Method = "INVITE"
	inv.req.complete()
	if inv.req.Contact == "" {
		inv.req.Contact = a.contact()
	}
	inv.shard = core.Shard(inv.req.CallID)
	inv.shard.Post(func() {
		x, err := a.originate(core, inv.req.message(a), inv.req.target(a), inv.provisional, inv.final)
		if err != nil {
			inv.fail(Outcome{Status: 500, Err: err})
			return
		}
		inv.x = x
		if inv.cancelled {
			x.Cancel(inv.reason...)
		}
	})
	return inv, nil
}

// Post runs f on the call's shard. It may be called from any goroutine.
func (inv *Invitation) Post(f func()) { inv.shard.Post(f) }

// CallID returns the Call-ID.
func (inv *Invitation) CallID() string { return inv.req.CallID }

// Cancel gives up before an answer (RFC 3261 9.1); fields (a Reason) go into the
// CANCEL. Failed follows with the 487, or with ErrCancelled when a 2xx crossed the
// CANCEL. Once the call is answered it does nothing.
func (inv *Invitation) Cancel(fields ...sip.Field) {
	if inv.done || inv.cancelled {
		return
	}
	inv.cancelled, inv.reason = true, fields
	if inv.x != nil {
		inv.x.Cancel(fields...)
	}
}

// provisional takes a 101–199.
func (inv *Invitation) provisional(m *sip.Message) {
	if inv.done || inv.cancelled {
		return
	}
	if m.ToTag() == "" {
		if inv.ev.Progress != nil {
			inv.ev.Progress(nil, m)
		}
		return
	}
	s := inv.session(m)
	if s == nil || s.ended {
		return
	}
	s.reliably(m, func() {
		if inv.ev.Progress != nil {
			inv.ev.Progress(s, m)
		}
	})
}

// session returns the session that a response belongs to, making it if need be.
func (inv *Invitation) session(m *sip.Message) *Session {
	tag := m.ToTag()
	for _, s := range inv.sessions {
		if s.dialog.RemoteTag == tag {
			return s
		}
	}
	if len(inv.sessions) >= maxForks {
		inv.agent.note(inv.req.CallID, fmt.Sprintf("more than %d callees answer one INVITE: the others are ignored", maxForks))
		return nil
	}
	s := &Session{ev: inv.ev.SessionEvents, inv: inv}
	s.dialog = inv.agent.newUAC(inv.shard, &inv.req, m)
	s.dialog.early, s.dialog.usage = true, s
	s.rel.cseq = inv.req.CSeq
	inv.sessions = append(inv.sessions, s)
	inv.agent.add(s.dialog)
	return s
}

// final takes a final response, each 2xx again, or the failure.
func (inv *Invitation) final(o Outcome) {
	if !o.OK() {
		inv.fail(o)
		return
	}
	m := o.Msg
	switch {
	case inv.winner != nil && inv.winner.dialog.RemoteTag == m.ToTag():
		inv.winner.acknowledge(inv.req.CSeq, m) // again
	case inv.done || inv.cancelled:
		inv.release(m)
		if !inv.done {
			inv.fail(Outcome{Status: m.Status(), Msg: m, Err: ErrCancelled})
		}
	default:
		inv.confirm(m)
	}
}

// confirm takes the first 2xx.
func (inv *Invitation) confirm(m *sip.Message) {
	s := inv.session(m)
	if s == nil || s.ended {
		// Too many forks, or the callee has sent BYE before.
		inv.release(m)
		inv.fail(Outcome{Status: m.Status(), Msg: m, Err: ErrEnded})
		return
	}
	inv.done, inv.winner = true, s
	d := s.dialog
	d.early = false
	d.Routes = recorded(m, true) // RFC 3261 13.2.2.4: the 2xx decides
	d.retarget(m)
	s.answered, s.confirmed = true, true
	s.acknowledge(inv.req.CSeq, m)
	for _, other := range inv.sessions {
		if other != s {
			other.end(SessionEnd{Cause: OtherFork})
		}
	}
	if s.ev.Confirmed != nil {
		s.ev.Confirmed(s, m)
	}
}

// release acknowledges a 2xx that nobody wants and hangs up (RFC 3261 13.2.2.4).
func (inv *Invitation) release(m *sip.Message) {
	tag := m.ToTag()
	for _, s := range inv.released {
		if s.dialog.RemoteTag == tag {
			s.acknowledge(inv.req.CSeq, m)
			return
		}
	}
	if len(inv.released) >= maxForks {
		return
	}
	s := &Session{inv: inv}
	s.dialog = inv.agent.newUAC(inv.shard, &inv.req, m)
	// PRACK and UPDATE of the early dialog have used CSeqs.
	for _, early := range inv.sessions {
		if early.dialog.RemoteTag == tag {
			s.dialog.LocalCSeq = early.dialog.LocalCSeq
		}
	}
	inv.released = append(inv.released, s)
	s.acknowledge(inv.req.CSeq, m)
	inv.agent.note(inv.req.CallID, "a 2xx that comes too late is acknowledged and released with BYE (RFC 3261 13.2.2.4)")
	_ = s.dialog.Do("BYE", Part{}, nil, nil)
}

func (inv *Invitation) fail(o Outcome) {
	if inv.done {
		return
	}
	inv.done = true
	for _, s := range inv.sessions {
		s.end(SessionEnd{Cause: Failed, Outcome: o})
	}
	if inv.ev.Failed != nil {
		inv.ev.Failed(inv, o)
	}
}

// sentAck is the ACK that a 2xx got: each retransmission gets it again.
type sentAck struct {
	cseq uint32
	msg  *sip.Message
	to   proxy.Target
}

// acknowledge sends the ACK for a 2xx to our INVITE with that CSeq.
func (s *Session) acknowledge(cseq uint32, m *sip.Message) {
	core := s.dialog.agent.core.Load()
	if core == nil {
		return
	}
	if s.ack.msg == nil || s.ack.cseq != cseq {
		var body Part
		if s.ev.AckBody != nil {
			body = s.ev.AckBody(s, m)
		}
		ack, err := s.dialog.build("ACK", cseq, body, nil).Message()
		if err != nil {
			s.dialog.agent.note(s.dialog.CallID, fmt.Sprintf("the ACK cannot be written: %v", err))
			return
		}
		s.ack = sentAck{cseq: cseq, msg: ack, to: s.dialog.target()}
	}
	if err := core.SendAck(s.ack.msg, s.ack.to); err != nil {
		s.dialog.agent.note(s.dialog.CallID, fmt.Sprintf("the ACK cannot be sent: %v", err))
	}
}
