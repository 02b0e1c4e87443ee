package dialog

import (
	"fmt"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// ringAgain is how often a callee that lets the caller wait says so, lest a
// proxy's Timer C end the call (RFC 3261 13.3.1.1).
const ringAgain = time.Minute

// Accept makes the callee's session of an INVITE outside dialogs. It sends
// nothing: Progress, Answer and Reject do.
func (a *Agent) Accept(in *Incoming, ev SessionEvents) (*Session, error) {
	m := in.Req
	switch {
	case m.Method() != "INVITE" || m.ToTag() != "" || in.Replied():
		return nil, fmt.Errorf("%w: not an INVITE outside dialogs that waits for its answer", ErrState)
	case a.full():
		in.Reply(503, "Too Many Dialogs", Part{}, sip.Field{ID: sip.HRetryAfter, Value: "30"})
		return nil, ErrTooMany
	}
	s := &Session{ev: ev, in: in, dialog: a.newUAS(in)}
	s.dialog.early, s.dialog.usage = true, s
	in.Dialog = s.dialog
	a.add(s.dialog)
	h := half{s.dialog.CallID, s.dialog.RemoteTag}
	a.mu.Lock()
	a.ongoing[h] = ongoing{s.dialog.RemoteCSeq, s}
	a.mu.Unlock()
	in.x.OnEnd(func() {
		a.mu.Lock()
		if a.ongoing[h].s == s {
			delete(a.ongoing, h)
		}
		a.mu.Unlock()
	})
	in.x.OnCancel(func() { s.end(SessionEnd{Cause: CallerCancelled}) }) // the core answers 487
	return s, nil
}

// Incoming returns the INVITE at the callee, nil at the caller.
func (s *Session) Incoming() *Incoming { return s.in }

// Supports100rel reports whether the caller understands reliable provisional
// responses.
func (s *Session) Supports100rel() bool {
	return s.in != nil && (s.in.Req.HasOption(sip.HSupported, "100rel") || s.requires100rel())
}

func (s *Session) requires100rel() bool { return s.in.Req.HasOption(sip.HRequire, "100rel") }

// Progress sends a provisional response from 101 on: reliably if that is wanted
// and the caller supports it, or requires it (RFC 3262 3). One that follows a
// reliable one not yet acknowledged waits for its PRACK.
func (s *Session) Progress(status int, reason string, reliably bool, body Part, fields ...sip.Field) error {
	if s.in == nil || s.ended || s.answered || s.out.answer != nil || s.in.Replied() || status <= 100 || status >= 200 {
		return fmt.Errorf("%w: a %d cannot be sent", ErrState, status)
	}
	reliably = reliably && s.Supports100rel() || s.requires100rel()
	send := func() { s.progress(status, reason, reliably, body, fields) }
	if s.out.busy() {
		if len(s.out.queue) >= maxQueue {
			return ErrPending
		}
		s.out.queue = append(s.out.queue, send)
		return nil
	}
	send()
	return nil
}

func (s *Session) progress(status int, reason string, reliably bool, body Part, fields []sip.Field) {
	b := s.in.build(status, reason, body, fields)
	if reliably {
		s.sendReliable(status, b)
	} else {
		s.in.send(status, b)
		b.Free()
	}
	s.out.again.start(s.dialog.shard, ringAgain, func() {
		if !s.ended && !s.answered && !s.out.busy() {
			s.progress(status, reason, reliably, Part{}, nil)
		}
	})
}

// Answer accepts the call with 200, once every reliable provisional has been
// acknowledged (RFC 3262 3). The 200 is sent again until its ACK comes; without
// one in 64·T1 the call is released.
func (s *Session) Answer(body Part, fields ...sip.Field) error {
	if s.in == nil || s.ended || s.answered || s.out.answer != nil || s.in.Replied() {
		return fmt.Errorf("%w: the call cannot be answered", ErrState)
	}
	answer := func() {
		s.out.stop()
		b := s.in.build(200, "", body, fields)
		s.answered, s.dialog.early = true, false
		s.in.send(200, b)
		s.persist(s.in, b)
	}
	if s.out.busy() {
		s.out.answer = answer
		return nil
	}
	answer()
	return nil
}

// Reject answers the INVITE with 300 or more.
func (s *Session) Reject(status int, reason string, fields ...sip.Field) error {
	if s.in == nil || s.ended || s.answered || s.in.Replied() || status < 300 {
		return fmt.Errorf("%w: the call cannot be rejected with %d", ErrState, status)
	}
	s.out.stop()
	s.in.Reply(status, reason, Part{}, fields...)
	s.end(SessionEnd{Cause: Rejected})
	return nil
}

// persist sends a 2xx again until its ACK (RFC 3261 13.3.1.4): over streams too,
// as it must reach the caller through proxies.
func (s *Session) persist(in *Incoming, b *sip.Builder) {
	cseq, _ := in.Req.CSeq()
	data, server := b.Bytes(), in.x.Server()
	s.ackTo, s.ackEmpty = cseq.Seq, in.Req.Body() != ""
	t := s.dialog.agent.cfg.TimersFor(in.Flow)
	s.twoxx = startResend(s.dialog.shard, t, t.T2, s.dialog.agent.repeats(server, 200, data), func() {
		s.twoxx = nil
		s.dialog.agent.note(s.dialog.CallID, "no ACK to a 2xx: the call is released (RFC 3261 13.3.1.4)")
		s.confirmed = true // BYE is allowed now (clause 15)
		if s.leaving {
			s.bye()
			return
		}
		_ = s.dialog.Do("BYE", Part{}, nil, nil)
		s.end(SessionEnd{Cause: Lost, Err: ErrNoAck})
	})
}

// acked takes an ACK within the dialog.
func (s *Session) acked(m *sip.Message) {
	cseq, err := m.CSeq()
	if err != nil || s.twoxx == nil || cseq.Seq != s.ackTo {
		return // again, or for nothing that waits
	}
	s.acknowledged(m)
}

// acknowledged ends the wait for an ACK; m shows that the caller has the 2xx: its
// ACK, or a re-INVITE that overtook it (RFC 5407 3.1.4).
func (s *Session) acknowledged(m *sip.Message) {
	s.twoxx.stop()
	s.twoxx = nil
	first := !s.confirmed
	s.confirmed = true
	switch {
	case first && s.ev.Confirmed != nil:
		s.ev.Confirmed(s, m)
	case !first && s.ev.Acked != nil:
		s.ev.Acked(s, m)
	}
	if s.leaving && first && !s.ended {
		s.bye()
	}
}
