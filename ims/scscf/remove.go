package scscf

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/trace"
)

// take removes the contacts that goes selects from the set of an identity, and the
// set with its last one. It returns the set before and after, nil for none.
func (s *Server) take(key string, why registrar.Cause, goes func(registrar.Binding) bool) (before, after *registrar.Registration) {
	for {
		before = s.store.Get(key)
		if before == nil {
			return nil, nil
		}
		left := slices.DeleteFunc(slices.Clone(before.Bindings), goes)
		switch {
		case len(left) == 0:
			if s.store.RemoveFor(before, why) == nil {
				return before, nil
			}
		case len(left) == len(before.Bindings):
			return before, before
		default:
			after = before.With(left)
			after.Cause = why
			if s.store.Put(before, after) == nil {
				return before, after
			}
		}
	}
}

// ended tells application servers when a change by the network has ended a
// registration. One that has moved goes on elsewhere.
func (s *Server) ended(before, after *registrar.Registration, why registrar.Cause) {
	if before.Registered() && !after.Registered() && why != registrar.Moved {
		t := thirdParty{s: s, reg: before, kind: profile.DeRegistration}
		t.tell()
	}
}

// expired deals with contacts that were not refreshed, and with profiles of
// unregistered users that have been kept long enough (TS 24.229 5.4.1.5). It runs
// on the store's goroutine; what it leaves undone the store asks for again.
func (s *Server) expired(reg *registrar.Registration) {
	gone, left := reg.Expired(time.Now())
	for _, b := range gone {
		if s.turns.busy(b.IMPI) { // perhaps it is being refreshed
			return
		}
	}
	before := reg
	if len(left) > 0 {
		now := reg.With(left)
		now.Cause = registrar.Expired
		if s.store.Put(reg, now) != nil {
			return
		}
		reg = now
	} else {
		if s.store.RemoveFor(reg, registrar.Expired) != nil {
			return
		}
		reg = reg.With(nil)
	}
	s.ended(before, reg, registrar.Expired)
	if len(gone) == 0 {
		impi := ""
		if len(reg.IMPIs) > 0 {
			impi = reg.IMPIs[0]
		}
		s.endings.add(ending{impi: impi, impu: reg.Identities[0].Key, kind: cx.TimeoutDeregistration})
		return
	}
	for i, b := range gone {
		first := slices.IndexFunc(gone, func(o registrar.Binding) bool { return o.IMPI == b.IMPI })
		if first != i {
			continue
		}
		text := "A contact of " + b.IMPI + " has run out without a refresh; others are left."
		if !reg.Has(b.IMPI) {
			text = "The registration of " + b.IMPI + " has run out without a refresh."
			s.endings.add(ending{impi: b.IMPI, impu: b.IMPU, kind: cx.TimeoutDeregistration})
		}
		s.verdicts.Log.Info("registration expired", zap.String("impi", b.IMPI), zap.String("impu", b.IMPU), zap.String("contact", b.Contact))
		s.verdicts.Trace.Emit(trace.Event{Kind: trace.State, IMPI: b.IMPI, CallID: b.CallID, Text: text, Clause: "TS 24.229 5.4.1.5"})
	}
}
