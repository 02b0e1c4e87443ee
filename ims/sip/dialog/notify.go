package dialog

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// maxNotify bounds the NOTIFYs that wait for the one before to be answered.
const maxNotify = 32

// notify is a NOTIFY that waits, is out, or shall be tried again.
type notify struct {
	body   Part
	fields []sip.Field
	final  string // value of Subscription-State when it is the last
	state  bool   // NotifierEvents.State makes the body
	made   bool   // and has made it: it is out, or was
	part   int    // of the state
	more   bool   // there is a part behind it
	tried  bool
	err    error // why the body is left out
}

// Notify sends a NOTIFY with state active. ErrBusy means that the subscriber is
// too slow: the caller may Terminate, or skip this state if a later one is full.
func (n *Notifier) Notify(body Part, fields ...sip.Field) error {
	return n.enqueue(notify{body: body, fields: fields})
}

// Changed sends a NOTIFY with state active and the body of NotifierEvents.State. One
// that waits already stands for this change, too: a slow subscriber is told what is, not
// what was.
func (n *Notifier) Changed(fields ...sip.Field) error {
	if last := len(n.queue) - 1; last >= 0 && n.queue[last].state && !n.queue[last].made && !n.Ended() {
		return nil
	}
	return n.enqueue(notify{state: true, fields: fields})
}

func (n *Notifier) enqueue(q notify) error {
	switch {
	case n.Ended():
		return ErrEnded
	case len(n.queue) >= maxNotify:
		return ErrBusy
	}
	n.queue = append(n.queue, q)
	n.next()
	return nil
}

// Terminate sends the last NOTIFY: reason is "deactivated", "rejected",
// "noresource", "timeout" …; retryAfter is in seconds, 0 for none (RFC 6665
// 4.4.1). NOTIFYs that wait are sent before.
func (n *Notifier) Terminate(reason string, retryAfter uint32, body Part, fields ...sip.Field) {
	n.terminate(reason, retryAfter, notify{body: body, fields: fields})
}

// Conclude is Terminate with the body of NotifierEvents.State. It stands for the changes
// that wait, too.
func (n *Notifier) Conclude(reason string, retryAfter uint32, fields ...sip.Field) {
	if n.Ended() {
		return
	}
	n.queue = slices.DeleteFunc(n.queue, func(q notify) bool { return q.state && !q.made })
	n.terminate(reason, retryAfter, notify{state: true, fields: fields})
}

func (n *Notifier) terminate(reason string, retryAfter uint32, last notify) {
	if n.Ended() {
		return
	}
	last.final = sip.SubscriptionState{State: "terminated", Reason: reason, RetryAfter: retryAfter}.String()
	n.over = true
	n.expiry.stop()
	if until := time.Now().Add(n.patience()); until.Before(n.until) {
		n.until = until // nothing is tried again later than that
	}
	n.queue = append(n.queue, last)
	n.next()
}

// patience is the longest that a subscriber may have a NOTIFY put off, as long as he may
// take to answer one: until then we keep what we have to tell.
func (n *Notifier) patience() time.Duration {
	a := n.dialog.agent
	return 64 * a.timers(a.hop(n.dialog.hop)).T1
}

// next sends the first NOTIFY of the queue if none is out.
func (n *Notifier) next() {
	if n.busy || n.pause.on || n.ended || len(n.queue) == 0 {
		return
	}
	out := &n.queue[0]
	if out.state && !out.made {
		out.body, out.more = n.ev.State(n, out.part)
		out.made = true
	}
	state := out.final
	if state == "" || out.more {
		left := uint32((n.Remaining() + time.Second - 1) / time.Second)
		state = sip.SubscriptionState{State: "active", Expires: left, HasExpires: true}.String()
	}
	fields := append([]sip.Field{{ID: sip.HEvent, Value: n.event}, {ID: sip.HSubscriptionState, Value: state}}, out.fields...)
	n.busy = true
	err := n.dialog.Do("NOTIFY", out.body, fields, n.answered)
	if err == nil {
		return
	}
	n.busy = false
	if errors.Is(err, sip.ErrTooLarge) && out.body != (Part{}) {
		n.tooLarge(err)
	} else {
		n.end(SubscriptionEnd{Err: err})
	}
}

// unsendable is the Retry-After, in seconds, of a subscription whose state no message
// takes: it will not at once.
const unsendable = 300

// tooLarge ends the subscription because the first of the queue is longer than a message
// may be: without its body the subscriber hears at least that.
func (n *Notifier) tooLarge(err error) {
	last := n.queue[0]
	if n.over && last.final == "" { // the last one may be shorter
		n.pop()
		n.next()
		return
	}
	if last.final == "" {
		last.final = sip.SubscriptionState{State: "terminated", Reason: "probation", RetryAfter: unsendable}.String()
	}
	last.body, last.state, last.more, last.err = Part{}, false, false, err
	n.over = true
	n.expiry.stop()
	n.queue = []notify{last}
	n.next()
}

// answered hears how the first of the queue ended. One that failed for good takes the
// subscription with it (RFC 6665 4.2.2); one with Retry-After is tried again once.
func (n *Notifier) answered(o Outcome) {
	n.busy = false
	if n.ended {
		return
	}
	sent := &n.queue[0]
	if !o.OK() && o.Msg != nil && o.Status != 481 && !sent.tried {
		if seconds, ok := sip.ParseRetryAfter(o.Msg.Get(sip.HRetryAfter)); ok {
			if wait := min(time.Duration(seconds)*time.Second, n.patience()); wait < n.Remaining() {
				sent.tried = true
				n.pause.start(n.dialog.shard, wait, n.next)
				return
			}
		}
	}
	switch {
	case o.OK() && sent.more:
		sent.part++
		sent.made, sent.tried = false, false
		n.next()
	case sent.final != "":
		st, _ := sip.ParseSubscriptionState(sent.final)
		n.end(SubscriptionEnd{Reason: st.Reason, RetryAfter: st.RetryAfter, Err: sent.err})
	case !o.OK() && (!n.over || o.Msg == nil || o.Status == 481): // what else fails, the last one may not
		n.dialog.agent.note(n.dialog.CallID, fmt.Sprintf("a NOTIFY failed: %v; the subscription is removed (RFC 6665 4.2.2)", o))
		n.end(SubscriptionEnd{Outcome: o})
	default:
		n.pop()
		n.next()
	}
}

func (n *Notifier) pop() {
	if n.queue = slices.Delete(n.queue, 0, 1); len(n.queue) == 0 {
		n.queue = nil // the subscription lasts for days, the list would keep what it had
	}
}
