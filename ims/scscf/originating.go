package scscf

import (
	"errors"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/uri"
)

// registerAnew makes a phone register from the start (TS 24.229 7.6, 5.1.2A.1.6).
const registerAnew = `<?xml version="1.0" encoding="UTF-8"?>
<ims-3gpp version="1"><alternative-service><type>restoration</type><reason>registration state lost</reason><action>initial-registration</action></alternative-service></ims-3gpp>
`

// hopTimeout is how long a neighbour has for its first response to an INVITE,
// which is a 100 within 200 ms. With it the phone has its answer within 5 s.
const hopTimeout = 4 * time.Second

// originate begins a request that a user whom we serve has sent, or that an
// application server sends for him (TS 24.229 5.4.3.2).
func (l *leg) originate() {
	impu, reg := l.s.sender(l.x.Req)
	if impu == "" {
		l.refuse(node.Refusal{Status: 403, Cause: "no_served_user", Clause: "TS 24.229 5.4.3.2",
			Text: "An originating request names no served user: neither P-Served-User nor P-Asserted-Identity can be read.",
			Next: "The P-CSCF must assert the identity of the phone that sends."})
		return
	}
	l.impu = impu
	alongServiceRoute := l.x.Route.User == origUser && !l.x.Route.HasParam("orig")
	switch {
	case reg.Registered():
		l.originateFor(reg, impu, profile.OriginatingRegistered)
	case alongServiceRoute:
		l.refuse(l.lost(impu))
	case reg != nil && reg.Profile != nil:
		l.originateFor(reg, impu, profile.OriginatingUnregistered)
	default:
		l.fetch(impu, func(reg *registrar.Registration) { l.originateFor(reg, impu, profile.OriginatingUnregistered) })
	}
}

// lost is the answer to a phone that thinks it is registered here: this S-CSCF has
// been restarted, or the registration has ended without the phone's knowledge (TS
// 23.380 4.4). The P-Asserted-Identity proves that it comes from the S-CSCF.
func (l *leg) lost(impu identity.IMPU) node.Refusal {
	return node.Refusal{Status: 504, Cause: "registration_lost", Clause: "TS 24.229 5.4.3.2",
		Text:   string(impu) + " sends along our Service-Route and is not registered here.",
		Next:   "The phone registers anew by itself when it gets this answer. If it happens often: is the S-CSCF restarted, or does the P-CSCF keep bindings too long?",
		Fields: []sip.Field{{ID: sip.HPAssertedIdentity, Value: "<" + l.s.ownURI(origUser) + ";lr>"}},
		IMSXML: registerAnew}
}

// sender is the served user of a request: P-Served-User, or else the first
// P-Asserted-Identity whom we know. reg is nil for one whom we do not.
func (s *Server) sender(m *sip.Message) (impu identity.IMPU, reg *registrar.Registration) {
	for _, id := range [...]sip.ID{sip.HPServedUser, sip.HPAssertedIdentity} {
		for v := range m.Values(id) {
			name := nameOf(v)
			if name == "" {
				continue
			}
			if reg := s.store.Get(string(name)); reg != nil {
				return name, reg
			}
			if impu == "" {
				impu = name
			}
		}
		if impu != "" {
			break
		}
	}
	return impu, nil
}

// originateFor begins the services of the user.
func (l *leg) originateFor(reg *registrar.Registration, impu identity.IMPU, kase profile.SessionCase) {
	l.reg = reg
	if id, ok := reg.Identity(string(impu)); ok && id.Barred {
		l.refuse(node.Refusal{Status: 403, Cause: "barred", Clause: "TS 24.229 5.4.3.2",
			Text: string(impu) + " is barred and may not send " + l.x.Req.Method() + ".", Next: "The phone must use one of its other public identities."})
		return
	}
	l.assertService(reg, impu)
	if kase == profile.OriginatingRegistered && !l.x.Route.HasParam("orig") {
		l.authorizePriority(reg, impu)
	}
	l.serve(reg, impu, kase)
}

// assertService turns the service that the phone asks for into an asserted one if
// the user has subscribed to it, and drops it otherwise (TS 24.229 5.4.3.2; RFC
// 6050 4). A profile without a list of services restricts nothing.
func (l *leg) assertService(reg *registrar.Registration, impu identity.IMPU) {
	m, e := l.x.Req, &l.x.Edits
	for _, id := range [...]sip.ID{sip.HPPreferredService, sip.HPAssertedService} {
		if !m.Has(id) {
			continue
		}
		service := m.First(id)
		e.Remove(id)
		if subscribed(reg, impu, service) {
			e.Set(sip.HPAssertedService, service)
		} else {
			l.decide("TS 24.229 5.4.3.2", func() string { return string(impu) + " has not subscribed to " + service + ": removed." })
		}
	}
}

func subscribed(reg *registrar.Registration, impu identity.IMPU, service string) bool {
	if reg.Profile == nil {
		return true
	}
	sp, _ := reg.Profile.Find(impu)
	if sp == nil || sp.CoreNetworkServices == nil || len(sp.CoreNetworkServices.ServiceIDs) == 0 {
		return true
	}
	for _, id := range sp.CoreNetworkServices.ServiceIDs {
		if strings.EqualFold(id, service) {
			return true
		}
	}
	return false
}

