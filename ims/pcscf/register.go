package pcscf

import (
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ims/uri"
)

// registration is a REGISTER on its way to the home network.
type registration struct {
	s       *Server
	impi    string
	impu    string // To URI
	contact string // Contact URI, empty for a query or "*"
	token   string // of Path
	icid    string
	next    int // the entry point to try when this one does not answer
}

// register takes a phone's REGISTER to the home network (TS 24.229 5.2.2).
func (s *Server) register(x *proxy.Exchange) {
	r := &registration{s: s, impu: addressURI(x.Req.Get(sip.HTo)), icid: s.newICID()}
	cred, err := sip.ParseCredentials(x.Req.Get(sip.HAuthorization))
	if x.Req.Has(sip.HAuthorization) && err != nil {
		s.verdicts.Refuse(x, node.Refusal{Status: 400, Cause: "bad_authorization", Text: "The Authorization header cannot be read: " + err.Error() + "."})
		return
	}
	if r.impi = cred.Username; r.impi == "" {
		// TS 24.229 5.3.1.2: without one the private identity follows from To.
		if u, err := uri.Parse(r.impu); err == nil {
			r.impi = u.User + "@" + u.HostName()
		}
	}
	contacts, star := 0, false
	for v := range x.Req.Values(sip.HContact) {
		if v == "*" {
			star = true
			continue
		}
		c := addressURI(v)
		if c == "" {
			s.verdicts.Refuse(x, node.Refusal{Status: 400, Cause: "bad_contact", Text: "The Contact header cannot be read."})
			return
		}
		if contacts++; contacts == 1 || sameSource(c, x) {
			r.contact = c
		}
	}
	if star && (contacts > 0 || x.Req.Get(sip.HExpires) != "0") {
		s.verdicts.Refuse(x, node.Refusal{Status: 400, Cause: "bad_contact", Clause: "RFC 3261 10.2.2", Text: "Contact \"*\" stands alone and with Expires: 0, to remove all bindings."})
		return
	}

	now := time.Now()
	r.token = newToken()
	if b := s.bindings.ofContact(r.impi, r.contact, now); b != nil {
		r.token = b.token
	}
	s.editRegister(x, r, cred)
	x.OnResponse(r.response)
	x.OnBest(func(best *proxy.Final) bool { return r.failed(x, best) })
	x.Forward(r.target())
}

// target is the next entry point of the home network (TS 24.229 5.2.2.1).
func (r *registration) target() proxy.Target {
	r.next++
	return proxy.Target{
		Hop:     proxy.Hop{Addr: r.s.cfg.ICSCF[r.next-1], Role: sip.RoleCore},
		Timeout: r.s.cfg.HomeTimeout.D(),
	}
}

// sameSource reports whether a contact is where the request came from.
func sameSource(contact string, x *proxy.Exchange) bool {
	u, err := uri.Parse(contact)
	if err != nil {
		return false
	}
	a, ok := u.Addr()
	return ok && a == x.Flow.Remote.Addr().Unmap()
}

// editRegister writes what the home network needs to know (TS 24.229 5.2.2.1,
// 5.2.2.2).
func (s *Server) editRegister(x *proxy.Exchange, r *registration, cred sip.Credentials) {
	e := &x.Edits
	s.scrubFromPhone(e, x.Req)
	e.Remove(sip.HRoute)
	e.Prepend(sip.HPath, "<"+s.core.URI(sip.RoleCore, proxy.Own{User: r.token})+">")
	if !x.Req.HasOption(sip.HRequire, "path") {
		e.Add(sip.HRequire, "path")
	}
	e.Set(sip.HPVisitedNetworkID, sip.Quote(s.cfg.visited()))
	e.Set(sip.HPChargingVector, s.chargingVector(r.icid))
	if x.Req.Has(sip.HAuthorization) && cred.Username != "" {
		// What the phone says of its own protection is never trusted.
		cred.IntegrityProtected, cred.IK, cred.CK = "no", "", ""
		e.Set(sip.HAuthorization, string(cred.AppendTo(nil)))
	}
	if s.deps.Trace.On() {
		s.deps.Trace.Emit(trace.Event{Kind: trace.Decision, CallID: x.Req.CallID(), ICID: r.icid, IMPI: r.impi,
			Text: "REGISTER of " + r.impi + " in clear: to the home network with Path, visited network and charging identifier.", Clause: "TS 24.229 5.2.2.1"})
	}
}

// response sees each answer of the home network before the phone does.
func (r *registration) response(b *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
	s := r.s
	e.Remove(sip.HPChargingVector)
	e.Remove(sip.HPChargingFunctionAddresses)
	switch status := m.Status(); {
	case status == 401:
		stripKeys(e, m)
	case status/100 == 2:
		r.registered(b.Exchange(), m)
	}
	if m.Status() >= 200 && m.Status() != 503 {
		s.metrics.registers.WithLabelValues(strconv.Itoa(m.Status())).Inc()
		s.deps.Log.Info("register answered", zap.Int("status", m.Status()), zap.String("reason", m.Reason()),
			zap.String("impi", r.impi), zap.String("impu", r.impu), zap.String("icid", r.icid), zap.String("call_id", m.CallID()))
	}
	return true
}

