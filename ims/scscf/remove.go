package scscf

import (
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/trace"
)

// remove ends a registration here, whoever wants it, and tells those who watch.
// What has changed meanwhile is read again.
func (s *Server) remove(reg *registrar.Registration, why cause) {
	for reg != nil {
		if s.store.Remove(reg) == nil {
			s.metrics.users.Set(float64(s.store.Len()))
			s.watchers.changed(reg, nil, why)
			return
		}
		reg = s.store.Get(reg.Identities[0].Key)
	}
}

// expired deals with contacts that were not refreshed (TS 24.229 5.4.1.5). It
// runs on the store's goroutine.
func (s *Server) expired(reg *registrar.Registration) {
	gone, left := reg.Expired(time.Now())
	if len(left) > 0 {
		now := reg.With(left)
		if s.store.Put(reg, now) == nil {
			s.watchers.changed(reg, now, causeExpired)
		}
		return
	}
	impi := ""
	if len(gone) > 0 {
		impi = gone[0].IMPI
	} else if len(reg.IMPIs) > 0 {
		impi = reg.IMPIs[0]
	}
	s.remove(reg, causeExpired)
	s.tellHSS(impi, []string{reg.Identities[0].Key}, cx.TimeoutDeregistration, nil)
	if len(gone) == 0 {
		return
	}
	text := "The registration of " + impi + " has run out without a refresh."
	s.verdicts.Log.Info("registration expired", zap.String("impi", impi), zap.String("impu", reg.Identities[0].Key))
	s.verdicts.Trace.Emit(trace.Event{Kind: trace.State, IMPI: impi, CallID: gone[0].CallID, Text: text, Clause: "TS 24.229 5.4.1.5"})
}
