package pcscf

import (
	"net/netip"
	"strconv"
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
	x       *proxy.Exchange
	impi    string
	impu    string         // To URI
	key     string         // its canonical form
	contact string         // the Contact URI that is bound, empty for a query or "*"
	at      netip.AddrPort // that it names, the zero one where it is none of ours to reach
	atProto sip.Proto      // by which it asks to be reached there
	token   string         // of Path
	vector  string         // P-Charging-Vector
	icid    string         // in it
	place   bool           // one among the bindings is reserved
	next    int            // the entry point to try when this one does not answer

	agreeing *agreeing // inClear where there is no IPsec
	waited   int       // how often for ports that challenges without an answer held
}

// register takes a phone's REGISTER to the home network (TS 24.229 5.2.2).
func (s *Server) register(x *proxy.Exchange) {
	r := &registration{s: s, x: x, impu: addressURI(x.Req.Get(sip.HTo))}
	r.vector, r.icid = s.charge()
	if r.agreeing = &inClear; s.sec != nil {
		r.agreeing = &agreeing{on: s.sec.of(x.Flow)}
	}
	cred, refusal := r.identify()
	if refusal.Status == 0 {
		refusal = r.agree(cred)
	}
	if refusal.Status == 0 {
		refusal = r.choose()
	}
	var bound *binding
	if refusal.Status == 0 {
		bound = s.bindings.ofContact(r.impi, r.contact, time.Now())
	}
	if refusal.Status == 0 && r.contact != "" && bound == nil && !r.reserve() {
		refusal = bindingsFull()
	}
	if refusal.Status != 0 {
		r.refuse(refusal)
		return
	}

	if bound != nil {
		r.token = bound.token
	} else {
		r.token = newToken()
	}
	r.edit(cred)
	r.forwarded()
	x.OnResponse(r.response)
	x.OnBest(r.failed)
	x.Forward(r.target())
}

// forwarded remembers that the REGISTER went on, and whether it answers a challenge.
func (r *registration) forwarded() {
	sec, on := r.s.sec, r.agreeing.on
	if sec == nil {
		return
	}
	answers := on != nil && !sec.established(on)
	if answers {
		sec.answering(on)
	}
	sec.facts.note(r.impi, func(k *fact, now moment) {
		if k.forwardedAt = now; answers {
			k.answeredAt = now
		}
	})
}

// reserve keeps a place for the contact until the REGISTER ends: whom the home network has
// registered would get no calls otherwise. With IPsec one in clear is only challenged, and
// strangers send those. It reports whether there is room.
func (r *registration) reserve() bool {
	t := r.s.bindings
	if r.s.sec != nil && r.agreeing.on == nil {
		return !t.full()
	}
	if r.place = t.reserve(); r.place {
		r.x.OnEnd(func() {
			if r.place {
				r.place = false
				t.release()
			}
		})
	}
	return r.place
}

func bindingsFull() node.Refusal {
	return node.Refusal{Status: 503, Cause: "bindings_full", Text: "This P-CSCF has as many phones as max_bindings allows.",
		Next:   "Raise max_bindings of the P-CSCF, or add a P-CSCF.",
		Fields: []sip.Field{{ID: sip.HRetryAfter, Value: strconv.Itoa(fullRetryAfter)}}}
}

// fullRetryAfter is how many seconds a phone waits that finds no room.
const fullRetryAfter = 60

// identify finds out whose REGISTER it is. Status 0 of the refusal is none.
func (r *registration) identify() (sip.Credentials, node.Refusal) {
	m := r.x.Req
	var cred sip.Credentials
	for line := range m.Lines(sip.HAuthorization) {
		c, err := sip.ParseCredentials(line)
		if err != nil {
			return cred, node.Refusal{Status: 400, Cause: "bad_authorization", Text: "The Authorization header cannot be read: " + err.Error() + ".", Next: "Look at the REGISTER in the trace: it is the phone's to mend."}
		}
		if cred.Username == "" { // only Digest has one
			cred = c
		}
	}
	to, err := identity.ParseIMPUIn(r.impu)
	if err != nil {
		return cred, node.Refusal{Status: 400, Cause: "bad_to", Text: "To names no public identity: " + err.Error() + ".", Next: "Look at the identity that the phone is configured with."}
	}
	r.key = string(to)
	if r.impi = cred.Username; r.impi == "" && r.agreeing.on != nil {
		r.impi = r.agreeing.on.Owner
	} else if r.impi == "" {
		// TS 24.229 5.3.1.2: without one the private identity follows from To.
		u, err := uri.Parse(r.impu)
		if err == nil {
			var id identity.IMPI
			id, err = identity.IMPIFromIMPU(u)
			r.impi = string(id)
		}
		if err != nil {
			return cred, node.Refusal{Status: 403, Cause: "no_impi", Clause: "TS 24.229 5.3.1.2",
				Text: "The REGISTER names no private identity: it has no Authorization with a username, and none follows from " + r.impu + ".",
				Next: "The phone must send its private identity as username of Authorization."}
		}
	} else if id, err := identity.ParseIMPI(r.impi); err == nil {
		r.impi = string(id) // the realm's letter case makes no other user
	}
	return cred, node.Refusal{}
}

