package ue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// CallOptions say how a call is made.
type CallOptions struct {
	// NumberForm is how a dialled number is written.
	NumberForm NumberForm
	// NoPreconditions leaves out the preconditions of RFC 3312, No100rel these and
	// reliable responses.
	NoPreconditions, No100rel bool
	// CancelAfter, if not 0, gives up that long after it has begun to ring.
	CancelAfter time.Duration
	// Fields are further header lines of the INVITE.
	Fields []sip.Field
}

// CallEnd says how a call ended.
type CallEnd struct {
	// Status and Reason are those of the final response to an INVITE that was not
	// answered with 200.
	Status int
	Reason string
	// Cause says in words who ended it: "we hung up", "the peer hung up", …
	Cause string
	// PeerReason is the Reason header of the peer's BYE.
	PeerReason string
	// Unknown: our BYE was answered 481, nobody knew the call any more.
	Unknown bool
	Err     error
}

// Call is a call, to the phone or from it.
type Call struct {
	phone *Phone
	// Peer is the other side's URI: the one dialled, or who the network says calls.
	Peer     string
	Outgoing bool
	CallID   string

	ringing, answered, done chan struct{}
	rang, up                sync.Once
	end                     CallEnd // set before done is closed

	// What follows belongs to the call's shard.
	inv       *dialog.Invitation
	session   *dialog.Session
	media     *media
	reserved  bool // the caller's UPDATE that says so has been sent
	settled   bool // the callee has answered the offer before its 200
	ended     bool
	script    Answer
	confirmed bool
	cancelled bool
}

func newCall(p *Phone, peer, callID string) *Call {
	return &Call{phone: p, Peer: peer, CallID: callID, ringing: make(chan struct{}), answered: make(chan struct{}), done: make(chan struct{})}
}

// Ringing is closed when the callee rings.
func (c *Call) Ringing() <-chan struct{} { return c.ringing }

// Answered is closed when the call is up.
func (c *Call) Answered() <-chan struct{} { return c.answered }

// Done is closed when the call has ended; End then says how.
func (c *Call) Done() <-chan struct{} { return c.done }

// End returns how the call ended; zero before it has.
func (c *Call) End() CallEnd {
	select {
	case <-c.done:
		return c.end
	default:
		return CallEnd{}
	}
}

// Call calls target, a URI or what one would dial, and waits until the call is up.
// When ctx ends before, the call is cancelled. An error is an *Error.
func (p *Phone) Call(ctx context.Context, target string, opt CallOptions) (*Call, error) {
	c, err := p.Dial(target, opt)
	if err != nil {
		return nil, err
	}
	doing := "calling " + c.Peer
	select {
	case <-c.answered:
		return c, nil
	case <-c.done:
	case <-ctx.Done():
		c.Cancel()
		return nil, &Error{Doing: doing, Err: context.Cause(ctx), Next: "the call has been cancelled; look at how far it came: Call-ID " + c.CallID}
	case <-p.closed:
		return nil, &Error{Doing: doing, Err: ErrClosed}
	}
	select {
	case <-c.answered: // answered, and over already
		return c, nil
	default:
	}
	var e *Error
	if !errors.As(c.end.Err, &e) {
		e = &Error{Doing: doing, Err: errors.New(c.end.Cause)}
	}
	return nil, e
}

