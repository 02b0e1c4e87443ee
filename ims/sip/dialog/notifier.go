package dialog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// NotifierEvents are the notifier's callbacks; each may be nil.
type NotifierEvents struct {
	// Refresh is asked, when a SUBSCRIBE comes within the dialog, how many seconds
	// to grant; given is false when it had no Expires. nil grants what was asked,
	// up to what was granted first.
	Refresh func(n *Notifier, in *Incoming, asked uint32, given bool) uint32
	// Refreshed follows when that has been answered: the subscriber is owed the
	// full state (RFC 6665 4.2.1.2). It calls Notify.
	Refreshed func(n *Notifier)
	// Final gives the body of the NOTIFY that ends the subscription because its
	// time is up or the subscriber asked for it.
	Final func(n *Notifier) Part
	// Ended comes once, when the last NOTIFY has been answered or one has failed.
	Ended func(n *Notifier, e SubscriptionEnd)
}

// maxNotify bounds the NOTIFYs that wait for the one before to be answered.
const maxNotify = 32

// Notifier is the notifier's side of a subscription. Its NOTIFYs leave one after
// the other, so that they arrive in order.
type Notifier struct {
	// Data is the user's.
	Data any

	ev     NotifierEvents
	dialog *Dialog
	event  string // value of Event, as the subscriber wrote it
	most   uint32 // granted first
	until  time.Time
	expiry timer
	pause  timer // a NOTIFY is tried again after Retry-After
	queue  []notify
	busy   bool // a NOTIFY is out
	over   bool // the terminating NOTIFY is queued or out
	ended  bool
}

type notify struct {
	body   Part
	fields []sip.Field
	final  string // value of Subscription-State when it is the last
	tried  bool
}

// AcceptSubscription answers a SUBSCRIBE outside dialogs with 200, granting so
// many seconds, and makes the notifier's side of it. The caller has checked event
// package and authorization and sends the first NOTIFY, at once; for a grant of 0
// (a fetch) by Terminate("timeout", …).
func (a *Agent) AcceptSubscription(in *Incoming, seconds uint32, ev NotifierEvents, fields ...sip.Field) (*Notifier, error) {
	if a.core.Load() == nil {
		return nil, ErrUnbound
	}
	if in.Replied() {
		return nil, fmt.Errorf("%w: the SUBSCRIBE has been answered", ErrState)
	}
	if a.full() {
		in.Reply(503, "Too Many Dialogs", Part{}, sip.Field{ID: sip.HRetryAfter, Value: "30"})
		return nil, ErrTooMany
	}
	d := a.newUAS(in)
	n := &Notifier{ev: ev, dialog: d, event: strings.Clone(in.Req.Get(sip.HEvent)), most: seconds}
	for _, f := range fields {
		if f.ID == sip.HContact {
			d.contact = f.Value
		}
	}
	d.usage = n
	in.Dialog = d
	a.add(d)
	in.Reply(200, "", Part{}, append([]sip.Field{expiresField(seconds)}, fields...)...)
	n.lasts(seconds)
	return n, nil
}

func expiresField(seconds uint32) sip.Field {
	return sip.Field{ID: sip.HExpires, Value: strconv.FormatUint(uint64(seconds), 10)}
}

// Post runs f on the notifier's shard. It may be called from any goroutine.
func (n *Notifier) Post(f func()) { n.dialog.Post(f) }

// Dialog returns the subscription's dialog.
func (n *Notifier) Dialog() *Dialog { return n.dialog }

// Remaining returns how long the subscription still lasts.
func (n *Notifier) Remaining() time.Duration { return max(0, time.Until(n.until)) }

// Ended reports whether the subscription is over or its last NOTIFY queued.
func (n *Notifier) Ended() bool { return n.ended || n.over }

// Notify sends a NOTIFY with state active. ErrBusy means that the subscriber is
// too slow: the caller may Terminate, or skip this state if a later one is full.
func (n *Notifier) Notify(body Part, fields ...sip.Field) error {
	switch {
	case n.Ended():
		return ErrEnded
	case len(n.queue) >= maxNotify:
		return ErrBusy
	}
	n.queue = append(n.queue, notify{body: body, fields: fields})
	n.next()
	return nil
}