// choose finds the contact to bind: of several the one where the REGISTER came
// from, the others are the registrar's affair (RFC 3261 10.2.2).
func (r *registration) choose() node.Refusal {
	m := r.x.Req
	star, contacts, best := false, 0, -1
	expires, _ := m.Expires()
	for v := range m.Values(sip.HContact) {
		if v == "*" {
			star = true
			continue
		}
		contacts++
		a, err := sip.ParseNameAddr(v)
		if err != nil {
			return node.Refusal{Status: 400, Cause: "bad_contact", Text: "The Contact header cannot be read: " + err.Error() + ".", Next: "Look at the REGISTER in the trace: it is the phone's to mend."}
		}
		u, err := uri.Parse(a.URI)
		if err != nil {
			continue // of another scheme: nothing that we could reach
		}
		rank := 0
		ip, ok := u.Addr()
		if same := ok && ip.Unmap() == r.x.Flow.Remote.Addr().Unmap(); same {
			rank = 2
			if u.PortOr(5060) == r.reachedAt() {
				rank = 4
			}
		}
		if e, ok := a.Expires(); !ok || e > 0 {
			rank++ // one that stays is preferred to one that goes
		}
		if rank > best {
			best, r.contact, r.at, r.atProto = rank, a.URI, netip.AddrPort{}, 0
			if ok {
				r.at = netip.AddrPortFrom(ip.Unmap(), u.PortOr(5060))
			}
			if t, ok := u.Param("transport"); ok {
				r.atProto, _ = sip.ParseProto(t)
			}
		}
	}
	if star && (contacts > 0 || !m.Has(sip.HExpires) || expires != 0) {
		return node.Refusal{Status: 400, Cause: "bad_contact", Clause: "RFC 3261 10.2.2", Text: "Contact \"*\" stands alone and with Expires: 0, to remove all bindings.",
			Next: "Look at the REGISTER in the trace: it is the phone's to mend."}
	}
	return node.Refusal{}
}

// reachedAt is the phone's port at which requests reach it: the one that it sends
// from, or with IPsec its server port.
func (r *registration) reachedAt() uint16 {
	if on := r.agreeing.on; on != nil {
		return on.Remote.PortS
	}
	return r.x.Flow.Remote.Port()
}

// target is the next entry point of the home network (TS 24.229 5.2.2.1).
func (r *registration) target() proxy.Target {
	r.next++
	return proxy.Target{
		Hop:     proxy.Hop{Addr: r.s.cfg.ICSCF[r.next-1], Role: sip.RoleCore},
		Timeout: r.s.cfg.HomeTimeout.D(),
	}
}

// edit writes what the home network needs to know (TS 24.229 5.2.2.1, 5.2.2.2).
func (r *registration) edit(cred sip.Credentials) {
	s, x := r.s, r.x
	e := &x.Edits
	room := 12 // for what follows, and the engine's own
	if s.sec != nil {
		room = 20
	}
	e.Grow(room)
	scrubLinesFromPhone(e, x.Req, false) // Authorization is written anew below
	scrubRestFromPhone(e, x.Req)
	e.Remove(sip.HRoute)
	e.Prepend(sip.HPath, "<"+s.pathURI(r.token)+">")
	if !x.Req.HasOption(sip.HRequire, "path") {
		e.Add(sip.HRequire, "path")
	}
	e.Set(sip.HPVisitedNetworkID, s.texts().visited)
	e.Set(sip.HPChargingVector, r.vector)
	if x.Req.Has(sip.HAuthorization) {
		// One, by which everybody behind us goes; and what the phone says of its
		// own protection is never trusted.
		e.Remove(sip.HAuthorization)
		if cred.Username != "" {
			cred.IntegrityProtected, cred.IK, cred.CK = "no", "", ""
			if r.agreeing.on != nil {
				cred.IntegrityProtected = "yes"
			}
			e.Add(sip.HAuthorization, credentials(&cred))
		}
	}
	if !s.deps.Trace.On() {
		return
	}
	how := " in clear"
	if r.agreeing.on != nil {
		how = " over its SA set"
	}
	text := "REGISTER of " + r.impi + how + ": to the home network with Path, visited network and charging identifier."
	if r.contact != "" && !r.direct() {
		text += " Its contact " + r.contact + " is not where it came from, " + x.Flow.Remote.String() + ": the phone is reached there."
	}
	r.decide(text)
}

