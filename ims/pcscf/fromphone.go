package pcscf

import (
	"errors"
	"slices"
	"time"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// formsDialog reports whether a method outside a dialog may make one, so that we
// stay in its route (TS 24.229 5.2.6.3.3, 5.2.6.3.8; RFC 3261 16.6 step 4).
func formsDialog(method string) bool {
	switch method {
	case "INVITE", "SUBSCRIBE", "REFER":
		return true
	}
	return false
}

// slowTimeout is how long a core that is silent altogether has for a request that
// is no INVITE. Ours says 100 after 3.5 s (RFC 4320 4.1); others may say nothing
// until the called phone answers, which may have to be paged first.
const slowTimeout = 16 * time.Second

// coreTimeout is how long the next hop in the core has for its first response.
func (s *Server) coreTimeout(method string) time.Duration {
	if method == "INVITE" { // which is owed a 100 within 200 ms
		return s.cfg.HomeTimeout.D()
	}
	return slowTimeout
}

// sender finds the phone that sent x, nil when none is known there. With no IPsec,
// the address and port, or the connection, from which it registered are all that
// tells phones apart; the contact's own address is as good where no NAT is between
// (a phone that registers over a connection may send the rest over UDP, and one
// that registers over UDP may dial for a large INVITE from that port).
// With IPsec the SA set tells, and has to be one that the phone has answered for.
// Beside them are those who make an emergency call in clear, within it.
func (s *Server) sender(x *proxy.Exchange, now time.Time) *binding {
	if b := s.callers.of(x.Flow, x.Req); b != nil {
		return b
	}
	if s.sec != nil {
		on := s.sec.of(x.Flow)
		if on == nil || !s.sec.established(on) {
			return nil
		}
		return s.bindings.ofPhone(on.phone.key, now)
	}
	b := s.bindings.ofFlow(x.Flow, now)
	if b != nil && x.Flow.Proto.Stream() && x.Flow != b.flow {
		f := x.Flow
		b.stream.Store(&f) // what is too big for a datagram goes back this way
	}
	return b
}

// phoneOver reports whether a connection to the open port is of a phone that has registered
// over it, or from whose contact it comes, or that makes an emergency call over it.
func (s *Server) phoneOver(f sip.Flow) bool {
	return s.bindings.ofFlow(f, time.Now()) != nil || s.callers.over(f)
}

// unknown refuses a request of a phone that is not registered.
func (s *Server) unknown(x *proxy.Exchange) {
	x.Stranger()
	s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "not_registered", Clause: "TS 24.229 5.2.6.3",
		Text: "No phone is registered from " + x.Flow.Remote.String() + ": " + x.Req.Method() + " refused.",
		Next: "Register first, and send from the address and port, or over the connection, that registered."})
}

// overSet refuses what a phone sends outside of an SA set that it has answered for
// (TS 33.203 7.1, TS 24.229 5.2.6.3): in clear a phone may register, and nothing
// else.
func (s *Server) overSet(x *proxy.Exchange) bool {
	on := s.sec.of(x.Flow)
	switch {
	case on == nil:
		x.Stranger()
		s.sec.metric.clear.WithLabelValues("open_port").Inc()
		s.sec.facts.inClear(x.Flow.Remote.Addr(), false)
		s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "in_clear", Clause: "TS 33.203 7.1",
			Text: "A " + x.Req.Method() + " came in clear from " + x.Flow.Remote.String() + ": on this port phones may only register.",
			Next: "The phone must send it over its SAs, to port_ps; one that has lost them registers anew."})
		return false
	case !s.sec.established(on):
		s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "not_authenticated", Clause: "TS 24.229 5.2.6.3", IMPI: on.Owner,
			Text: "A " + x.Req.Method() + " came over an SA set of " + on.Owner + " whose challenge the phone has not answered.",
			Next: "The phone must wait for the 200 to its REGISTER."})
		return false
	}
	on.phone.unanswered.Store(0)
	return s.keepToSet(x, on)
}

