package pcscf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
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
	impu    string // To URI
	key     string // its canonical form
	contact string // the Contact URI that is bound, empty for a query or "*"
	at      uri.URI
	token   string // of Path
	icid    string
	next    int // the entry point to try when this one does not answer

	agreeing agreeing
	keys     keys // of the 401, until its set is made
}

// register takes a phone's REGISTER to the home network (TS 24.229 5.2.2).
func (s *Server) register(x *proxy.Exchange) {
	r := &registration{s: s, x: x, impu: addressURI(x.Req.Get(sip.HTo)), icid: s.newICID()}
	r.agreeing.on = s.sec.of(x.Flow)
	cred, refusal := r.identify()
	if refusal.Status == 0 {
		refusal = r.agree(cred)
	}
	if refusal.Status == 0 {
		refusal = r.choose()
	}
	if refusal.Status == 0 && r.contact != "" && s.bindings.ofContact(r.impi, r.contact, time.Now()) == nil && s.bindings.full() {
		refusal = node.Refusal{Status: 503, Cause: "bindings_full", Text: "This P-CSCF has as many phones as max_bindings allows.",
			Next:   "Raise max_bindings of the P-CSCF, or add a P-CSCF.",
			Fields: []sip.Field{{ID: sip.HRetryAfter, Value: strconv.Itoa(fullRetryAfter)}}}
	}
	if refusal.Status != 0 {
		refusal.IMPI = r.impi
		s.metrics.registers.WithLabelValues(strconv.Itoa(refusal.Status)).Inc()
		s.verdicts.Refuse(x, refusal)
		return
	}

	r.token = newToken()
	if b := s.bindings.ofContact(r.impi, r.contact, time.Now()); b != nil {
		r.token = b.token
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
	now := time.Now()
	answers := on != nil && !sec.established(on)
	sec.facts.note(r.impi, func(k *fact) {
		if k.ForwardedAt = now; answers {
			k.AnsweredAt = now
		}
	})
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
	to, err := identity.ParseIMPU(r.impu)
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
			best, r.contact, r.at = rank, a.URI, u
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
	scrubFromPhone(e, x.Req)
	e.Remove(sip.HRoute)
	e.Prepend(sip.HPath, "<"+s.pathURI(r.token)+">")
	if !x.Req.HasOption(sip.HRequire, "path") {
		e.Add(sip.HRequire, "path")
	}
	e.Set(sip.HPVisitedNetworkID, sip.Quote(s.cfg.visited()))
	e.Set(sip.HPChargingVector, s.chargingVector(r.icid))
	if x.Req.Has(sip.HAuthorization) {
		// One, by which everybody behind us goes; and what the phone says of its
		// own protection is never trusted.
		e.Remove(sip.HAuthorization)
		if cred.Username != "" {
			cred.IntegrityProtected, cred.IK, cred.CK = "no", "", ""
			if r.agreeing.on != nil {
				cred.IntegrityProtected = "yes"
			}
			e.Add(sip.HAuthorization, string(cred.AppendTo(nil)))
		}
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
	ip, ok := r.at.Addr()
	return ok && ip.Unmap() == r.x.Flow.Remote.Addr().Unmap()
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
		r.keys = keysOf(m)
	}
	scrubToPhone(e, m)
	if m.Status()/100 == 2 {
		if r.unprotected(m) {
			return false
		}
		r.registered(m)
	} else if m.Status() >= 300 {
		r.rejected(m.Status())
	}
	if s.sec != nil && m.Status() >= 200 {
		s.sec.facts.note(r.impi, func(k *fact) { k.HomeAt, k.HomeStatus = time.Now(), m.Status() })
	}
	if m.Status() >= 200 && m.Status() != 503 {
		s.metrics.registers.WithLabelValues(strconv.Itoa(m.Status())).Inc()
		s.deps.Log.Info("register answered", zap.Int("status", m.Status()), zap.String("reason", m.Reason()),
			zap.String("impi", r.impi), zap.String("impu", r.impu), zap.String("icid", r.icid), zap.String("call_id", m.CallID()))
	}
	return true
}

// unprotected refuses a registration that the home network has granted to a phone
// in clear: its requests would be refused, there is no SA to send them over.
func (r *registration) unprotected(m *sip.Message) bool {
	if r.s.sec == nil || r.agreeing.on != nil || grants(m).of(r.contact) == 0 {
		return false
	}
	r.s.verdicts.Refuse(r.x, r.s.sec.refuse(r.impi, node.Refusal{Status: 403, Cause: "granted_in_clear", Clause: "TS 24.229 5.2.2.2", IMPI: r.impi,
		Text: "The S-CSCF has registered " + r.impi + " in clear, without a challenge whose answer came over IPsec.",
		Next: "It must challenge what comes with integrity-protected=no; ours does so unless aka_without_ipsec is set."}, nil))
	return true
}

// rejected tells the phone's SA sets of an answer that ends an authentication (TS
// 33.203 7.3.1). After 423 the phone tries again over the same set, and after what
// is no word of the registrar's it may.
func (r *registration) rejected(status int) {
	g := &r.agreeing
	switch {
	case r.s.sec == nil || g.on == nil && !g.anew:
	case status == 401, status == 408, status == 423, status == 480, status >= 500 && status < 600:
	default:
		r.s.sec.rejected(g.key, g.on)
	}
}

// registered learns from the 2xx (TS 24.229 5.2.2.1), which lists all contacts of
// the identity: what it does not list any more is not registered any more.
func (r *registration) registered(m *sip.Message) {
	s, now := r.s, time.Now()
	granted := grants(m)
	if seconds := granted.of(r.contact); seconds > 0 {
		r.bind(m, seconds, now)
	} else if expires, ok := r.x.Req.Expires(); r.contact != "" && (!ok || expires > 0) && !r.leaves() {
		s.verdicts.Tell(r.x, node.Refusal{Status: m.Status(), Cause: "contact_not_granted", IMPI: r.impi, Clause: "RFC 3261 10.3",
			Text: "The registrar has answered " + strconv.Itoa(m.Status()) + " without the contact " + r.contact + " of " + r.impi + ": the phone is not bound here.",
			Next: "The 200 must list the contact as the phone wrote it. Look at what the S-CSCF has made of it."})
	}
	for _, b := range s.bindings.of(r.impi) {
		if granted.of(b.contact) == 0 && s.bindings.end(b, r.key, now) {
			r.state("Contact " + b.contact + " of " + r.impi + " is no longer registered as " + r.impu + ".")
		}
	}
	r.protectedUntil(now)
	s.metrics.registered.Set(float64(s.bindings.len()))
}

// protectedUntil makes the SA sets of the private identity live as long as what is
// registered over them (TS 24.229 5.2.2.2, 5.2.5.1).
func (r *registration) protectedUntil(now time.Time) {
	s := r.s
	if s.sec == nil {
		return
	}
	if on := r.agreeing.on; on != nil {
		if b := s.bindings.ofPhone(r.agreeing.key, now); b != nil && b.registered(now) {
			s.sec.registered(on, b.until().Sub(now))
			s.sec.facts.success(r.impi, now)
		}
	}
	if !slices.ContainsFunc(s.bindings.of(r.impi), func(b *binding) bool { return b.registered(now) }) {
		s.sec.facts.gone(r.impi)
	}
	for _, k := range s.sec.phonesOf(r.impi) {
		if b := s.bindings.ofPhone(k, now); b == nil || !b.registered(now) {
			s.sec.deregistered(k)
		}
	}
}

// leaves reports whether the contact was to be removed.
func (r *registration) leaves() bool {
	for v := range r.x.Req.Values(sip.HContact) {
		if a, err := sip.ParseNameAddr(v); err == nil && a.URI == r.contact {
			e, ok := a.Expires()
			return ok && e == 0
		}
	}
	return false
}

// bind stores what the 2xx says of the contact.
func (r *registration) bind(m *sip.Message, seconds uint32, now time.Time) {
	s, x := r.s, r.x
	b := &binding{
		token: r.token, impi: strings.Clone(r.impi), contact: strings.Clone(r.contact),
		source: x.Flow.Remote, flow: x.Flow, stream: new(atomic.Pointer[sip.Flow]),
	}
	if r.agreeing.on != nil {
		b.phone = r.agreeing.key
	}
	if r.agreeing.on == nil && r.direct() { // with IPsec the set says where it is

		ip, _ := r.at.Addr()
		b.at = netip.AddrPortFrom(ip.Unmap(), r.at.PortOr(5060))
		if t, ok := r.at.Param("transport"); ok {
			b.atProto, _ = sip.ParseProto(t)
		}
	}
	is := r.set(m, now.Add(time.Duration(seconds)*time.Second))
	if old := s.bindings.ofContact(r.impi, r.contact, now); old != nil {
		b.stream, b.sets = old.stream, old.with(is, now)
	} else {
		b.sets = []set{is}
	}
	if !s.bindings.put(b) {
		s.verdicts.Limited().Warn(s.deps.Log, "bindings_full", "no room for another registered phone: raise max_bindings", zap.String("impi", r.impi))
		return
	}
	r.state(r.impi + " is registered at " + r.contact + " for " + strconv.FormatUint(uint64(seconds), 10) + " s; identities " + strings.Join(is.identities, ", ") + ".")
}

// set reads the implicit registration set out of the 2xx. The default identity is
// the first SIP URI of P-Associated-URI.
func (r *registration) set(m *sip.Message, expires time.Time) set {
	s := r.s
	is := set{expires: expires}
	for v := range m.Values(sip.HServiceRoute) {
		is.serviceRoute = append(is.serviceRoute, strings.Clone(v))
	}
	if is.serviceRoute == nil {
		// Without it, a request would go wherever its Request-URI points. The
		// I-CSCF knows the user's S-CSCF (TS 24.229 5.3.2.1A).
		s.verdicts.Limited().Warn(s.deps.Log, "no_service_route", "a 200 without Service-Route: the phone's requests go to the I-CSCF", zap.String("impi", r.impi), zap.String("icid", r.icid))
		is.serviceRoute = []string{"<sip:" + s.cfg.ICSCF[0].String() + ";lr;orig>"}
	}
	add := func(id string) bool {
		key, err := identity.ParseIMPU(id)
		if err != nil {
			s.verdicts.Limited().Warn(s.deps.Log, "bad_associated_uri", "an identity of P-Associated-URI cannot be read and is left out", zap.String("impi", r.impi), zap.Error(err))
			return false
		}
		is.identities, is.keys = append(is.identities, strings.Clone(id)), append(is.keys, strings.Clone(string(key)))
		return true
	}
	for v := range m.Values(sip.HPAssociatedURI) {
		add(addressURI(v))
	}
	if is.identities == nil { // TS 24.229 5.2.2.1: then To alone is registered
		add(r.impu)
	}
	if i := slices.IndexFunc(is.keys, func(k string) bool { return strings.HasPrefix(k, "sip") }); i > 0 {
		id, key := is.identities[i], is.keys[i]
		is.identities = slices.Insert(slices.Delete(is.identities, i, i+1), 0, id)
		is.keys = slices.Insert(slices.Delete(is.keys, i, i+1), 0, key)
	}
	is.names = is.keys
	if !slices.Contains(is.keys, r.key) { // a barred one, good for nothing else
		is.names = append(slices.Clone(is.keys), strings.Clone(r.key))
	}
	return is
}

func (r *registration) state(text string) {
	if r.s.deps.Trace.On() {
		r.s.deps.Trace.Emit(trace.Event{Kind: trace.State, CallID: r.x.Req.CallID(), ICID: r.icid, IMPI: r.impi, Text: text, Clause: "TS 24.229 5.2.2.1"})
	}
}

// grant is what a 2xx says of one contact.
type grant struct {
	contact uri.URI
	seconds uint32
}

type grantList []grant

// withoutExpires is for a registrar that grants a contact and does not say until
// when (RFC 3261 10.2.1.1).
const withoutExpires = 3600

// grants reads the contacts of a 2xx.
func grants(m *sip.Message) grantList {
	var out grantList
	for v := range m.Values(sip.HContact) {
		a, err := sip.ParseNameAddr(v)
		if err != nil {
			continue
		}
		u, err := uri.Parse(a.URI)
		if err != nil {
			continue
		}
		seconds, ok := a.Expires()
		if !ok {
			if seconds, ok = m.Expires(); !ok {
				seconds = withoutExpires
			}
		}
		out = append(out, grant{u, seconds})
	}
	return out
}

// of returns for how many seconds a contact is granted, 0 when it is not.
func (l grantList) of(contact string) uint32 {
	u, err := uri.Parse(contact)
	if err != nil {
		return 0
	}
	for _, g := range l {
		if uri.Equal(g.contact, u) {
			return g.seconds
		}
	}
	return 0
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
	ref.IMPI = r.impi
	s.metrics.registers.WithLabelValues(strconv.Itoa(ref.Status)).Inc()
	s.verdicts.Refuse(r.x, ref)
	return false
}