// direct reports whether the contact names the address that the REGISTER came
// from.
func (r *registration) direct() bool {
	return r.at.IsValid() && r.at.Addr() == r.x.Flow.Remote.Addr().Unmap()
}

func (r *registration) decide(text string) {
	if r.s.deps.Trace.On() {
		r.s.deps.Trace.Emit(trace.Event{Kind: trace.Decision, CallID: r.x.Req.CallID(), ICID: r.icid, IMPI: r.impi, Text: text, Clause: "TS 24.229 5.2.2.1"})
	}
}

// response sees each answer of the home network before the phone does.
func (r *registration) response(_ *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
	s := r.s
	if s.sec != nil && m.Status() == 401 {
		r.agreeing.keys = keysOf(m)
	}
	scrubToPhone(e, m)
	if m.Status()/100 == 2 {
		if r.unprotected(m) {
			return false
		}
		if !r.registered(m) {
			r.refuse(bindingsFull())
			return false
		}
	} else if m.Status() >= 300 {
		r.rejected(m.Status())
	}
	if s.sec != nil && m.Status() >= 200 {
		s.sec.facts.note(r.impi, func(k *fact, now moment) { k.homeAt, k.homeStatus = now, uint16(m.Status()) })
	}
	if m.Status() >= 200 && m.Status() != 503 && (s.sec == nil || m.Status() != 401) { // that may become something else
		r.answered(m)
	}
	return true
}

// refuse answers the REGISTER with a refusal of ours, and counts that.
func (r *registration) refuse(refusal node.Refusal) {
	refusal.IMPI = r.impi
	r.s.metrics.registers.WithLabelValues(strconv.Itoa(refusal.Status)).Inc()
	r.s.verdicts.Refuse(r.x, refusal)
}

// answered counts and writes how the REGISTER has ended. Whoever can reach Gm gets challenges and
// refusals, as many as he likes: their lines are limited.
func (r *registration) answered(m *sip.Message) {
	const text = "register answered"
	r.s.metrics.registers.WithLabelValues(strconv.Itoa(m.Status())).Inc()
	v := r.s.verdicts
	fields := [...]zap.Field{
		zap.Int("status", m.Status()), zap.String("reason", m.Reason()),
		zap.String("impi", r.impi), zap.String("impu", r.impu), zap.String("icid", r.icid), zap.String("call_id", m.CallID()),
	}
	switch {
	case m.Status() < 300:
		node.Info(v.Log, text, fields[:]...)
	case m.Status() == 401:
		v.Often("challenged", text, fields[:]...)
	default:
		v.Often("refused", text, fields[:]...)
	}
}

// unprotected refuses a registration that the home network has granted to a phone
// in clear: its requests would be refused, there is no SA to send them over.
func (r *registration) unprotected(m *sip.Message) bool {
	if r.s.sec == nil || r.agreeing.on != nil || grants(m, nil).of(r.contact) == 0 {
		return false
	}
	r.refuse(r.s.sec.refuse(r.impi, node.Refusal{Status: 403, Cause: "granted_in_clear", Clause: "TS 24.229 5.2.2.2",
		Text: "The S-CSCF has registered " + r.impi + " in clear, without a challenge whose answer came over IPsec.",
		Next: "It must challenge what comes with integrity-protected=no; ours does so unless aka_without_ipsec is set."}, nil))
	return true
}

// rejected tells the phone's SA sets of an answer that ends an authentication (TS
// 33.203 7.3.1). After 423 the phone tries again over the same set, and after what
// is no word of the registrar's it may.
func (r *registration) rejected(status int) {
	g := r.agreeing
	switch {
	case r.s.sec == nil:
	case !g.anew && (g.on == nil || r.s.sec.established(g.on)): // it answered no challenge
	case status == 401, status == 408, status == 423, status == 480, status >= 500 && status < 600:
	default:
		r.s.sec.rejected(g.key, g.on)
	}
}

// failed hears that no address of the home network gave a usable answer.
func (r *registration) failed(best *proxy.Final) bool {
	s := r.s
	if s.sec != nil && best.Status == 401 {
		r.challenged(best)
		return false
	}
	silent := best.Local()
	busy := !silent && best.Status == 503
	if !silent && !busy {
		return true
	}
	if r.next < len(s.cfg.ICSCF) {
		r.x.Retry(r.target())
		return false
	}
	var ref node.Refusal
	if silent {
		ref = homeSilent(best, "The REGISTER of "+r.impi)
	} else {
		ref = overloaded(best)
	}
	r.refuse(ref)
	return false
}