// fromPhone takes an initial or standalone request of a phone to its S-CSCF
// (TS 24.229 5.2.6.3.3, 5.2.6.3.7). A method that nobody here knows is standalone
// (5.2.6.3.11).
func (s *Server) fromPhone(x *proxy.Exchange) {
	now := time.Now()
	b := s.sender(x, now)
	if b == nil || !b.registered(now) {
		s.unknown(x)
		return
	}
	if !s.begins(x, b, initial(x.Req.Method()), fromIt) {
		return
	}
	x.Edits.Grow(16)
	scrubFromPhone(&x.Edits, x.Req)
	s.passPriority(x)
	asserted, set := s.assertIdentity(x, b, now)
	vector, icid := s.charge()
	x.Edits.Add(sip.HPChargingVector, vector)
	if s.enforceRoute(x, b, set.serviceRoute) {
		s.verdicts.Decide(x, "The Route was not the Service-Route of the registration: replaced.", "TS 24.229 5.2.6.3.3")
	}
	if s.verdicts.Deciding() {
		s.verdicts.Decide(x, "From "+asserted+": along its Service-Route.", "TS 24.229 5.2.6.3.3")
	}

	t := proxy.Target{Hop: proxy.Hop{Role: sip.RoleCore}, Timeout: s.coreTimeout(x.Req.Method()), Ringing: maxRinging}
	x.OnResponse(responseToPhone)
	if formsDialog(x.Req.Method()) {
		t.RecordRoute = &proxy.Own{User: b.token}
		k := &making{s: s, b: b, x: x, icid: icid, calling: true, itself: s.toItself(x, b, now)}
		if k.itself {
			s.dialogs.asks(keyFromPhone(b, x.Req))
		}
		x.OnResponse(func(br *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
			k.response(m)
			return responseToPhone(br, m, e)
		})
		x.Retires(b.token + " " + icid)
		x.OnEnd(k.end)
		x.OnCancel(func() { s.callerGaveUp(x, b, now, k.ringing) })
	}
	x.OnBest(func(best *proxy.Final) bool { return s.coreFailed(x, best, b) })
	x.Forward(t)
}

// assertIdentity puts P-Asserted-Identity in: the identity that the phone prefers
// if it is registered, else the default one (TS 24.229 5.2.6.3.1; RFC 3325 5). It
// returns that and the set that it is of.
func (s *Server) assertIdentity(x *proxy.Exchange, b *binding, now time.Time) (string, *set) {
	asserted, of := preferred(x.Req, b, now)
	if of == nil {
		asserted, of = b.byDefault(now)
	}
	x.Edits.Remove(sip.HPPreferredIdentity)
	x.Edits.Add(sip.HPAssertedIdentity, "<"+asserted+">")
	return asserted, of
}

// preferred returns the first registered identity that P-Preferred-Identity names.
func preferred(m *sip.Message, b *binding, now time.Time) (string, *set) {
	for v := range m.Values(sip.HPPreferredIdentity) {
		key, err := identity.ParseIMPUIn(addressURI(v))
		if err != nil {
			continue
		}
		if id, of := b.asserted(string(key), now); of != nil {
			return id, of
		}
	}
	return "", nil
}

// enforceRoute makes the request's route the one that it must have, whatever the
// phone has put there (TS 24.229 5.2.6.3.3, 5.2.6.3.5: the operator may replace
// instead of refusing). It reports whether it has changed anything. What compares
// equal as a URI may still mean something else to the next hop, so a phone has to
// repeat the entries as they are.
func (s *Server) enforceRoute(x *proxy.Exchange, b *binding, want []string) bool {
	var few [8]string
	have := few[:0]
	for v := range x.Req.Values(sip.HRoute) {
		have = append(have, v)
	}
	// What the engine has taken off the top must be our own entries, and no more.
	if rest, ours := s.behindUs(have, b); slices.Equal(rest, want) && ours == len(x.Routes()) {
		return false
	}
	x.Edits.Remove(sip.HRoute)
	for _, r := range slices.Backward(want) {
		x.Edits.Prepend(sip.HRoute, r)
	}
	return true
}

// fromPhoneInDialog takes a request within a dialog of the phone's along the
// dialog's route (TS 24.229 5.2.6.3.5, 5.2.6.3.9).
func (s *Server) fromPhoneInDialog(x *proxy.Exchange) {
	now := time.Now()
	b := s.sender(x, now)
	if b == nil {
		s.unknown(x)
		return
	}
	d, ok := s.dialogs.find(keyFromPhone(b, x.Req), now)
	if !ok {
		s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "not_in_dialog", Clause: "TS 24.229 5.2.6.3.5", IMPI: b.impi,
			Text: x.Req.Method() + " of " + b.impi + " belongs to no dialog of its own.",
			Next: "The dialog has ended, or was made before this P-CSCF started: the phone should begin a new one."})
		return
	}
	if !s.begins(x, b, within, fromIt) {
		return
	}
	if !s.editInDialog(x, b, &d) {
		s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "not_in_dialog", Clause: "TS 24.229 5.2.6.3.5", IMPI: b.impi,
			Text: x.Req.Method() + " of " + b.impi + " is for a far side that has named neither a Record-Route nor a Contact.",
			Next: "Look at the response or the request that has made the dialog: it must have a Contact."})
		return
	}
	x.Edits.Add(sip.HPChargingVector, s.chargingVector(d.icid)) // TS 24.229 5.2.7.2
	s.follow(d.key, x.Req, now)
	x.OnResponse(func(br *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
		s.followResponse(b, d.key, x.Req, m)
		if len(d.routes) == 0 && refreshesTarget(x.Req.Method(), m) {
			s.dialogs.retarget(d.key, m)
		}
		return responseToPhone(br, m, e)
	})
	x.Retires("")
	x.OnBest(func(best *proxy.Final) bool { return s.coreFailed(x, best, nil) })
	x.Forward(proxy.Target{Hop: proxy.Hop{Role: sip.RoleCore}, Timeout: s.coreTimeout(x.Req.Method()), Ringing: maxRinging})
}