// Dial is Call without waiting: see Ringing, Answered and Done.
func (p *Phone) Dial(dialled string, opt CallOptions) (*Call, error) {
	doing := "calling " + dialled
	g := p.Registration()
	if g == nil {
		return nil, &Error{Doing: doing, Err: ErrNotRegistered, Next: "call Register first"}
	}
	ruri, err := target(dialled, p.cfg.Domain, opt.NumberForm)
	if err != nil {
		return nil, &Error{Doing: doing, Err: err}
	}
	c := newCall(p, ruri, sip.NewCallID())
	c.Outgoing = true
	pre := !opt.NoPreconditions && !opt.No100rel
	c.media = p.newMedia(pre)
	req := p.newRequest("INVITE", ruri, g)
	req.CallID = c.CallID
	req.Body = dialog.Part{Type: sdpType, Body: c.media.offer()}
	req.Fields = append(req.Fields, inviteFields(pre, opt.No100rel)...)
	req.Fields = append(req.Fields, opt.Fields...)
	ev := dialog.InviteEvents{SessionEvents: c.events(), Failed: c.failed}
	ev.Progress = func(s *dialog.Session, m *sip.Message) { c.progress(s, m, opt.CancelAfter) }
	ev.Pracked = c.pracked
	ready := make(chan struct{})
	shard := p.core.Shard(c.CallID)
	shard.Post(func() {
		defer close(ready)
		c.inv, err = p.agent.Invite(req, ev)
	})
	if _, werr := wait(context.Background(), p, ready); werr != nil {
		return nil, &Error{Doing: doing, Err: werr}
	}
	if err != nil {
		return nil, &Error{Doing: doing, Err: err}
	}
	return c, nil
}

// inviteFields are what a VoLTE phone puts into an INVITE (TS 24.229 5.1.3.1, IR.92
// 2.4).
func inviteFields(preconditions, no100rel bool) []sip.Field {
	tags := "100rel, precondition"
	switch {
	case no100rel:
		tags = ""
	case !preconditions:
		tags = "100rel"
	}
	f := []sip.Field{
		{ID: sip.HAllow, Value: allow},
		{ID: sip.HAccept, Value: "application/sdp, application/3gpp-ims+xml"},
		{ID: sip.HAcceptContact, Value: `*;+g.3gpp.icsi-ref="` + mmtel + `"`},
		{ID: sip.HPPreferredService, Value: "urn:urn-7:3gpp-service.ims.icsi.mmtel"},
		{ID: sip.HPEarlyMedia, Value: "supported"},
	}
	if tags != "" {
		f = append(f, sip.Field{ID: sip.HSupported, Value: tags})
	}
	return f
}

// events are the callbacks that both sides of a call share.
func (c *Call) events() dialog.SessionEvents {
	return dialog.SessionEvents{
		Confirmed: c.isUp,
		Request:   c.request,
		Ended: func(s *dialog.Session, e dialog.SessionEnd) {
			if c.Outgoing && (!c.confirmed || s != c.session) {
				return // one of several early dialogs: Failed tells of the call
			}
			end := CallEnd{Cause: e.Cause.String(), Err: e.Err}
			if e.Msg != nil {
				end.PeerReason = strings.Clone(e.Msg.Get(sip.HReason))
			}
			end.Unknown = e.Cause == dialog.LocalBye && e.Outcome.Status == 481
			if e.Cause == dialog.LocalBye && !e.Outcome.OK() && e.Outcome.Status != 481 {
				end.Err = seen("hanging up on "+c.Peer, e.Outcome)
			}
			c.finish(end)
		},
	}
}

// progress takes a provisional response.
func (c *Call) progress(s *dialog.Session, m *sip.Message, cancelAfter time.Duration) {
	if s != nil {
		c.session = s
	}
	if m.Body() != "" {
		if err := c.media.accept(m.Body()); err != nil {
			c.giveUp(err)
			return
		}
	}
	if m.Status() != 180 {
		return
	}
	c.rang.Do(func() {
		close(c.ringing)
		c.phone.state(c.CallID, c.Peer+" rings.", "TS 24.229 5.1.3.1")
		if cancelAfter > 0 {
			c.after(cancelAfter, func() { c.cancel() })
		}
	})
}

