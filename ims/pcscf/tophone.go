package pcscf

import (
	"time"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// receiver finds the phone for whom x has come along our Path or Record-Route;
// without one, x is refused.
func (s *Server) receiver(x *proxy.Exchange) *binding {
	b := s.bindings.ofToken(x.Route.User, time.Now())
	if b == nil {
		s.verdicts.Refuse(x, node.Refusal{Status: 404, Cause: "no_binding", Clause: "TS 24.229 5.2.6.4",
			Text: x.Req.Method() + " came for a phone that is not registered through this P-CSCF (any more).",
			Next: "The phone must register anew; a P-CSCF that was restarted knows no phone."})
	}
	return b
}

// toPhone takes an initial or standalone request to the phone (TS 24.229
// 5.2.6.4.3).
func (s *Server) toPhone(x *proxy.Exchange) {
	b := s.receiver(x)
	if b == nil {
		return
	}
	scrubToPhone(&x.Edits, x.Req)
	called := addressURI(x.Req.Get(sip.HPCalledPartyID))
	s.verdicts.Decide(x, "For "+b.impi+": to the address from which it registered.", "TS 24.229 5.2.6.4.3")

	t := proxy.Target{Hop: b.hop()}
	if formsDialog(x.Req.Method()) {
		t.RecordRoute = &proxy.Own{User: b.token}
	}
	x.OnResponse(func(_ *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
		s.fromCalled(b, called, m, e)
		return true
	})
	x.OnBest(func(best *proxy.Final) bool { return s.phoneFailed(x, b, best) })
	x.Forward(t)
}

// toPhoneInDialog takes a request within a dialog to the phone.
func (s *Server) toPhoneInDialog(x *proxy.Exchange) {
	b := s.receiver(x)
	if b == nil {
		return
	}
	scrubToPhone(&x.Edits, x.Req)
	x.OnResponse(func(_ *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
		s.fromCalled(b, "", m, e)
		return true
	})
	x.OnBest(func(best *proxy.Final) bool { return s.phoneFailed(x, b, best) })
	x.Forward(proxy.Target{Hop: b.hop()})
}

// fromCalled edits what the called phone answers: the identity it was called by
// is asserted, not one that it claims (TS 24.229 5.2.6.4.4).
func (s *Server) fromCalled(b *binding, called string, m *sip.Message, e *sip.Edits) {
	s.scrubFromPhone(e, m)
	if called == "" {
		e.Remove(sip.HPPreferredIdentity)
		return
	}
	asserted := called
	for v := range m.Values(sip.HPPreferredIdentity) {
		if key, err := identity.ParseIMPU(addressURI(v)); err == nil {
			if id, ok := b.preferred(string(key)); ok {
				asserted = id
			}
		}
	}
	e.Remove(sip.HPPreferredIdentity)
	e.Add(sip.HPAssertedIdentity, "<"+asserted+">")
}

// phoneFailed turns a phone that is not reached into 480, on which the S-CSCF
// tries other contacts (RFC 5626 5.3, TS 24.229 5.2.6.4).
func (s *Server) phoneFailed(x *proxy.Exchange, b *binding, best *proxy.Final) bool {
	if !best.Local() || best.Status == 408 && x.Req.Method() != "INVITE" {
		return true
	}
	s.verdicts.Refuse(x, node.Refusal{Status: 480, Cause: "phone_unreachable", Clause: "TS 24.229 5.2.6.4",
		Text: "The phone of " + b.impi + " at " + b.source.String() + " is not reached: " + best.Err.Error() + ".",
		Next: "Is the phone still attached? It registers anew when it is back."})
	return false
}
