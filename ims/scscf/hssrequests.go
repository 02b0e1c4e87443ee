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

// causeOf is what the reason of an RTR means for the contacts (TS 29.228 6.1.3.1,
// TS 24.229 5.4.1.5): with a permanent termination the phone shall stay away, with
// a change of server it shall come back. The other reasons say that this S-CSCF is
// out of it: phones hear nothing of that.
func causeOf(reason cx.ReasonCode) registrar.Cause {
	switch reason {
	case cx.PermanentTermination:
		return registrar.Rejected
	case cx.NewServerAssigned, cx.RemoveSCSCF:
		return registrar.Moved
	}
	return registrar.Deactivated
}

// RTR ends registrations (TS 29.228 6.1.3, TS 24.229 5.4.1.5), also those that are under
// way: their REGISTERs ask the HSS again, unless another S-CSCF has them. The HSS knows, so
// it gets no SAR. Emergency registrations stay.
func (h hssRequests) RTR(_ *diameter.Request, q *cx.RTR, answer func(*cx.RTA) error) {
	s, permanent := h.s, q.Reason.Code == cx.PermanentTermination
	impis := []string{canonicalIMPI(q.UserName)}
	if q.AssociatedIdentities != nil {
		for _, impi := range q.AssociatedIdentities.UserNames {
			impis = append(impis, canonicalIMPI(impi))
		}
	}
	how := errEnded
	if causeOf(q.Reason.Code) == registrar.Moved {
		how = errElsewhere
	}
	s.turns.end(how, impis...) // before what is registered is looked for
	var keys []string          // one identity of each set
	for _, id := range q.PublicIdentities {
		if impu, err := identity.ParseIMPU(id); err == nil {
			keys = append(keys, string(impu))
		}
	}
	// A permanent end is of the subscription, whichever identity was named: some
	// HSSes name a temporary one alone.
	if len(q.PublicIdentities) == 0 || permanent {
		for _, impi := range impis {
			for _, r := range s.store.OfIMPI(impi) {
				keys = append(keys, r.Identities[0].Key)
			}
		}
	}
	a := &cx.RTA{AnswerHeader: cx.AnswerHeader{Result: diameter.Base(diameter.Success)}}
	var gone []string // private identities
	sets := 0
	for _, key := range keys {
		if set := s.store.Get(key); set != nil && !permanent {
			s.turns.end(how, set.IMPIs...)
		}
		before, after := s.take(key, causeOf(q.Reason.Code), func(b registrar.Binding) bool {
			return !b.Emergency && (!permanent || slices.Contains(impis, b.IMPI))
		})
		if before != after {
			sets++
		}
		s.ended(before, after, causeOf(q.Reason.Code))
		gone = appendIMPIs(gone, before, func(b registrar.Binding) bool { return !b.Emergency && !after.Has(b.IMPI) })
		for _, impi := range appendIMPIs(nil, after, func(b registrar.Binding) bool { return b.Emergency && slices.Contains(impis, b.IMPI) }) {
			if !slices.ContainsFunc(a.Emergency, func(e cx.EmergencyRegistration) bool { return e.UserName == impi }) {
				a.Emergency = append(a.Emergency, cx.EmergencyRegistration{UserName: impi, PublicIdentity: key})
			}
		}
	}
	if len(gone) > 0 {
		a.AssociatedIdentities = &cx.Identities{UserNames: gone}
	}
	text := "The HSS ends the registration of " + q.UserName + ": " + q.Reason.Code.String() + "."
	s.verdicts.Often("rtr", "registration ended by the HSS", zap.String("impi", q.UserName), zap.Stringer("reason", q.Reason.Code), zap.String("info", q.Reason.Info), zap.Int("sets", sets))
	s.verdicts.Trace.Emit(trace.Event{Kind: trace.State, IMPI: q.UserName, Text: text, Clause: "TS 24.229 5.4.1.5"})
	_ = answer(a)
}

// appendIMPIs adds the private identities of the bindings that are wanted, each once.
func appendIMPIs(list []string, r *registrar.Registration, wanted func(registrar.Binding) bool) []string {
	if r == nil {
		return list
	}
	for _, b := range r.Bindings {
		if wanted(b) && !slices.Contains(list, b.IMPI) {
			list = append(list, b.IMPI)
		}
	}
	return list
}