// editInDialog edits what the phone sends within a dialog. It reports whether the dialog
// says where that goes.
func (s *Server) editInDialog(x *proxy.Exchange, b *binding, d *dialog) bool {
	scrubFromPhone(&x.Edits, x.Req)
	if x.Req.Has(sip.HPPreferredIdentity) {
		x.Edits.Remove(sip.HPPreferredIdentity)
	}
	if s.enforceRoute(x, b, d.routes) {
		s.verdicts.Decide(x, "The Route was not that of the dialog: mended.", "TS 24.229 5.2.6.3.5")
	}
	return s.keepToTarget(x, d)
}

// ackFromPhone takes the ACK to a 2xx. It is never answered: what may not pass is
// dropped.
func (s *Server) ackFromPhone(x *proxy.Exchange) {
	now := time.Now()
	b := s.sender(x, now)
	if b == nil {
		return
	}
	d, ok := s.dialogs.find(keyFromPhone(b, x.Req), now)
	if !ok {
		s.verdicts.Decide(x, "ACK of "+b.impi+" dropped: it belongs to no dialog of its own.", "TS 24.229 5.2.6.3.5")
		return
	}
	if !s.editInDialog(x, b, &d) {
		s.verdicts.Decide(x, "ACK of "+b.impi+" dropped: the dialog says not where its far side is.", "TS 24.229 5.2.6.3.5")
		return
	}
	x.Forward(proxy.Target{Hop: proxy.Hop{Role: sip.RoleCore}})
}

// follow notes what a request within a dialog does to it.
func (s *Server) follow(k dialogKey, m *sip.Message, now time.Time) {
	switch m.Method() {
	case "BYE":
		s.dialogs.ended(k, true, now)
	case "NOTIFY":
		if st, err := sip.ParseSubscriptionState(m.Get(sip.HSubscriptionState)); err == nil && st.State == "terminated" {
			s.dialogs.ended(k, false, now)
		}
	}
}

// followResponse notes what a response within a dialog does to it.
func (s *Server) followResponse(b *binding, k dialogKey, req, m *sip.Message) {
	switch method := req.Method(); {
	case m.Status()/100 == 2 && (method == "SUBSCRIBE" || method == "REFER"):
		s.dialogs.subscribed(k)
		s.endOfLeft(b, k)
	case m.Status() == 481: // the far end knows nothing of it (RFC 5057 5.1)
		now := time.Now()
		s.dialogs.ended(k, true, now)
		s.dialogs.ended(k, false, now)
	}
}

// responseToPhone takes out of a response what phones must not see.
func responseToPhone(_ *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
	scrubToPhone(e, m)
	return true
}

// coreFailed turns a core that does not answer, or that is not there, into a 504.
// It makes the phone register anew (TS 24.229 5.2.6.3.2A, 5.1.2A.1.6) where b says
// who has sent an initial request: then its S-CSCF is gone.
func (s *Server) coreFailed(x *proxy.Exchange, best *proxy.Final, b *binding) bool {
	switch {
	case !best.Local() && best.Status == 503:
		s.verdicts.Refuse(x, overloaded(best))
		return false
	case best.Local() && best.Branch.Provisional() && x.Req.Method() == "INVITE" && b != nil:
		s.verdicts.Refuse(x, nobodyAnswers(x, "The called side", b.impi))
		return false
	case !best.Local() || best.Branch.Heard():
		return true
	}
	r := homeSilent(best, x.Req.Method())
	r.Cause, r.Clause = "scscf_silent", "TS 24.229 5.2.6.3.2A"
	switch {
	case errors.Is(best.Err, proxy.ErrUnresolved), errors.Is(best.Err, proxy.ErrNoRoute), errors.Is(best.Err, proxy.ErrNoSocket):
		// Registering anew would lead to the same address that cannot be reached.
		r.Cause, r.Next = "scscf_unresolved", "The address follows from Service-Route, or from the dialog's route: name its host in hosts of the P-CSCF's configuration."
	case b != nil:
		r.IMPI, r.IMSXML = b.impi, registerAnew
		// The phone believes that body only from one whom it knows by its Path.
		r.Fields = []sip.Field{{ID: sip.HPAssertedIdentity, Value: "<" + s.pathURI(b.token) + ">"}}
	}
	s.verdicts.Refuse(x, r)
	return false
}

// pathURI is our entry in the Path of a contact.
func (s *Server) pathURI(token string) string {
	return s.core.URI(sip.RoleCore, proxy.Own{User: token})
}