// pracked hears that a reliable response is acknowledged: the resources are there
// by now, and the callee is told (RFC 3312 5, TS 24.229 5.1.3.1).
func (c *Call) pracked(s *dialog.Session, m *sip.Message, o dialog.Outcome) {
	if !o.OK() {
		c.giveUp(seen("acknowledging a "+sip.StatusText(m.Status()), o))
		return
	}
	if m.Body() == "" || c.reserved || !c.media.preconditions {
		return
	}
	c.reserved = true
	c.media.localQoS = "sendrecv"
	body := dialog.Part{Type: sdpType, Body: c.media.offer()}
	err := s.Update(body, nil, func(o dialog.Outcome) {
		switch {
		case c.ended || c.cancelled:
		case !o.OK():
			c.giveUp(seen("telling "+c.Peer+" that the resources are reserved (UPDATE)", o))
		default:
			if err := c.media.accept(o.Msg.Body()); err != nil {
				c.giveUp(err)
			}
		}
	})
	if err != nil {
		c.giveUp(err)
	}
}

// giveUp cancels a call that cannot come up.
func (c *Call) giveUp(err error) {
	if c.ended || c.cancelled {
		return
	}
	c.phone.failed(c.CallID, &Error{Doing: "setting up the call to " + c.Peer, Err: err}, "TS 24.229 5.1.3.1")
	c.end.Err = err
	c.cancelled = true
	c.inv.Cancel(sip.Field{ID: sip.HReason, Value: `SIP;cause=488;text="` + sip.StatusText(488) + `"`})
}

// isUp hears that the call is up: with the 200, or at the callee with the ACK.
func (c *Call) isUp(s *dialog.Session, m *sip.Message) {
	c.session, c.confirmed = s, true
	if c.Outgoing && m.Body() != "" {
		if err := c.media.accept(m.Body()); err != nil {
			c.phone.failed(c.CallID, &Error{Doing: "reading the answer of " + c.Peer, Err: err}, "RFC 3264")
			_ = s.Hangup(sip.Field{ID: sip.HReason, Value: "SIP;cause=488"})
			return
		}
	}
	c.up.Do(func() { close(c.answered) })
	c.phone.state(c.CallID, "The call with "+c.Peer+" is up.", "TS 24.229 5.1.3.1")
	if c.script.HangupAfter > 0 {
		c.after(c.script.HangupAfter, func() {
			if !c.ended {
				_ = s.Hangup()
			}
		})
	}
}

// failed hears that the INVITE was not answered with 200.
func (c *Call) failed(_ *dialog.Invitation, o dialog.Outcome) {
	c.phone.restoration(o)
	e := seen("calling "+c.Peer, o)
	switch {
	case c.end.Err != nil: // giveUp has said why
		e.Err = c.end.Err
	case c.cancelled:
		e.Next = "we cancelled it"
	case o.Status == 404 || o.Status == 480:
		e.Next = "check that " + c.Peer + " is provisioned and registered"
	case o.Status == 403:
		e.Next = "check that the phone is registered, and from this address and port"
	case o.Msg == nil:
		e.Next = fmt.Sprintf("check that the P-CSCF %v still answers", *c.phone.pcscf.Load())
	}
	c.phone.failed(c.CallID, e, "TS 24.229 5.1.3.1")
	end := CallEnd{Status: o.Status, Cause: dialog.Failed.String(), Err: e}
	if o.Msg != nil {
		end.Reason = strings.Clone(o.Msg.Reason())
	}
	c.finish(end)
}

func (c *Call) finish(end CallEnd) {
	if c.ended {
		return
	}
	c.ended = true
	c.end = end
	c.phone.state(c.CallID, "The call with "+c.Peer+" has ended: "+end.Cause+".", "")
	close(c.done)
}

// request takes a request within the call.
func (c *Call) request(s *dialog.Session, in *dialog.Incoming) {
	m := in.Req
	switch m.Method() {
	case "INFO":
		in.Reply(200, "", dialog.Part{})
		return
	case "INVITE", "UPDATE", "PRACK":
	default:
		in.Reply(405, "", dialog.Part{}, sip.Field{ID: sip.HAllow, Value: allow})
		return
	}
	var body dialog.Part
	switch {
	case m.Body() != "":
		text, err := c.media.answer(m.Body())
		if err != nil {
			in.Reply(488, "", dialog.Part{}, warning(c.phone, err))
			return
		}
		body = dialog.Part{Type: sdpType, Body: text}
	case m.Method() == "INVITE": // an offer is wanted
		body = dialog.Part{Type: sdpType, Body: c.media.offer()}
	}
	in.Reply(200, "", body)
	if !c.Outgoing && m.Method() == "UPDATE" {
		// The 200 may leave by TCP and the 180 by UDP: let it go ahead.
		c.after(alertAfter, func() {
			if !c.ended {
				c.advance(s)
			}
		})
	}
}

