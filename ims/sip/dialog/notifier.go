package dialog

import (
	"fmt"
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
	// full state (RFC 6665 4.2.1.2). It calls Notify or Changed.
	Refreshed func(n *Notifier)
	// Final gives the body of the NOTIFY that ends the subscription because its
	// time is up or the subscriber asked for it. Where State is given, that does.
	Final func(n *Notifier) Part
	// State gives the body of a NOTIFY that Changed or Conclude asks for, when it is
	// sent. Where there is more than one NOTIFY takes it is called for the next part,
	// counted from 0, once the one before has been answered with 2xx.
	State func(n *Notifier, part int) (body Part, more bool)
	// Ended comes once, when the last NOTIFY has been answered or one has failed.
	Ended func(n *Notifier, e SubscriptionEnd)
}

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

// AcceptSubscription answers a SUBSCRIBE outside dialogs with 200, granting so
// many seconds, and makes the notifier's side of it. The caller has checked event
// package and authorization and sends the first NOTIFY, at once; for a grant of 0
// (a fetch) by Terminate("timeout", …) or Conclude.
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
	if n.ev.State != nil {
		n.Conclude("timeout", 0)
		return
	}
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
