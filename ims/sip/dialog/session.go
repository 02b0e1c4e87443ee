package dialog

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// SessionEvents are the callbacks of a session; each may be nil.
type SessionEvents struct {
	// Progress gets each 101–199 to our INVITE. Reliable ones come once, in order,
	// with their PRACK on its way. s is nil when the response has no To tag and so
	// makes no dialog.
	Progress func(s *Session, m *sip.Message)
	// PrackBody gives the body of the PRACK for a reliable response: an answer to
	// an offer in it, or a new offer. nil: none.
	PrackBody func(s *Session, m *sip.Message) Part
	// Pracked tells how the PRACK for response m ended.
	Pracked func(s *Session, m *sip.Message, o Outcome)
	// AckBody gives the body of the ACK to the 2xx m: the answer, when the offer
	// was in m. nil: none.
	AckBody func(s *Session, m *sip.Message) Part
	// Confirmed comes when the call is up: with the 2xx at the caller, with the
	// ACK at the callee.
	Confirmed func(s *Session, m *sip.Message)
	// Acked gets the ACK to our 2xx to a re-INVITE.
	Acked func(s *Session, m *sip.Message)
	// Request gets what is to be answered: re-INVITE, UPDATE, PRACK with a body,
	// INFO and so on. nil: re-INVITE and UPDATE get 488, others 405.
	Request func(s *Session, in *Incoming)
	// Ended comes once.
	Ended func(s *Session, e SessionEnd)
}

// Cause says how a session ended.
type Cause uint8

const (
	// LocalBye: we hung up.
	LocalBye Cause = iota + 1
	// RemoteBye: the peer did.
	RemoteBye
	// CallerCancelled: CANCEL, or BYE, before we had answered.
	CallerCancelled
	// Rejected: we answered with 300 or more.
	Rejected
	// Failed: our INVITE got 300 or more, no answer, or was cancelled.
	Failed
	// OtherFork: another callee answered our INVITE first.
	OtherFork
	// Lost: the peer does not know the dialog any more, or is silent.
	Lost
)

var causeNames = [...]string{LocalBye: "we hung up", RemoteBye: "the peer hung up", CallerCancelled: "the caller gave up",
	Rejected: "we rejected it", Failed: "the INVITE failed", OtherFork: "another device answered", Lost: "the peer is lost"}

func (c Cause) String() string {
	if int(c) < len(causeNames) && c > 0 {
		return causeNames[c]
	}
	return "unknown"
}

// SessionEnd says why a session ended.
type SessionEnd struct {
	Cause Cause
	// Msg is the peer's BYE, for RemoteBye; its Reason header may say more.
	Msg *sip.Message
	// Outcome is that of our BYE, or of the request that failed.
	Outcome Outcome
	// Err is ErrNoAck or ErrNoPrack.
	Err error
}

// Session is the INVITE usage of a dialog: a call, or with a caller's forked
// INVITE one of its early dialogs.
type Session struct {
	// Data is the user's.
	Data any

	ev     SessionEvents
	dialog *Dialog
	inv    *Invitation // at the caller
	in     *Incoming   // at the callee: the INVITE

	answered  bool // a 2xx has been sent or received
	confirmed bool // and its ACK
	leaving   bool // Hangup was called
	byeFields []sip.Field
	ended     bool

	offering bool      // a re-INVITE or an UPDATE with a body of ours is out
	retry    timer     // of an offer that met 491
	inviteIn *Incoming // a re-INVITE that we have not answered
	updateIn *Incoming // an UPDATE that we have not answered

	rel      received // reliable responses to our INVITE
	ack      sentAck
	out      reliable // reliable responses of ours
	twoxx    *resend  // our 2xx until its ACK
	ackTo    uint32   // CSeq of that ACK
	ackEmpty bool     // that ACK carries no answer: the offer was in the INVITE
}

// Post runs f on the session's shard. It may be called from any goroutine.
func (s *Session) Post(f func()) { s.dialog.Post(f) }

// Dialog returns the session's dialog.
func (s *Session) Dialog() *Dialog { return s.dialog }

// Invitation returns the INVITE that this session comes from; nil at the callee.
func (s *Session) Invitation() *Invitation { return s.inv }