// stripKeys takes CK and IK out of the challenge: they never reach the phone
// (TS 24.229 5.2.2.2).
func stripKeys(e *sip.Edits, m *sip.Message) {
	for i := m.Find(sip.HWWWAuthenticate, 0); i >= 0; i = m.Find(sip.HWWWAuthenticate, i+1) {
		_, _, value := m.Line(i)
		ch, err := sip.ParseChallenge(value)
		if err != nil {
			// What cannot be read may hold keys all the same.
			e.RemoveLine(i)
			continue
		}
		if ch.CK == "" && ch.IK == "" {
			continue
		}
		ch.CK, ch.IK = "", ""
		e.ReplaceLine(i, string(ch.AppendTo(nil)))
	}
}

// registered learns from the 200 (TS 24.229 5.2.2.1).
func (r *registration) registered(x *proxy.Exchange, m *sip.Message) {
	s := r.s
	now := time.Now()
	seconds, ok := grantedExpiry(m, r.contact)
	old := s.bindings.ofContact(r.impi, r.contact, now)
	if !ok || seconds == 0 {
		if old != nil {
			s.bindings.remove(old)
			s.state(x, r, "Contact "+r.contact+" of "+r.impi+" is no longer registered.")
		}
		return
	}
	b := &binding{
		token: r.token, impi: strings.Clone(r.impi), contact: strings.Clone(r.contact),
		source: x.Flow.Remote, flow: x.Flow, icid: r.icid,
		expires: now.Add(time.Duration(seconds) * time.Second),
	}
	for v := range m.Values(sip.HServiceRoute) {
		b.serviceRoute = append(b.serviceRoute, strings.Clone(v))
	}
	for v := range m.Values(sip.HPAssociatedURI) {
		if u := addressURI(v); u != "" {
			b.identities = append(b.identities, strings.Clone(u))
		}
	}
	if b.identities == nil { // TS 24.229 5.2.2.1: then To alone is registered
		b.identities = []string{strings.Clone(r.impu)}
	}
	for _, id := range b.identities {
		key, err := identity.ParseIMPU(id)
		if err != nil {
			s.verdicts.Limited().Warn(s.deps.Log, "bad_associated_uri", "an identity of P-Associated-URI cannot be read", zap.String("impi", r.impi), zap.Error(err))
		}
		b.keys = append(b.keys, string(key))
	}
	if !s.bindings.put(b) {
		s.verdicts.Limited().Warn(s.deps.Log, "bindings_full", "no room for another registered phone: raise max_bindings", zap.String("impi", r.impi))
		return
	}
	s.state(x, r, r.impi+" is registered at "+r.contact+" for "+strconv.FormatUint(uint64(seconds), 10)+" s; identities "+strings.Join(b.identities, ", ")+".")
}

func (s *Server) state(x *proxy.Exchange, r *registration, text string) {
	s.metrics.registered.Set(float64(s.bindings.len()))
	if s.deps.Trace.On() {
		s.deps.Trace.Emit(trace.Event{Kind: trace.State, CallID: x.Req.CallID(), ICID: r.icid, IMPI: r.impi, Text: text, Clause: "TS 24.229 5.2.2.1"})
	}
}

// grantedExpiry returns what the 200 grants the contact, in seconds; false when
// the contact is not in it.
func grantedExpiry(m *sip.Message, contact string) (uint32, bool) {
	want, err := uri.Parse(contact)
	if err != nil {
		return 0, false
	}
	for v := range m.Values(sip.HContact) {
		a, err := sip.ParseNameAddr(v)
		if err != nil {
			continue
		}
		u, err := uri.Parse(a.URI)
		if err != nil || !uri.Equal(u, want) {
			continue
		}
		if p, ok := a.Param("expires"); ok {
			return sip.ParseDelta(p)
		}
		return sip.ParseDelta(m.Get(sip.HExpires))
	}
	return 0, false
}

// failed hears that no address of the home network gave a usable answer.
func (r *registration) failed(x *proxy.Exchange, best *proxy.Final) bool {
	s := r.s
	silent := best.Local() && (best.Status == 408 || best.Status == 503)
	busy := !best.Local() && best.Status == 503
	if !silent && !busy {
		return true
	}
	if r.next < len(s.cfg.ICSCF) {
		x.Retry(r.target())
		return false
	}
	f := overloaded
	if silent {
		f = func(best *proxy.Final) node.Refusal { return homeSilent(best, "The REGISTER of "+r.impi) }
	}
	ref := f(best)
	s.metrics.registers.WithLabelValues(strconv.Itoa(ref.Status)).Inc()
	s.verdicts.Refuse(x, ref)
	return false
}
