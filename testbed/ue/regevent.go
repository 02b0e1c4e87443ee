package ue

import (
	"errors"
	"fmt"
	"time"

	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/uri"
)

// subscribe subscribes to the state of the phone's own registration (TS 24.229
// 5.1.1.3). Why that did not begin is told to the log as well.
func (r *registrar) subscribe(g *Registration) error {
	p := r.phone
	req := &dialog.SubscribeRequest{Event: reginfo.EventPackage, Expires: p.cfg.Expires}
	req.Request = *p.newRequest("SUBSCRIBE", g.Default, g)
	req.To = "<" + g.Default + ">"
	req.Fields = append(req.Fields, sip.Field{ID: sip.HAccept, Value: reginfo.ContentType})
	var view reginfo.View
	sub, err := p.agent.Subscribe(req, dialog.SubscriptionEvents{
		Accepted: func(s *dialog.Subscription, _ *sip.Message) { p.shard().Post(func() { r.progress(s, true, false) }) },
		Refused: func(s *dialog.Subscription, o dialog.Outcome) {
			p.shard().Post(func() { r.unwatch(s, seen(subscribing, o)) })
		},
		Notify: func(s *dialog.Subscription, in *dialog.Incoming, _ sip.SubscriptionState) {
			in.Reply(200, "", dialog.Part{})
			r.notified(s, &view, g.Default, in.Req)
			p.shard().Post(func() { r.progress(s, false, true) })
		},
		Ended: func(s *dialog.Subscription, e dialog.SubscriptionEnd) {
			p.shard().Post(func() { r.unsubscribed(s, e) })
		},
	})
	if err != nil {
		p.failed(r.callID, &Error{Doing: "subscribing to the registration state of " + g.Default, Err: err}, "TS 24.229 5.1.1.3")
		return err
	}
	r.sub = sub
	return nil
}

// lapse ends the subscription because the registration has ended: nothing is sent,
// and a NOTIFY that is still to come is answered.
func (r *registrar) lapse() {
	if s := r.sub; s != nil {
		r.sub = nil
		r.unwatch(s, &Error{Doing: subscribing, Err: ErrNotRegistered})
		s.Post(s.Lapse)
	}
}

// notified takes a NOTIFY of the registration of aor, on the subscription's shard.
func (r *registrar) notified(s *dialog.Subscription, view *reginfo.View, aor string, m *sip.Message) {
	p := r.phone
	if m.Body() == "" {
		return
	}
	doc, err := reginfo.Parse([]byte(m.Body()))
	if err != nil {
		p.failed(m.CallID(), &Error{Doing: "reading the registration state in a NOTIFY", Err: err,
			Next: "look at the notifier, the S-CSCF"}, "RFC 3680 5")
		return
	}
	switch view.Apply(doc) {
	case reginfo.Stale:
		return
	case reginfo.Gap: // RFC 3680 5.1
		p.state(m.CallID(), fmt.Sprintf("Registration state version %d came, but not the one before: asking for all of it.", doc.Version), "RFC 3680 5.1")
		_ = s.Refresh()
		return
	}
	// What the document says of our own contact counts; the view keeps no more
	// than there are registrations in one set.
	var now *reginfo.Contact
	for i := range view.Registrations() {
		reg := &view.Registrations()[i]
		if now == nil && reg.State == reginfo.Terminated && len(reg.Contacts) == 0 && sameURI(reg.AOR, aor) {
			// Kamailio does not say which contact has ended, and why.
			now = &reginfo.Contact{State: reginfo.Terminated, Event: reginfo.Unregistered}
		}
		for j := range reg.Contacts {
			c := &reg.Contacts[j]
			if (sameURI(c.URI, p.contactURI()) || c.State == reginfo.Active && r.replaces(c.URI)) && (now == nil || c.State != now.State && c.State == reginfo.Active) {
				now = c
			}
		}
	}
	if now != nil {
		c := *now
		p.shard().Post(func() { r.event(c) })
	}
}

// replaces reports whether the REGISTER under way brings that contact in place of
// the present one: word of it may come before the 200.
func (r *registrar) replaces(contact string) bool {
	return r.doing != nil && r.doing.contact != "" && sameURI(contact, r.doing.contact)
}

func sameURI(a, b string) bool {
	x, err := uri.Parse(a)
	if err != nil {
		return false
	}
	y, err := uri.Parse(b)
	return err == nil && uri.Equal(x, y)
}

// event acts on what the network says of our contact (TS 24.229 5.1.1.5.1,
// 5.1.1.7).
func (r *registrar) event(c reginfo.Contact) {
	p := r.phone
	if p.Registration() == nil {
		return
	}
	if c.State == reginfo.Active {
		left := time.Duration(c.Expires) * time.Second
		if c.Event == reginfo.Shortened && left > 0 {
			p.state(r.callID, fmt.Sprintf("The network shortened the registration to %v: it wants to authenticate the phone again.", left), "TS 24.229 5.1.1.5.1")
			g := *p.Registration()
			if until := time.Now().Add(left); until.Before(g.Until) {
				g.Until, g.Expires = until, left
				p.current.Store(&g)
			}
			r.schedule(dialog.RefreshAfter(left))
		}
		return
	}
	p.state(r.callID, fmt.Sprintf("The network ended the registration of %s: %v.", p.cfg.IMPU, c.Event), "TS 24.229 5.1.1.7")
	r.lost()
	switch c.Event {
	case reginfo.Deactivated, reginfo.Expired:
		r.again(true)
	case reginfo.Probation:
		r.schedule(max(time.Duration(c.RetryAfter)*time.Second, time.Second))
	}
	// rejected, unregistered: stay away until somebody asks.
}

// unsubscribed hears that the subscription is over. While the registration lasts,
// a new one is made with the next re-registration.
func (r *registrar) unsubscribed(s *dialog.Subscription, e dialog.SubscriptionEnd) {
	if r.sub != s {
		return
	}
	why := &Error{Doing: subscribing, Err: e.Err}
	switch {
	case e.Outcome != (dialog.Outcome{}):
		why = seen(subscribing, e.Outcome)
	case e.Err == nil:
		why.Err = errors.New("the network has ended the subscription: " + e.Reason)
	}
	r.unwatch(s, why)
	r.sub = nil
	p := r.phone
	switch {
	case e.Outcome != (dialog.Outcome{}):
		err := seen(subscribing, e.Outcome)
		err.Next = "look at the S-CSCF: a phone may subscribe to its own registration"
		p.failed(r.callID, err, "TS 24.229 5.1.1.3")
	case e.Err != nil:
		p.failed(r.callID, &Error{Doing: "keeping the subscription to the registration state", Err: e.Err}, "TS 24.229 5.1.1.3")
	}
}
