package dialog

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// SubscribeRequest asks for a subscription (RFC 6665 4.1.2). Method is ours to
// set; Accept and the like go into Fields.
type SubscribeRequest struct {
	Request
	Event   string // value of Event: "reg"
	Expires uint32 // seconds asked for, again at each refresh
}

// SubscriptionEvents are the subscriber's callbacks; each may be nil.
type SubscriptionEvents struct {
	// Accepted gets the 2xx to a SUBSCRIBE, refreshes included.
	Accepted func(s *Subscription, m *sip.Message)
	// Notify gets each NOTIFY in order. Unless it has replied when it returns,
	// the NOTIFY is answered with 200.
	Notify func(s *Subscription, in *Incoming, st sip.SubscriptionState)
	// Refused gets what a refresh came to that failed and did not end the subscription.
	Refused func(s *Subscription, o Outcome)
	// Ended comes once, after the NOTIFY that ended it, if one did.
	Ended func(s *Subscription, e SubscriptionEnd)
}

// SubscriptionEnd says why a subscription is over.
type SubscriptionEnd struct {
	// Reason and RetryAfter (seconds) are those of a NOTIFY that terminated it.
	Reason     string
	RetryAfter uint32
	// Outcome is that of the SUBSCRIBE, or on the notifier's side the NOTIFY, that
	// failed; zero otherwise.
	Outcome Outcome
	// Err is ErrExpired, ErrNoNotify or another cause that is no response.
	Err error
}

// Subscription is the subscriber's side of a subscription. It refreshes itself
// 600 s before it expires, or at half of its time when that is 1200 s or less (TS
// 24.229 5.1.1.3).
type Subscription struct {
	// Data is the user's.
	Data any

	req      SubscribeRequest
	ev       SubscriptionEvents
	agent    *Agent
	shard    *transaction.Shard
	dialog   *Dialog // nil until a 2xx or a NOTIFY has come
	until    time.Time
	refresh  timer
	expiry   timer
	wait     timer // timer N
	notified bool
	closing  bool // Unsubscribe or Lapse was called
	raised   bool // 423 has raised Expires once
	ended    bool
}

// Subscribe sends a SUBSCRIBE. It may be called from any goroutine.
func (a *Agent) Subscribe(r *SubscribeRequest, ev SubscriptionEvents) (*Subscription, error) {
	core := a.core.Load()
	if core == nil {
		return nil, ErrUnbound
	}
	s := &Subscription{req: *r, ev: ev, agent: a}
	s.req.Method = "SUBSCRIBE"
	s.req.complete()
	if s.req.Contact == "" {
		s.req.Contact = a.contact()
	}
	s.shard = core.Shard(s.req.CallID)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.dialogs)+len(a.awaited) >= a.cfg.MaxDialogs {
		return nil, ErrTooMany
	}
	a.awaited[half{s.req.CallID, s.req.FromTag}] = s
	s.shard.Post(func() { s.start(core) })
	return s, nil
}

func (s *Subscription) start(core *proxy.Core) {
	b := s.req.message(s.agent).AddFields(s.fields(s.req.Expires)...)
	if _, err := s.agent.originate(core, b, s.req.target(s.agent), nil, s.subscribed); err != nil {
		s.end(SubscriptionEnd{Err: err})
	}
}

func (s *Subscription) fields(expires uint32) []sip.Field {
	return []sip.Field{
		{ID: sip.HEvent, Value: s.req.Event},
		{ID: sip.HExpires, Value: strconv.FormatUint(uint64(expires), 10)},
	}
}

// Post runs f on the subscription's shard. It may be called from any goroutine.
func (s *Subscription) Post(f func()) { s.shard.Post(f) }

// Dialog returns the dialog, nil before there is one.
func (s *Subscription) Dialog() *Dialog { return s.dialog }

// Remaining returns how long the subscription still lasts.
func (s *Subscription) Remaining() time.Duration { return max(0, time.Until(s.until)) }

// Refresh sends a SUBSCRIBE now: the notifier answers with its full state.
func (s *Subscription) Refresh() error {
	if s.ended || s.closing || s.dialog == nil {
		return ErrState
	}
	fields := append(s.fields(s.req.Expires), s.req.Fields...)
	return s.dialog.Do("SUBSCRIBE", Part{}, fields, s.subscribed)
}

// Unsubscribe ends the subscription; Ended comes with the last NOTIFY, or without
// it in 64·T1.
func (s *Subscription) Unsubscribe() {
	if s.ended || s.closing {
		return
	}
	s.closing = true
	if s.dialog != nil {
		s.leave()
	} // else with the 2xx
}

// Lapse ends the subscription without a SUBSCRIBE, because the notifier knows that
// it has ended. A last NOTIFY is still answered; Ended comes with it, or without it
// in 64·T1.
func (s *Subscription) Lapse() {
	if s.ended || s.closing {
		return
	}
	s.closing = true
	s.refresh.stop()
	s.expiry.stop()
	s.startWait()
}

func (s *Subscription) leave() {
	s.refresh.stop()
	s.startWait()
	err := s.dialog.Do("SUBSCRIBE", Part{}, append(s.fields(0), s.req.Fields...), func(o Outcome) {
		if !o.OK() {
			s.end(SubscriptionEnd{Outcome: o})
		}
	})
	if err != nil {
		s.end(SubscriptionEnd{Err: err})
	}
}

func (s *Subscription) startWait() {
	s.wait.start(s.shard, 64*s.agent.timers(s.agent.hop(s.req.Hop)).T1, func() { s.end(SubscriptionEnd{Err: ErrNoNotify}) })
}