// warning is a Warning header that says what is wrong (RFC 3261 20.43).
func warning(p *Phone, err error) sip.Field {
	return sip.Field{ID: sip.HWarning, Value: "399 " + p.Addr().String() + " " + sip.Quote(err.Error())}
}

// Cancel gives up before the call is answered, if it is not too late.
func (c *Call) Cancel() { c.post(c.cancel) }

func (c *Call) cancel() {
	if c.ended || c.cancelled || c.inv == nil {
		return
	}
	c.cancelled = true
	c.inv.Cancel()
}

// Hangup ends the call, whatever its state, and waits for its end. An error is an
// *Error.
func (c *Call) Hangup(ctx context.Context) error {
	c.post(func() {
		switch {
		case c.ended:
		case c.confirmed:
			_ = c.session.Hangup()
		case c.Outgoing:
			c.cancel()
		case c.session != nil && c.session.Hangup() != nil:
			_ = c.session.Reject(480, "")
		}
	})
	if _, err := wait(ctx, c.phone, c.done); err != nil {
		return &Error{Doing: "hanging up on " + c.Peer, Err: err}
	}
	var e *Error
	if c.confirmedEnd() && errors.As(c.end.Err, &e) {
		return e
	}
	return nil
}

// confirmedEnd reports whether the call had been up.
func (c *Call) confirmedEnd() bool {
	select {
	case <-c.answered:
		return true
	default:
		return false
	}
}

// Hold puts the peer on hold by a re-INVITE (TS 24.610 4.5.2), Resume takes it off.
// An error is an *Error.
func (c *Call) Hold(ctx context.Context) error { return c.reoffer(ctx, "holding", "sendonly") }

// Resume ends Hold.
func (c *Call) Resume(ctx context.Context) error { return c.reoffer(ctx, "resuming", "sendrecv") }

func (c *Call) reoffer(ctx context.Context, verb, direction string) error {
	doing := verb + " the call with " + c.Peer
	type result struct {
		o   dialog.Outcome
		err error
	}
	done := make(chan result, 1)
	c.post(func() {
		if c.ended || !c.confirmed {
			done <- result{err: dialog.ErrState}
			return
		}
		before := c.media.direction
		c.media.direction = direction
		err := c.session.Reinvite(dialog.Part{Type: sdpType, Body: c.media.offer()}, nil, func(o dialog.Outcome) {
			if !o.OK() {
				c.media.direction = before
			} else if o.Msg.Body() != "" {
				_ = c.media.accept(o.Msg.Body())
			}
			done <- result{o: o}
		})
		if err != nil {
			c.media.direction = before
			done <- result{err: err}
		}
	})
	r, err := wait(ctx, c.phone, done)
	switch {
	case err != nil:
		return &Error{Doing: doing, Err: err}
	case r.err != nil:
		return &Error{Doing: doing, Err: r.err}
	case !r.o.OK():
		return seen(doing, r.o)
	}
	return nil
}

// post runs f on the call's shard.
func (c *Call) post(f func()) { c.phone.core.Shard(c.CallID).Post(f) }

// after runs f on the call's shard when d has passed; it is called there.
func (c *Call) after(d time.Duration, f func()) { c.phone.core.Shard(c.CallID).After(d, f) }

// OnHold reports whether the peer has put us on hold.
func (c *Call) OnHold(ctx context.Context) (bool, error) {
	held := make(chan bool, 1)
	c.post(func() {
		held <- c.media != nil && (c.media.peerDirection == "sendonly" || c.media.peerDirection == "inactive")
	})
	return wait(ctx, c.phone, held)
}
