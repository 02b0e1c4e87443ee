package pcscf

import (
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// formsDialog reports whether a method outside a dialog may make one, so that we
// stay in its route (TS 24.229 5.2.6.3.3; RFC 3261 16.6 step 4).
func formsDialog(method string) bool {
	switch method {
	case "INVITE", "SUBSCRIBE", "REFER":
		return true
	}
	return false
}

// sender finds the registered phone that sent x; without one, x is refused. With
// no IPsec, the address and port from which it registered are all that tells
// phones apart.
func (s *Server) sender(x *proxy.Exchange) *binding {
	b := s.bindings.ofSource(x.Flow.Remote, time.Now())
	if b == nil {
		s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "not_registered", Clause: "TS 24.229 5.2.6.3",
			Text: "No phone is registered from " + x.Flow.Remote.String() + ": " + x.Req.Method() + " refused.",
			Next: "Register first, and send from the address and port, or over the connection, that registered."})
	}
	return b
}

// fromPhone takes an initial or standalone request of a phone to its S-CSCF
// (TS 24.229 5.2.6.3.3, 5.2.6.3.7).
func (s *Server) fromPhone(x *proxy.Exchange) {
	b := s.sender(x)
	if b == nil {
		return
	}
	e := &x.Edits
	s.scrubFromPhone(e, x.Req)
	asserted := s.assertIdentity(x, b)
	icid := s.newICID()
	e.Add(sip.HPChargingVector, s.chargingVector(icid))
	s.enforceServiceRoute(x, b)
	s.verdicts.Decide(x, "From "+asserted+": along its Service-Route.", "TS 24.229 5.2.6.3.3")

	t := proxy.Target{Hop: proxy.Hop{Role: sip.RoleCore}}
	if formsDialog(x.Req.Method()) {
		t.RecordRoute = &proxy.Own{User: b.token}
	}
	if x.Req.Method() == "INVITE" { // which is owed a 100 at once
		t.Timeout = s.cfg.HomeTimeout.D()
	}
	x.OnResponse(responseToPhone)
	x.OnBest(func(best *proxy.Final) bool { return s.scscfFailed(x, best) })
	x.Forward(t)
}

// assertIdentity puts P-Asserted-Identity in: the identity that the phone prefers
// if it is registered, else the default one (TS 24.229 5.2.6.3.1; RFC 3325 5).
func (s *Server) assertIdentity(x *proxy.Exchange, b *binding) string {
	asserted := b.identities[0]
	for v := range x.Req.Values(sip.HPPreferredIdentity) {
		key, err := identity.ParseIMPU(addressURI(v))
		if err != nil {
			continue
		}
		if id, ok := b.preferred(string(key)); ok {
			asserted = id
			break
		}
	}
	x.Edits.Remove(sip.HPPreferredIdentity)
	x.Edits.Add(sip.HPAssertedIdentity, "<"+asserted+">")
	return asserted
}

// enforceServiceRoute makes the request's route the Service-Route of the
// registration, whatever the phone has put there (TS 24.229 5.2.6.3.3: the
// operator may replace instead of refusing).
func (s *Server) enforceServiceRoute(x *proxy.Exchange, b *binding) {
	var rest []string
	own := len(x.Routes())
	for v := range x.Req.Values(sip.HRoute) {
		if own > 0 {
			own--
			continue
		}
		rest = append(rest, v)
	}
	if sameRoutes(rest, b.serviceRoute) {
		return
	}
	x.Edits.Remove(sip.HRoute)
	for i := len(b.serviceRoute) - 1; i >= 0; i-- {
		x.Edits.Prepend(sip.HRoute, b.serviceRoute[i])
	}
	s.verdicts.Decide(x, "The Route was not the Service-Route of the registration: replaced.", "TS 24.229 5.2.6.3.3")
}

func sameRoutes(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !strings.EqualFold(addressURI(a[i]), addressURI(b[i])) {
			return false
		}
	}
	return true
}

// fromPhoneInDialog takes a request within a dialog of the phone's along the
// dialog's route (TS 24.229 5.2.6.3.5, 5.2.6.3.9).
func (s *Server) fromPhoneInDialog(x *proxy.Exchange) {
	b := s.sender(x)
	if b == nil {
		return
	}
	if x.Route.User != b.token {
		s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "not_in_dialog", Clause: "TS 24.229 5.2.6.3.5",
			Text: x.Req.Method() + " of " + b.impi + " does not follow the route of a dialog of its own.",
			Next: "Send it along the Record-Route of the dialog, our entry first."})
		return
	}
	s.scrubFromPhone(&x.Edits, x.Req)
	x.Edits.Remove(sip.HPPreferredIdentity)
	x.OnResponse(responseToPhone)
	x.Forward(proxy.Target{Hop: proxy.Hop{Role: sip.RoleCore}})
}

// responseToPhone takes out of a response what phones must not see.
func responseToPhone(_ *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
	scrubToPhone(e, m)
	return true
}

// scscfFailed turns an S-CSCF that does not answer, or that is not there, into a
// 504 that makes the phone register anew (TS 24.229 5.2.6.3.2A, 5.1.2A.1.6).
func (s *Server) scscfFailed(x *proxy.Exchange, best *proxy.Final) bool {
	switch {
	case best.Local() && (best.Status == 408 || best.Status == 503):
		r := homeSilent(best, x.Req.Method())
		r.Cause, r.Clause, r.IMSXML = "scscf_silent", "TS 24.229 5.2.6.3.2A", registerAnew
		s.verdicts.Refuse(x, r)
		return false
	case !best.Local() && best.Status == 503:
		s.verdicts.Refuse(x, overloaded(best))
		return false
	}
	return true
}