// route sends the request on its way to the called side, after all services (TS
// 24.229 5.4.3.2). Numbers are looked up by our own HSS alone: there is no ENUM.
func (l *leg) route() {
	x, e := l.x, &l.x.Edits
	if x.Req.Has(sip.HPServedUser) {
		e.Remove(sip.HPServedUser)
	}
	l.chargeRequest(e, 2)
	if l.kase != profile.OriginatingCDIV {
		l.assertAlias(x.Req, e)
	}
	t := proxy.Target{Hop: proxy.Hop{Role: sip.RoleCore}, RecordRoute: l.recordRoute(), Ringing: node.Ringing(x.Req)}
	if x.Req.Method() == "INVITE" {
		t.Timeout = hopTimeout
	}
	l.sent++
	if top := x.TopRoute(); top != "" {
		l.next = "the next hop " + top
		l.decide("TS 24.229 5.4.3.2", func() string { return "On along its Route to " + top + "." })
		l.leave(top, false)
		x.Retry(t)
		return
	}
	u, err := uri.Parse(x.RequestURI())
	if err != nil {
		l.refuse(badTarget(x.RequestURI(), err))
		return
	}
	to := identity.NormalizeTarget(u, l.s.cfg.Domain)
	switch {
	case to.Kind == identity.ForeignNumber:
		l.refuse(node.Refusal{Status: 404, Cause: "foreign_context", Clause: "TS 24.229 7.2A.10",
			Text: "The number " + string(to.Identity) + " belongs to the numbering plan of " + to.Context + ", which nobody here knows.",
			Next: "Dial it with + and country code, or let an application server translate it."})
		return
	case to.Home:
		t.Hop.Addr, l.next, l.entry = l.s.cfg.ICSCF, "the I-CSCF at "+l.s.cfg.ICSCF.String(), true
		if to.Kind != identity.SIPIdentity {
			t.URI = string(to.Identity)
			l.recordNumber(t.URI)
		}
		l.decide("TS 24.229 5.4.3.2", func() string {
			return "To " + string(to.Identity) + " (" + to.Kind.String() + "): the I-CSCF finds its S-CSCF."
		})
	default:
		l.foreign, l.next = true, u.Host
		l.decide("TS 24.229 5.4.3.2", func() string { return "To " + string(to.Identity) + " of another domain: " + u.Host + "." })
		l.leave(x.RequestURI(), true)
	}
	x.Retry(t)
}

// badTarget is the refusal for a Request-URI that leads nowhere.
func badTarget(ruri string, err error) node.Refusal {
	r := node.Refusal{Status: 404, Cause: "bad_target", Clause: "TS 24.229 5.4.3.2", Text: "The Request-URI " + ruri + " names nobody: " + err.Error() + ".",
		Next: "Look at what was dialled: a sip URI or a telephone number can be called."}
	if errors.Is(err, uri.ErrScheme) {
		r.Status = 416
	}
	return r
}

// rangInVain refuses a call that nobody has answered until Timer C, or node.MaxRinging,
// and reports whether that is why f has come.
func (l *leg) rangInVain(f *proxy.Final) bool {
	if l.x.Req.Method() != "INVITE" || f.Branch == nil || !f.Branch.Provisional() {
		return false
	}
	l.refuse(node.Refusal{Status: 408, Cause: "no_answer", Clause: "RFC 3261 16.8",
		Text: "Nobody has answered the call to " + l.x.RequestURI() + ", and nothing more has been heard of it for three minutes (Timer C), or it has rung for eleven.",
		Next: "Nothing is wrong in the network if it rang: a service that diverts calls on no answer would act earlier."})
	return true
}

// unrouted says why the request has not reached the called side.
func (l *leg) unrouted(f *proxy.Final) bool {
	if f.Local() && l.rangInVain(f) {
		return false
	}
	if l.entry && !f.Local() && f.Status == 503 {
		// There is no other way to the users of our domain: the next request would fare
		// no better, so it is a 503 of our own (RFC 3261 16.7 step 6).
		l.refuse(node.Refusal{Status: 503, Cause: "icscf_overloaded", Clause: "RFC 3261 21.5.4",
			Text: "The I-CSCF has no time, or an S-CSCF behind it: it answered 503.", Next: "Look at the I-CSCF's log; try again after Retry-After.",
			Fields: []sip.Field{node.RetryAfter(f.Msg)}})
		return false
	}
	if !f.Local() || f.Branch != nil && f.Branch.Provisional() {
		return true
	}
	switch {
	case l.foreign && errors.Is(f.Err, proxy.ErrUnresolved):
		l.refuse(node.Refusal{Status: 404, Cause: "foreign_domain", Clause: "TS 24.229 5.4.3.2",
			Text: "No way to " + l.x.RequestURI() + ": " + f.Err.Error() + ".",
			Next: "The domain of the S-CSCF is " + l.s.cfg.Domain + ". For another network, name its entry point in hosts."})
	case f.Status == 408 && l.x.Req.Method() != "INVITE":
		return true
	default:
		text := "No answer from " + l.next
		if f.Err != nil {
			text += ": " + f.Err.Error()
		}
		l.refuse(node.Refusal{Status: 504, Cause: "next_hop_silent", Clause: "TS 24.229 5.4.3.2", Text: text + ".",
			Next: "Check that it runs, and the addresses in icscf and hosts of the S-CSCF's configuration."})
	}
	return false
}