// subscribed hears how a SUBSCRIBE ended.
func (s *Subscription) subscribed(o Outcome) {
	if s.ended {
		return
	}
	if !o.OK() {
		s.refused(o)
		return
	}
	if s.dialog == nil {
		s.begin(s.agent.newUAC(s.shard, &s.req.Request, o.Msg))
	} else if o.Msg.ToTag() != s.dialog.RemoteTag {
		return // another fork was first, by its NOTIFY
	}
	granted, ok := o.Msg.Expires()
	if !ok {
		granted = s.req.Expires
	}
	s.lasts(granted)
	if !s.notified {
		s.startWait()
	}
	if s.ev.Accepted != nil {
		s.ev.Accepted(s, o.Msg)
	}
	if s.closing && !s.ended {
		s.leave()
	}
}

// refused hears that a SUBSCRIBE failed. The first one ends the subscription; of
// the others only what says that it is gone (RFC 6665 4.1.2.2).
func (s *Subscription) refused(o Outcome) {
	if o.Status == 423 && o.Msg != nil && !s.raised {
		if least, ok := sip.ParseDelta(o.Msg.Get(sip.HMinExpires)); ok && least > s.req.Expires {
			s.raised = true
			s.req.Expires = least
			if s.dialog != nil {
				_ = s.Refresh()
				return
			}
			if core := s.agent.core.Load(); core != nil {
				s.req.CSeq++
				s.start(core)
				return
			}
		}
	}
	gone := s.dialog == nil
	switch o.Status {
	case 404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		gone = true
	}
	if gone {
		s.end(SubscriptionEnd{Outcome: o})
		return
	}
	s.agent.note(s.req.CallID, fmt.Sprintf("refreshing the subscription failed: %v; it goes on until it expires", o))
	if left := s.Remaining(); left > time.Minute {
		s.refresh.start(s.shard, left/2, func() { _ = s.Refresh() })
	}
	if s.ev.Refused != nil {
		s.ev.Refused(s, o)
	}
}

// begin takes the dialog of a 2xx or of a NOTIFY.
func (s *Subscription) begin(d *Dialog) {
	s.unawait()
	s.dialog = d
	d.usage = s
	s.agent.add(d)
}

func (s *Subscription) unawait() {
	s.agent.mu.Lock()
	delete(s.agent.awaited, half{s.req.CallID, s.req.FromTag})
	s.agent.mu.Unlock()
}

// adopt takes a NOTIFY that came before the 2xx.
func (s *Subscription) adopt(x *proxy.Exchange) bool {
	if s.dialog != nil || s.ended {
		return false
	}
	s.begin(s.agent.newUAC(s.shard, &s.req.Request, x.Req))
	s.dialog.receive(x)
	return true
}

// lasts sets how many seconds the subscription still has.
func (s *Subscription) lasts(seconds uint32) {
	d := time.Duration(seconds) * time.Second
	s.until = time.Now().Add(d)
	if seconds == 0 { // a fetch: the NOTIFY that ends it is on its way
		s.expiry.stop()
		s.refresh.stop()
		s.startWait()
		return
	}
	s.expiry.start(s.shard, d, func() { s.end(SubscriptionEnd{Err: ErrExpired}) })
	if s.closing {
		return
	}
	s.refresh.start(s.shard, RefreshAfter(d), func() { _ = s.Refresh() })
}

// RefreshAfter is when a phone renews a registration or subscription that was
// granted for d: 600 s before its end if d is above 1200 s, else at half of it (TS
// 24.229 5.1.1.3, 5.1.1.4.1).
func RefreshAfter(d time.Duration) time.Duration {
	if d > 1200*time.Second {
		return d - 600*time.Second
	}
	return d / 2
}

func (s *Subscription) receive(in *Incoming) {
	m := in.Req
	if m.Method() != "NOTIFY" {
		in.notAllowed()
		return
	}
	if !sameEvent(m.Get(sip.HEvent), s.req.Event) {
		in.Reply(481, "Event Does Not Match", Part{})
		return
	}
	st, err := sip.ParseSubscriptionState(m.Get(sip.HSubscriptionState))
	if err != nil {
		in.Reply(400, "Bad Subscription-State", Part{})
		return
	}
	s.notified = true
	over := strings.EqualFold(st.State, "terminated")
	if !s.closing || over {
		s.wait.stop()
	}
	if !over && st.HasExpires && !s.closing {
		s.lasts(st.Expires)
	}
	if s.ev.Notify != nil {
		s.ev.Notify(s, in, st)
	}
	in.Reply(200, "", Part{})
	if over {
		s.end(SubscriptionEnd{Reason: st.Reason, RetryAfter: st.RetryAfter})
	}
}

func (s *Subscription) end(e SubscriptionEnd) {
	if s.ended {
		return
	}
	s.ended = true
	s.refresh.stop()
	s.expiry.stop()
	s.wait.stop()
	s.unawait()
	if s.dialog != nil {
		s.dialog.end()
	}
	if s.ev.Ended != nil {
		s.ev.Ended(s, e)
	}
}

// sameEvent reports whether two Event values name the same subscription: package
// and id (RFC 6665 8.2.1).
func sameEvent(a, b string) bool {
	x, err := sip.ParseEvent(a)
	if err != nil {
		return false
	}
	y, err := sip.ParseEvent(b)
	return err == nil && strings.EqualFold(x.Package, y.Package) && x.ID == y.ID
}