// Confirmed reports whether the call is up.
func (s *Session) Confirmed() bool { return s.confirmed && !s.ended }

// Ended reports whether the session is over.
func (s *Session) Ended() bool { return s.ended }

// Do sends another request within the call: INFO, MESSAGE, REFER, UPDATE without
// an offer. A 481 or 408 ends the call (RFC 3261 12.2.1.2).
func (s *Session) Do(method string, body Part, fields []sip.Field, done func(Outcome)) error {
	if s.ended || s.leaving {
		return ErrEnded
	}
	return s.dialog.Do(method, body, fields, func(o Outcome) {
		if done != nil {
			done(o)
		}
		s.check(o)
	})
}

// check ends a call whose peer has lost it.
func (s *Session) check(o Outcome) {
	if (o.Status != 481 && o.Status != 408) || !s.confirmed || s.ended || s.leaving {
		return
	}
	_ = s.dialog.Do("BYE", Part{}, nil, nil)
	s.end(SessionEnd{Cause: Lost, Outcome: o})
}

// Update sends an offer in an UPDATE (RFC 3311); done gets the outcome. It may be
// sent before the call is answered. One that meets 491 is sent again as
// Reinvite's is.
func (s *Session) Update(body Part, fields []sip.Field, done func(Outcome)) error {
	return s.offer("UPDATE", body, fields, done)
}

// Reinvite sends an offer in a re-INVITE; done gets the final outcome, with the
// ACK on its way. One that meets the peer's (491) is sent again after the time of
// RFC 3261 14.1, up to four times.
func (s *Session) Reinvite(body Part, fields []sip.Field, done func(Outcome)) error {
	if !s.confirmed {
		return fmt.Errorf("%w: the call is not up yet", ErrState)
	}
	return s.offer("INVITE", body, fields, done)
}

func (s *Session) offer(method string, body Part, fields []sip.Field, done func(Outcome)) error {
	switch {
	case s.ended || s.leaving:
		return ErrEnded
	case s.offering || s.retry.on || s.offered():
		return ErrPending
	}
	return s.sendOffer(method, body, fields, 4, done)
}

// offered reports whether the peer waits for us: for an answer, or for us to see
// its ACK.
func (s *Session) offered() bool {
	return s.inviteIn != nil || s.updateIn != nil || s.twoxx != nil && s.confirmed
}

func (s *Session) sendOffer(method string, body Part, fields []sip.Field, tries int, done func(Outcome)) error {
	cseq := s.dialog.LocalCSeq + 1
	if method == "INVITE" {
		s.rel = received{cseq: cseq}
	}
	concluded := false
	s.offering = true
	_, err := s.dialog.send(method, body, fields,
		func(m *sip.Message) {
			if method == "INVITE" && !s.ended {
				s.reliably(m, func() {})
			}
		},
		func(o Outcome) {
			if method == "INVITE" && o.OK() {
				s.acknowledge(cseq, o.Msg)
			}
			if concluded {
				return // a 2xx again: it needed the ACK only
			}
			concluded = true
			s.offering = false
			if o.Status == 491 && tries > 0 && !s.ended && !s.leaving {
				s.offerLater(func() error { return s.sendOffer(method, body, fields, tries-1, done) }, done)
				return
			}
			if done != nil {
				done(o)
			}
			s.check(o)
		})
	if err != nil {
		s.offering = false
	}
	return err
}

// offerLater sends an offer that met 491 again, when the peer has had its turn.
func (s *Session) offerLater(send func() error, done func(Outcome)) {
	s.retry.start(s.dialog.shard, s.glare(), func() {
		if s.offered() {
			s.offerLater(send, done)
			return
		}
		if err := send(); err != nil && done != nil {
			done(Outcome{Status: 491, Err: err})
		}
	})
}

// glare is how long to wait after a 491: whoever made the Call-ID waits longer
// (RFC 3261 14.1).
func (s *Session) glare() time.Duration {
	ten := rand.IntN(201)
	if s.inv != nil {
		ten = 210 + rand.IntN(191)
	}
	return time.Duration(ten) * 10 * time.Millisecond
}