// Terminate sends the last NOTIFY: reason is "deactivated", "rejected",
// "noresource", "timeout" …; retryAfter is in seconds, 0 for none (RFC 6665
// 4.4.1). NOTIFYs that wait are sent before.
func (n *Notifier) Terminate(reason string, retryAfter uint32, body Part, fields ...sip.Field) {
	if n.Ended() {
		return
	}
	st := sip.SubscriptionState{State: "terminated", Reason: reason, RetryAfter: retryAfter}
	n.over = true
	n.expiry.stop()
	n.queue = append(n.queue, notify{body: body, fields: fields, final: st.String()})
	n.next()
}

// next sends the first NOTIFY of the queue if none is out.
func (n *Notifier) next() {
	if n.busy || n.pause.on || n.ended || len(n.queue) == 0 {
		return
	}
	out := n.queue[0]
	state := out.final
	if state == "" {
		left := uint32((n.Remaining() + time.Second - 1) / time.Second)
		state = sip.SubscriptionState{State: "active", Expires: left, HasExpires: true}.String()
	}
	fields := append([]sip.Field{{ID: sip.HEvent, Value: n.event}, {ID: sip.HSubscriptionState, Value: state}}, out.fields...)
	n.busy = true
	err := n.dialog.Do("NOTIFY", out.body, fields, func(o Outcome) { n.answered(out, o) })
	if err != nil {
		n.busy = false
		n.end(SubscriptionEnd{Err: err})
	}
}

// answered hears how a NOTIFY ended. One that failed for good takes the
// subscription with it (RFC 6665 4.2.2); one with Retry-After is tried again once.
func (n *Notifier) answered(sent notify, o Outcome) {
	n.busy = false
	if n.ended {
		return
	}
	if !o.OK() && o.Msg != nil && o.Status != 481 && !sent.tried && n.Remaining() > 0 {
		if wait, ok := sip.ParseRetryAfter(o.Msg.Get(sip.HRetryAfter)); ok && time.Duration(wait)*time.Second < n.Remaining() {
			n.queue[0].tried = true
			n.pause.start(n.dialog.shard, time.Duration(wait)*time.Second, n.next)
			return
		}
	}
	if n.queue = slices.Delete(n.queue, 0, 1); len(n.queue) == 0 {
		n.queue = nil // the subscription lasts for days, the list would keep what it had
	}
	switch {
	case sent.final != "":
		st, _ := sip.ParseSubscriptionState(sent.final)
		n.end(SubscriptionEnd{Reason: st.Reason, RetryAfter: st.RetryAfter})
	case !o.OK():
		n.dialog.agent.note(n.dialog.CallID, fmt.Sprintf("a NOTIFY failed: %v; the subscription is removed (RFC 6665 4.2.2)", o))
		n.end(SubscriptionEnd{Outcome: o})
	default:
		n.next()
	}
}

// lasts sets how many seconds the subscription still has.
func (n *Notifier) lasts(seconds uint32) {
	d := time.Duration(seconds) * time.Second
	n.until = time.Now().Add(d)
	if seconds == 0 {
		n.expiry.stop()
		return
	}
	n.expiry.start(n.dialog.shard, d, n.expire)
}

func (n *Notifier) expire() {
	var body Part
	if n.ev.Final != nil {
		body = n.ev.Final(n)
	}
	n.Terminate("timeout", 0, body)
}

// receive takes a SUBSCRIBE within the dialog: a refresh, or the end.
func (n *Notifier) receive(in *Incoming) {
	m := in.Req
	switch {
	case m.Method() != "SUBSCRIBE":
		in.notAllowed()
		return
	case n.Ended():
		in.Reply(481, "Subscription Has Ended", Part{})
		return
	case !sameEvent(m.Get(sip.HEvent), n.event):
		in.Reply(489, "", Part{})
		return
	}
	asked, given := m.Expires()
	grant := min(asked, n.most)
	if !given {
		grant = n.most
	}
	if n.ev.Refresh != nil {
		grant = n.ev.Refresh(n, in, asked, given)
	}
	in.Reply(200, "", Part{}, expiresField(grant)) // void if Refresh has refused
	if in.status >= 300 {
		return
	}
	if grant == 0 {
		n.expire()
		return
	}
	n.lasts(grant)
	if n.ev.Refreshed != nil {
		n.ev.Refreshed(n)
	}
}

func (n *Notifier) end(e SubscriptionEnd) {
	if n.ended {
		return
	}
	n.ended = true
	n.queue = nil
	n.expiry.stop()
	n.pause.stop()
	n.dialog.end()
	if n.ev.Ended != nil {
		n.ev.Ended(n, e)
	}
}
