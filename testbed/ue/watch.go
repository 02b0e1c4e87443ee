package ue

import (
	"context"
	"errors"

	"github.com/gocscf/gocscf/ims/sip/dialog"
)

const subscribing = "subscribing to the registration state"

// watch waits until a SUBSCRIBE has been accepted and a NOTIFY has come. It belongs to
// the shard of the registration.
type watch struct {
	sub                *dialog.Subscription
	accepted, notified bool
	done               func(error)
}

// Subscribe subscribes to the state of the phone's registration (TS 24.229 5.1.1.3), or
// refreshes the subscription that there is, and waits until the SUBSCRIBE has been
// accepted and a NOTIFY has come. A phone does that by itself unless its configuration
// says NoSubscribe. An error is an *Error.
func (p *Phone) Subscribe(ctx context.Context) error {
	c := make(chan error, 1)
	w := &watch{done: func(err error) { c <- err }}
	p.shard().Post(func() { p.reg.watched(w) })
	err, ended := wait(ctx, p, c)
	if ended == nil {
		return err
	}
	p.shard().Post(func() {
		if p.reg.watch == w {
			p.reg.watch = nil
		}
	})
	return &Error{Doing: subscribing, Err: ended}
}

// watched has w wait for a SUBSCRIBE that it sends.
func (r *registrar) watched(w *watch) {
	g := r.phone.Registration()
	switch {
	case g == nil:
		w.done(&Error{Doing: subscribing, Err: ErrNotRegistered, Next: "call Register first"})
		return
	case r.watch != nil:
		w.done(&Error{Doing: subscribing, Err: errors.New("that is under way")})
		return
	}
	r.watch = w
	s := r.sub
	if s == nil {
		if err := r.subscribe(g); err != nil {
			r.watch = nil
			w.done(&Error{Doing: subscribing, Err: err})
			return
		}
		w.sub = r.sub
		return
	}
	w.sub = s
	s.Post(func() {
		if err := s.Refresh(); err != nil {
			r.phone.shard().Post(func() { r.unwatch(s, &Error{Doing: subscribing, Err: err}) })
		}
	})
}

// progress hears that a subscription was accepted, or that a NOTIFY of it came.
func (r *registrar) progress(s *dialog.Subscription, accepted, notified bool) {
	w := r.watch
	if w == nil || w.sub != s {
		return
	}
	w.accepted, w.notified = w.accepted || accepted, w.notified || notified
	if w.accepted && w.notified {
		r.watch = nil
		w.done(nil)
	}
}

// unwatch ends the waiting for a subscription without success.
func (r *registrar) unwatch(s *dialog.Subscription, e *Error) {
	if w := r.watch; w != nil && w.sub == s {
		r.watch = nil
		w.done(e)
	}
}