// Hangup sends BYE, with fields (a Reason). A callee whose 2xx has not been
// acknowledged yet waits for that (RFC 3261 15). Ended follows in any case. A call
// that is not answered is ended by Invitation.Cancel or Session.Reject.
func (s *Session) Hangup(fields ...sip.Field) error {
	switch {
	case s.ended || s.leaving:
		return ErrEnded
	case !s.answered:
		return fmt.Errorf("%w: the call is not answered: the caller cancels, the callee rejects", ErrState)
	}
	s.leaving, s.byeFields = true, fields
	s.retry.stop()
	if s.confirmed {
		s.bye()
	}
	return nil
}

func (s *Session) bye() {
	err := s.dialog.Do("BYE", Part{}, s.byeFields, func(o Outcome) {
		s.end(SessionEnd{Cause: LocalBye, Outcome: o})
	})
	if err != nil {
		s.end(SessionEnd{Cause: LocalBye, Outcome: Outcome{Status: 500, Err: err}})
	}
}

// receive takes a request within the call.
func (s *Session) receive(in *Incoming) {
	switch m := in.Req; m.Method() {
	case "BYE":
		in.Reply(200, "", Part{})
		if s.inv == nil && !s.answered {
			s.in.Reply(487, "", Part{})
			s.end(SessionEnd{Cause: CallerCancelled, Msg: m})
			return
		}
		s.end(SessionEnd{Cause: RemoteBye, Msg: m})
	case "PRACK":
		s.prack(in)
	case "INVITE":
		s.reinvited(in)
	case "UPDATE":
		s.updated(in)
	default:
		if s.ev.Request == nil {
			in.notAllowed()
			return
		}
		s.ev.Request(s, in)
	}
}

// reinvited takes a re-INVITE (RFC 3261 14.2).
func (s *Session) reinvited(in *Incoming) {
	if s.twoxx != nil && s.ackEmpty {
		// The ACK is late or lost, and nothing in it is needed.
		s.acknowledged(in.Req)
	}
	switch {
	case s.offering:
		in.Reply(491, "", Part{})
		return
	case s.inviteIn != nil || s.updateIn != nil || s.twoxx != nil || !s.answered:
		in.Reply(500, "Another Offer Is Pending", Part{}, retryAfter())
		return
	case s.leaving:
		in.Reply(487, "", Part{})
		return
	}
	s.inviteIn = in
	in.x.OnCancel(func() { s.inviteIn = nil }) // the core answers 487
	in.after = append(in.after, func(status int, b *sip.Builder) {
		s.inviteIn = nil
		if status < 300 {
			s.persist(in, b)
		}
	})
	if s.ev.Request == nil {
		in.Reply(488, "", Part{})
		return
	}
	s.ev.Request(s, in)
}

// updated takes an UPDATE (RFC 3311 5.2). One without an offer only refreshes the
// target or the session timer.
func (s *Session) updated(in *Incoming) {
	if in.Req.Body() != "" {
		switch {
		case s.offering:
			in.Reply(491, "", Part{})
			return
		case s.updateIn != nil || s.inviteIn != nil:
			in.Reply(500, "Another Offer Is Pending", Part{}, retryAfter())
			return
		}
		s.updateIn = in
		in.after = append(in.after, func(int, *sip.Builder) { s.updateIn = nil })
	}
	switch {
	case s.ev.Request != nil:
		s.ev.Request(s, in)
	case in.Req.Body() == "":
		in.Reply(200, "", Part{})
	default:
		in.Reply(488, "", Part{})
	}
}

func retryAfter() sip.Field {
	return sip.Field{ID: sip.HRetryAfter, Value: strconv.Itoa(rand.IntN(11))}
}

// end ends the session and its dialog.
func (s *Session) end(e SessionEnd) {
	if s.ended {
		return
	}
	s.ended = true
	s.retry.stop()
	s.out.stop()
	if s.twoxx != nil {
		s.twoxx.stop()
		s.twoxx = nil
	}
	for _, in := range []*Incoming{s.inviteIn, s.updateIn} {
		if in != nil {
			in.Reply(487, "", Part{})
		}
	}
	s.dialog.end()
	if s.ev.Ended != nil {
		s.ev.Ended(s, e)
	}
}
