package scscf

import (
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/trace"
)

// hssRequests takes what the HSS asks of its own accord. Its methods run on the
// goroutine of the connection.
type hssRequests struct{ s *Server }

var _ cx.SCSCF = hssRequests{}

// RTR ends registrations (TS 29.228 6.1.3, TS 24.229 5.4.1.5).
func (h hssRequests) RTR(_ *diameter.Request, q *cx.RTR, answer func(*cx.RTA) error) {
	s := h.s
	why := causeDeactivated
	if q.Reason.Code == cx.PermanentTermination {
		why = causeRejected
	}
	var sets []*registrar.Registration
	add := func(r *registrar.Registration) {
		if r != nil && !slices.Contains(sets, r) {
			sets = append(sets, r)
		}
	}
	for _, id := range q.PublicIdentities {
		if impu, err := identity.ParseIMPU(id); err == nil {
			add(s.store.Get(string(impu)))
		}
	}
	// A permanent end is of the subscription, whichever identity was named.
	if len(q.PublicIdentities) == 0 || q.Reason.Code == cx.PermanentTermination {
		impis := []string{q.UserName}
		if q.AssociatedIdentities != nil {
			impis = append(impis, q.AssociatedIdentities.UserNames...)
		}
		for _, impi := range impis {
			for _, r := range s.store.OfIMPI(impi) {
				add(r)
			}
		}
	}
	for _, r := range sets {
		s.remove(r, why)
	}
	text := "The HSS ends the registration of " + q.UserName + ": " + q.Reason.Code.String() + "."
	s.verdicts.Log.Info("registration ended by the HSS", zap.String("impi", q.UserName), zap.Stringer("reason", q.Reason.Code), zap.Int("sets", len(sets)))
	s.verdicts.Trace.Emit(trace.Event{Kind: trace.State, IMPI: q.UserName, Text: text, Clause: "TS 24.229 5.4.1.5"})
	_ = answer(&cx.RTA{AnswerHeader: cx.AnswerHeader{Result: diameter.Base(diameter.Success)}, AssociatedIdentities: q.AssociatedIdentities})
}

// PPR replaces the profile of a user (TS 29.228 6.2.2, TS 24.229 5.4.1.8). Calls
// in progress keep what they began with.
func (h hssRequests) PPR(_ *diameter.Request, q *cx.PPR, answer func(*cx.PPA) error) {
	result := h.replace(q)
	h.s.verdicts.Log.Info("profile pushed by the HSS", zap.String("impi", q.UserName), zap.String("result", cx.ResultName(result)))
	_ = answer(&cx.PPA{AnswerHeader: cx.AnswerHeader{Result: result}})
}

func (h hssRequests) replace(q *cx.PPR) diameter.Result {
	s := h.s
	if len(q.UserData) == 0 && q.Charging == nil {
		return diameter.Base(diameter.Success)
	}
	sets := s.store.OfIMPI(q.UserName)
	if len(sets) == 0 {
		return cx.ErrorUserUnknown.Result()
	}
	if len(q.UserData) == 0 {
		for _, old := range sets {
			now := *old
			now.Charging = chargingAddresses(q.Charging)
			if s.store.Put(old, &now) != nil {
				return diameter.Base(diameter.UnableToComply)
			}
		}
		return diameter.Base(diameter.Success)
	}
	fresh, err := s.userData(q.UserData, q.UserName, "")
	if err != nil {
		s.verdicts.Limited().Warn(s.verdicts.Log, "bad_profile", "the HSS pushed a profile that cannot be used; the old one stays", zap.String("impi", q.UserName), zap.Error(err))
		return cx.ErrorNotSupportedUserData.Result()
	}
	for range 3 {
		old := s.setOf(fresh, q.UserName)
		if old == nil {
			return cx.ErrorUserUnknown.Result()
		}
		now := *fresh
		now.Bindings, now.IMPIs, now.Until, now.HSS, now.Charging = old.Bindings, old.IMPIs, old.Until, old.HSS, old.Charging
		if q.Charging != nil {
			now.Charging = chargingAddresses(q.Charging)
		}
		err := s.store.Put(old, &now)
		if err == nil {
			s.watchers.changed(old, &now, causeDeactivated)
			return diameter.Base(diameter.Success)
		}
		if !errors.Is(err, registrar.ErrConflict) {
			break
		}
	}
	return diameter.Base(diameter.UnableToComply)
}

// setOf returns the user's set that shares an identity with fresh.
func (s *Server) setOf(fresh *registrar.Registration, impi string) *registrar.Registration {
	for _, r := range s.store.OfIMPI(impi) {
		for _, id := range fresh.Identities {
			if _, ok := r.Identity(id.Key); ok {
				return r
			}
		}
	}
	return nil
}
