package ue

import (
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// Action is what a phone does with a call in the end.
type Action uint8

const (
	// Accept answers with 200.
	Accept Action = iota
	// Busy answers with 486.
	Busy
	// Decline answers with 603.
	Decline
	// NoAnswer rings until the caller gives up.
	NoAnswer
	// Silent does not even ring.
	Silent
)

// Answer is the script for a call to the phone.
type Answer struct {
	Action Action
	// RingFor is how long it rings before Action. With Busy and 0 it does not ring.
	RingFor time.Duration
	// HangupAfter, if not 0, hangs up that long after the call is up.
	HangupAfter time.Duration
}

// SetAnswer changes what the phone does with calls from now on.
func (p *Phone) SetAnswer(a Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = a
}

// Calls gives the calls to the phone as they come, whatever becomes of them. A call
// that nobody takes out of a full channel goes its way all the same.
func (p *Phone) Calls() <-chan *Call { return p.calls }

// invited takes an INVITE outside dialogs (TS 24.229 5.1.4.1).
func (p *Phone) invited(in *dialog.Incoming) {
	c := newCall(p, peerOf(in.Req), strings.Clone(in.Req.CallID()))
	s, err := p.agent.Accept(in, c.events())
	if err != nil {
		return // it has been answered
	}
	c.session = s
	p.mu.Lock()
	c.script = p.answer
	p.mu.Unlock()
	if p.cfg.OnCall != nil {
		c.script = p.cfg.OnCall(c)
	}
	select {
	case p.calls <- c:
	default:
	}
	p.state(c.CallID, "Call from "+c.Peer+".", "TS 24.229 5.1.4.1")
	switch a := c.script; {
	case a.Action == Silent:
		return
	case a.RingFor == 0 && a.Action == Busy:
		_ = s.Reject(486, "")
		return
	case a.RingFor == 0 && a.Action == Decline:
		_ = s.Reject(603, "")
		return
	}
	c.offered(s, in.Req)
}

// offered takes the offer of the INVITE. With preconditions the phone does not ring
// before both sides have their resources (RFC 3312 6).
func (c *Call) offered(s *dialog.Session, m *sip.Message) {
	p := c.phone
	c.media = p.newMedia(s.Supports100rel() && (m.HasOption(sip.HSupported, "precondition") || m.HasOption(sip.HRequire, "precondition")))
	if m.Body() == "" { // the 200 will hold the offer
		c.media.preconditions = false
		c.ring(s)
		return
	}
	// Our resources are there as soon as somebody asks for them.
	pre := c.media.preconditions
	text, err := c.media.answer(m.Body())
	if err != nil {
		_ = s.Reject(488, "", warning(p, err))
		return
	}
	if pre && c.media.preconditions && !c.media.met() {
		if c.media.remoteQoS == "sendrecv" { // the caller waits for nobody but us
			c.media.localQoS = "sendrecv"
			text, _ = c.media.answer(m.Body())
		}
		_ = s.Progress(183, "", true, dialog.Part{Type: sdpType, Body: text}, requirePrecondition)
		c.settled = true
		c.media.localQoS = "sendrecv"
		c.advance(s)
		return
	}
	c.ring(s)
}

var requirePrecondition = sip.Field{ID: sip.HSupported, Value: "precondition"}

// alertAfter is what a phone needs from reserved resources to alerting its user.
const alertAfter = 20 * time.Millisecond

// advance rings once the preconditions are met.
func (c *Call) advance(s *dialog.Session) {
	if c.media.met() {
		c.ring(s)
	}
}

// ring alerts the user and does what the script says.
func (c *Call) ring(s *dialog.Session) {
	c.rang.Do(func() {
		close(c.ringing)
		_ = s.Progress(180, "", true, dialog.Part{})
		if c.script.Action != NoAnswer {
			c.after(c.script.RingFor, func() { c.act(s) })
		}
	})
}

// act ends the ringing.
func (c *Call) act(s *dialog.Session) {
	if c.ended {
		return
	}
	switch c.script.Action {
	case Busy:
		_ = s.Reject(486, "")
	case Decline:
		_ = s.Reject(603, "")
	default:
		var body dialog.Part
		// The answer is in the 183, where there was one; without preconditions it
		// is due now (RFC 3261 13.2.1), and so is an offer if the caller made none.
		switch in := s.Incoming().Req; {
		case in.Body() == "":
			body = dialog.Part{Type: sdpType, Body: c.media.offer()}
		case !c.settled:
			if text, err := c.media.answer(in.Body()); err == nil {
				body = dialog.Part{Type: sdpType, Body: text}
			}
		}
		_ = s.Answer(body)
	}
}
