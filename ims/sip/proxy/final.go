package proxy

import (
	"errors"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/sip/transport"
)

// Final is how a branch ended: with a response from 300 on, or without one.
type Final struct {
	Branch *Branch
	Status int // of the response; 408 for a time-out, 513 for one too large, 503 when it could not be sent
	// Msg is the response; nil when none came.
	Msg *sip.Message
	// Edits changes the response when it is sent.
	Edits sip.Edits
	// Err says why there is no response.
	Err error
}

// Local reports whether no response came: Status stands for what happened.
func (f *Final) Local() bool { return f.Msg == nil }

// choose returns the best final response (RFC 3261 16.7 step 6), nil if there is none.
func (x *Exchange) choose() *Final {
	var best *Final
	for _, f := range x.finals {
		if best == nil || better(f.Status, best.Status) || f.Status == best.Status && best.Local() && !f.Local() {
			best = f
		}
	}
	return best
}

// maxRounds bounds how often OnBest may begin again.
const maxRounds = 64

// check sends the best response once every branch has ended.
func (x *Exchange) check() {
	if x.done || x.live > 0 || x.choosing || x.starting {
		return
	}
	for {
		best := x.choose()
		if best == nil { // all were taken by OnResponse, or cancelled before they left
			if x.cancelled {
				x.giveUp(487, "")
			} else {
				x.settle()
			}
			return
		}
		if x.onBest == nil || x.cancelled || x.rounds == maxRounds {
			x.conclude(best)
			return
		}
		x.rounds++
		seen := x.completed
		x.choosing = true
		pass := x.onBest(best)
		x.choosing = false
		if x.done || x.live > 0 {
			return
		}
		if pass {
			x.conclude(best)
			return
		}
		if x.completed == seen { // it will act later
			x.settle()
			return
		}
	}
}

// conclude sends best, or what RFC 3261 16.7 makes of it.
func (x *Exchange) conclude(best *Final) {
	invite := x.Req.Method() == "INVITE"
	status := best.Status
	switch {
	case x.origin != nil:
		x.finish()
		if best.Local() {
			x.origin.Failed(x, status, best.Err)
		} else {
			x.origin.Response(x, best.Msg)
		}
		x.end()
		return
	case x.cancelled && best.Local():
		x.Reply(487, "")
		return
	case status == 408 && !invite:
		x.abandon()
		return
	case best.Local() && status == 503:
		x.Reply(500, "Next Hop Unreachable")
		return
	case best.Local():
		x.Reply(status, "")
		return
	}
	e := &best.Edits
	if status == 503 {
		// It speaks of the next hop, not of us (RFC 3261 16.7 step 6).
		status = 500
		e.Status(500, "")
		e.Remove(sip.HRetryAfter)
	}
	if status == 401 || status == 407 {
		x.mergeChallenges(best)
	}
	x.finish()
	x.relay(status, best.Msg, e)
	x.end()
}

// abandon ends a non-INVITE without an answer (RFC 4320 4.2): whoever asked has
// given up as well, a 408 would only meet a dead transaction.
func (x *Exchange) abandon() {
	x.Trace("no answer to a non-INVITE request: none is given")
	x.finish()
	x.server.Abandon()
	x.CancelBranches()
	x.end()
}

// awaited reports whether whoever sent the request can still be waiting for its
// answer: an INVITE has had its 100, for others Timer F runs there.
func (x *Exchange) awaited() bool {
	if x.origin != nil || x.Req.Method() == "INVITE" {
		return true
	}
	t := x.core.cfg.TimersFor(x.Flow)
	f := t.F
	if f == 0 {
		if f = 64 * t.T1; f == 0 {
			f = 64 * transaction.DefaultTimers().T1
		}
	}
	return time.Duration(x.core.layer.Now()-x.start) < f
}

// mergeChallenges adds to best the challenges of all other 401 and 407
// (RFC 3261 16.7 step 7).
func (x *Exchange) mergeChallenges(best *Final) {
	for _, f := range x.finals {
		if f == best || f.Local() || f.Status != 401 && f.Status != 407 {
			continue
		}
		for _, id := range [...]sip.ID{sip.HWWWAuthenticate, sip.HProxyAuthenticate} {
			for v := range f.Msg.Lines(id) {
				best.Edits.Add(id, v)
			}
		}
	}
}

// Relay sends this response as it is, whatever 16.7 says about it: a 503, or one
// that is not the best.
func (x *Exchange) Relay(f *Final) {
	switch {
	case x.done || x.server == nil:
		x.late("Relay")
	case f.Local():
		x.Reply(f.Status, "")
	default:
		x.finish()
		x.relay(f.Status, f.Msg, &f.Edits)
		x.CancelBranches()
		x.end()
	}
}

// relay sends a branch's response towards the caller. e has dropped our Via.
func (x *Exchange) relay(status int, m *sip.Message, e *sip.Edits) {
	data := m.Edited(e)
	x.server.RespondBuffer(status, data)
	data.Free()
}

// giveUp ends the exchange with a response of our own.
func (x *Exchange) giveUp(status int, reason string) {
	if x.origin == nil {
		x.Reply(status, reason)
		return
	}
	x.finish()
	x.CancelBranches()
	x.origin.Failed(x, status, errors.New(reason))
	x.end()
}

// statusOf is the status that stands for a failure (RFC 3261 16.7 and 16.9).
func statusOf(err error) int {
	switch {
	case errors.Is(err, transaction.ErrTimeout):
		return 408
	case errors.Is(err, ErrNoRoute):
		return 416
	case errors.Is(err, transport.ErrTooLarge):
		return 513
	}
	return 503
}
