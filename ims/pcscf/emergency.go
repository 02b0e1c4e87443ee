package pcscf

import (
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// callElsewhere is the body that makes a phone call in another network, the
// circuit-switched one for instance (TS 24.229 5.2.10.5, 7.6): this one takes no
// emergency calls.
const callElsewhere = `<?xml version="1.0" encoding="UTF-8"?>
<ims-3gpp version="1"><alternative-service><type>emergency</type><reason>no emergency calls in this network</reason></alternative-service></ims-3gpp>
`

// emergencyCall is the INVITE of one, on its way to the E-CSCF.
type emergencyCall struct {
	s       *Server
	x       *proxy.Exchange
	service string // urn:service:sos, or of its kind
	b       *binding
	caller  *caller // of a phone that is not registered, else nil
	making  making
	next    int // the E-CSCF to try when this one does not answer
}

// emergency takes the INVITE of an emergency call, before all that other requests have
// to stand: whatever Route and Security-Verify say (TS 24.229 5.2.1, 5.2.10.2 to
// 5.2.10.4). It reports whether it was one.
func (s *Server) emergency(x *proxy.Exchange) bool {
	if x.Req.Method() != "INVITE" || x.Req.ToTag() != "" {
		return false
	}
	c := &emergencyCall{s: s, x: x, service: s.cfg.Emergency.service(x.RequestURI(), s.cfg.Domain)}
	if c.service == "" {
		return false
	}
	now := time.Now()
	switch b := s.sender(x, now); {
	case b != nil && b.registered(now):
		c.b = s.bindings.emergencyOf(b, now)
		c.ofRegistered(now)
	case x.Flow.Role == sip.RoleGm:
		c.anonymous(now)
	default:
		return false // over SAs that bring nobody: refused as anything else
	}
	return true
}

// ofRegistered takes the call of a registered phone. The other side gets its telephone
// number too, to call back (TS 24.229 5.2.10.3).
func (c *emergencyCall) ofRegistered(now time.Time) {
	s, x := c.s, c.x
	s.metrics.emergencies.WithLabelValues("registered").Inc()
	if len(s.cfg.Emergency.ECSCF) == 0 {
		s.elsewhere(x, c.b, "no_emergency_calls", "This network takes no emergency calls: "+c.b.impi+" is told to call elsewhere.",
			"If it is to take them, name the E-CSCF in emergency.ecscf of the P-CSCF's configuration.")
		return
	}
	scrubFromPhone(&x.Edits, x.Req)
	asserted, of := s.assertIdentity(x, c.b, now)
	if other := beside(asserted, of); other != "" {
		x.Edits.Add(sip.HPAssertedIdentity, "<"+other+">")
	}
	c.forward("of " + asserted)
}

// beside is the first tel identity of a set beside a sip identity, or the reverse; ""
// for none.
func beside(asserted string, of *set) string {
	tel := func(s string) bool { return strings.HasPrefix(s, "tel:") }
	key, err := identity.ParseIMPUIn(asserted)
	if err != nil {
		return ""
	}
	for i, k := range of.keys {
		if tel(k) != key.IsTel() {
			return of.identities[i]
		}
	}
	return ""
}

// anonymous takes the call of a phone that is not registered, where that is allowed.
func (c *emergencyCall) anonymous(now time.Time) {
	s, x := c.s, c.x
	s.metrics.emergencies.WithLabelValues("anonymous").Inc()
	refuse := func(status int, cause, text, next string, fields ...sip.Field) {
		x.Stranger()
		s.verdicts.Refuse(x, node.Refusal{Status: status, Cause: cause, Clause: "TS 24.229 5.2.10.2", Fields: fields,
			Text: "An emergency call from " + x.Flow.Remote.String() + ", where no phone is registered, is refused: " + text + ".", Next: next})
	}
	if !s.cfg.Emergency.Anonymous {
		refuse(403, "emergency_anonymous", "only registered phones may make them here", "Set emergency.anonymous of the P-CSCF to true if everybody may.")
		return
	}
	var err error
	if c.caller, err = s.callers.begin(x.Flow, x.Req, now); err != nil {
		refuse(503, "emergency_full", err.Error(), "Raise emergency.max_anonymous, unless somebody floods the open port.", sip.Field{ID: sip.HRetryAfter, Value: "5"})
		return
	}
	c.b = c.caller.b
	scrubFromPhone(&x.Edits, x.Req)
	x.Edits.Remove(sip.HPPreferredIdentity) // nobody vouches for it
	c.forward("from " + x.Flow.Remote.String() + ", where no phone is registered")
}

// forward sends the call on.
func (c *emergencyCall) forward(whose string) {
	s, x := c.s, c.x
	if c.caller != nil {
		x.OnEnd(func() { s.callers.ended(c.caller) })
	}
	if !s.begins(x, c.b, emergencies, fromIt) {
		return
	}
	vector, icid := s.charge()
	x.Edits.Add(sip.HPChargingVector, vector)
	s.verdicts.Decide(x, "An emergency call "+whose+": for "+c.service+", to the E-CSCF.", "TS 24.229 5.2.10")
	c.making = making{s: s, b: c.b, x: x, icid: icid, calling: true}
	began := time.Now()
	x.OnResponse(func(br *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
		c.making.response(m)
		return responseToPhone(br, m, e)
	})
	x.OnBest(c.failed)
	x.OnCancel(func() { s.callerGaveUp(x, c.b, began, c.making.ringing) })
	x.OnEnd(c.making.end)
	x.Forward(c.target())
}

// target is the next E-CSCF.
func (c *emergencyCall) target() proxy.Target {
	at := c.s.cfg.Emergency.ECSCF[c.next]
	c.next++
	return proxy.Target{
		URI: c.service, Hop: proxy.Hop{Addr: at, Role: sip.RoleCore}, Timeout: c.s.coreTimeout("INVITE"),
		RecordRoute: &proxy.Own{User: c.b.token},
		Edits: func(e *sip.Edits) {
			e.Remove(sip.HRoute)
			e.Prepend(sip.HRoute, routeTo(at))
		},
	}
}

// failed hears that an E-CSCF has not taken the call. One that is silent or overloaded
// is passed by.
func (c *emergencyCall) failed(best *proxy.Final) bool {
	s, x := c.s, c.x
	silent, busy := best.Local() && !best.Branch.Heard(), !best.Local() && best.Status == 503
	switch {
	case !silent && !busy && best.Local() && best.Branch.Provisional():
		s.verdicts.Refuse(x, nobodyAnswers(x, "The emergency centre", c.b.impi))
	case !silent && !busy:
		return true
	case c.next < len(s.cfg.Emergency.ECSCF):
		x.Retry(c.target())
	case c.caller == nil:
		s.elsewhere(x, c.b, "ecscf_silent", "No E-CSCF takes the emergency call of "+c.b.impi+", who is told to call elsewhere: "+c.why(best)+".",
			"Check that what emergency.ecscf names runs.")
	default:
		s.verdicts.Refuse(x, node.Refusal{Status: 503, Cause: "ecscf_silent", Clause: "TS 24.229 5.2.10.2",
			Text: "No E-CSCF takes the emergency call from " + x.Flow.Remote.String() + ": " + c.why(best) + ".", Next: "Check that what emergency.ecscf names runs."})
	}
	return false
}

func (c *emergencyCall) why(best *proxy.Final) string {
	if best.Err != nil {
		return best.Err.Error()
	}
	return "the last of them is overloaded"
}

// elsewhere tells a registered phone to make its emergency call in another way (TS
// 24.229 5.2.10.5). It believes that only from one whom it knows by its Path.
func (s *Server) elsewhere(x *proxy.Exchange, b *binding, cause, text, next string) {
	s.verdicts.Refuse(x, node.Refusal{Status: 380, Cause: cause, Clause: "TS 24.229 5.2.10.5", IMPI: b.impi, Text: text, Next: next,
		IMSXML: callElsewhere, Fields: []sip.Field{{ID: sip.HPAssertedIdentity, Value: "<" + s.pathURI(b.token) + ">"}}})
}

// openTo reports whether a request in clear belongs to an emergency call of a phone
// that is not registered.
func (s *Server) openTo(x *proxy.Exchange) bool { return s.callers.of(x.Flow, x.Req) != nil }