// canonicalIMPI is the form in which private identities are kept; what is none
// stays as it is.
func canonicalIMPI(s string) string {
	if id, err := identity.ParseIMPI(s); err == nil {
		return string(id)
	}
	return s
}

// PPR replaces the profile of a user (TS 29.228 6.2.2, TS 24.229 5.4.1.8). Calls
// in progress keep what they began with. It waits for a REGISTER that is under way, whose
// SAA may have the profile of before.
func (h hssRequests) PPR(_ *diameter.Request, q *cx.PPR, answer func(*cx.PPA) error) {
	impi := canonicalIMPI(q.UserName)
	inTurn := h.s.turns.take(impi, func() {
		h.push(impi, q, answer)
		h.s.turns.done(impi)
	})
	if !inTurn { // those that wait, PPRs of before among them, would overtake it
		h.tell(q, diameter.Base(diameter.TooBusy), answer)
	}
}

func (h hssRequests) push(impi string, q *cx.PPR, answer func(*cx.PPA) error) {
	h.tell(q, h.replace(impi, q), answer)
}

func (h hssRequests) tell(q *cx.PPR, result diameter.Result, answer func(*cx.PPA) error) {
	text := "The HSS pushes a profile of " + q.UserName + ": " + cx.ResultName(result) + "."
	h.s.verdicts.Often("ppr", "profile pushed by the HSS", zap.String("impi", q.UserName), zap.String("result", cx.ResultName(result)))
	h.s.verdicts.Trace.Emit(trace.Event{Kind: trace.State, IMPI: q.UserName, Text: text, Clause: "TS 24.229 5.4.1.8"})
	_ = answer(&cx.PPA{AnswerHeader: cx.AnswerHeader{Result: result}})
}

func (h hssRequests) replace(impi string, q *cx.PPR) diameter.Result {
	s := h.s
	sets := s.store.OfIMPI(impi)
	switch {
	case len(sets) == 0:
		return cx.ErrorUserUnknown.Result()
	case len(q.UserData) == 0 && q.Charging == nil:
		return diameter.Base(diameter.Success)
	case len(q.UserData) == 0:
		for _, set := range sets {
			s.charge(set.Identities[0].Key, chargingAddresses(q.Charging))
		}
		return diameter.Base(diameter.Success)
	}
	fresh, err := s.userData(q.UserData, impi, "")
	if err != nil {
		s.verdicts.Limited().Warn(s.verdicts.Log, "bad_profile", "the HSS pushed a profile that cannot be used; the old one stays", zap.String("impi", impi), zap.Error(err))
		return cx.ErrorNotSupportedUserData.Result()
	}
	for {
		old := s.setOf(fresh, impi)
		if old == nil {
			return cx.ErrorUserUnknown.Result()
		}
		now := *fresh
		addIMPIs(&now, old.IMPIs...)
		now.Bindings, now.Until, now.HSS, now.Charging = old.Bindings, old.Until, old.HSS, old.Charging
		now.Cause, now.State = registrar.Deactivated, old.State
		remembers(&now)
		// A phone keeps registering by the identity that it began with, also where the
		// profile does not hold it (see userData).
		now.Identities = slices.Clip(now.Identities)
		for _, b := range old.Bindings {
			if _, ok := now.Identity(b.IMPU); !ok && b.IMPU != "" {
				now.Identities = append(now.Identities, registrar.Identity{Key: b.IMPU, URI: b.IMPU, Barred: true})
			}
		}
		if q.Charging != nil {
			now.Charging = chargingAddresses(q.Charging)
		}
		err := s.store.Put(old, &now)
		var taken *registrar.TakenError
		switch {
		case err == nil:
			return diameter.Base(diameter.Success)
		case errors.As(err, &taken) && !s.giveWay(taken.By, impi), !errors.Is(err, registrar.ErrConflict):
			s.verdicts.Limited().Warn(s.verdicts.Log, "bad_profile", "the HSS pushed a profile that cannot be used; the old one stays", zap.String("impi", impi), zap.Error(err))
			return diameter.Base(diameter.UnableToComply)
		}
	}
}

// charge gives a set other charging functions.
func (s *Server) charge(key, charging string) {
	for {
		old := s.store.Get(key)
		if old == nil {
			return
		}
		now := old.With(old.Bindings)
		now.Charging = charging
		if s.store.Put(old, now) == nil {
			return
		}
	}
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
