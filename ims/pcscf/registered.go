package pcscf

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unique"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ims/uri"
)

// registered learns from the 2xx (TS 24.229 5.2.2.1), which lists all contacts of
// the identity: what it does not list any more is not registered any more.
func (r *registration) registered(m *sip.Message) {
	s, now := r.s, time.Now()
	var room [1]grant
	granted := grants(m, room[:0])
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
			s.sec.facts.success(r.impi)
		}
	}
	s.unprotect(r.impi, now)
}

// unprotect ends the SA sets of a private identity over which nothing is registered.
func (s *Server) unprotect(impi string, now time.Time) {
	if s.sec == nil {
		return
	}
	if !slices.ContainsFunc(s.bindings.of(impi), func(b *binding) bool { return b.registered(now) }) {
		s.sec.facts.gone(impi)
	}
	for _, k := range s.sec.phonesOf(impi) {
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
		b.at, b.atProto = r.at, r.atProto
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
	if !s.deps.Trace.On() {
		return
	}
	r.state(r.impi + " is registered at " + r.contact + " for " + strconv.FormatUint(uint64(seconds), 10) + " s; identities " + strings.Join(is.identities, ", ") + is.chargedTo() + ".")
}

// set reads the implicit registration set out of the 2xx. The default identity is
// the first SIP URI of P-Associated-URI.
func (r *registration) set(m *sip.Message, expires time.Time) set {
	s := r.s
	is := set{expires: expires}
	if v, err := sip.ParseChargingVector(m.Get(sip.HPChargingVector)); err == nil {
		is.termIOI = once(v.TermIOI)
	}
	for v := range m.Values(sip.HServiceRoute) {
		is.serviceRoute = append(is.serviceRoute, once(v))
	}
	if is.serviceRoute == nil {
		// Without it, a request would go wherever its Request-URI points. The
		// I-CSCF knows the user's S-CSCF (TS 24.229 5.3.2.1A).
		s.verdicts.Limited().Warn(s.deps.Log, "no_service_route", "a 200 without Service-Route: the phone's requests go to the I-CSCF", zap.String("impi", r.impi), zap.String("icid", r.icid))
		is.serviceRoute = []string{"<sip:" + s.cfg.ICSCF[0].String() + ";lr;orig>"}
	}
	var room [2][8]string
	identities, keys := room[0][:0], room[1][:0]
	add := func(id string) {
		key, err := identity.ParseIMPUIn(id)
		if err != nil {
			s.verdicts.Limited().Warn(s.deps.Log, "bad_associated_uri", "an identity of P-Associated-URI cannot be read and is left out", zap.String("impi", r.impi), zap.Error(err))
			return
		}
		own := strings.Clone(string(key))
		keys = append(keys, own)
		if id != own {
			own = strings.Clone(id)
		}
		identities = append(identities, own)
	}
	for v := range m.Values(sip.HPAssociatedURI) {
		add(addressURI(v))
	}
	if len(identities) == 0 { // TS 24.229 5.2.2.1: then To alone is registered
		add(r.impu)
	}
	if i := slices.IndexFunc(keys, func(k string) bool { return strings.HasPrefix(k, "sip") }); i > 0 {
		id, key := identities[i], keys[i]
		identities = slices.Insert(slices.Delete(identities, i, i+1), 0, id)
		keys = slices.Insert(slices.Delete(keys, i, i+1), 0, key)
	}
	is.identities = slices.Clone(identities)
	if is.keys = is.identities; !slices.Equal(keys, identities) {
		is.keys = slices.Clone(keys)
	}
	is.names = is.keys
	if !slices.Contains(is.keys, r.key) { // a barred one, good for nothing else
		is.names = append(slices.Clone(is.keys), strings.Clone(r.key))
	}
	return is
}

// once returns s as it is kept for all phones of which it is true.
func once(s string) string { return unique.Make(s).Value() }

func (r *registration) state(text string) {
	if r.s.deps.Trace.On() {
		r.s.deps.Trace.Emit(trace.Event{Kind: trace.State, CallID: r.x.Req.CallID(), ICID: r.icid, IMPI: r.impi, Text: text, Clause: "TS 24.229 5.2.2.1"})
	}
}

// grant is what a 2xx says of one contact.
type grant struct {
	text    string // the contact as it is written
	contact uri.URI
	seconds uint32
}

type grantList []grant

// withoutExpires is for a registrar that grants a contact and does not say until
// when (RFC 3261 10.2.1.1).
const withoutExpires = 3600

// grants reads the contacts of a 2xx, into room if there is enough.
func grants(m *sip.Message, room grantList) grantList {
	out := room
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
		out = append(out, grant{a.URI, u, seconds})
	}
	return out
}

// of returns for how many seconds a contact is granted, 0 when it is not.
func (l grantList) of(contact string) uint32 {
	var u uri.URI
	for i := range l {
		g := &l[i]
		if g.text == contact { // as most registrars write it
			return g.seconds
		}
		if u.IsZero() {
			var err error
			if u, err = uri.Parse(contact); err != nil {
				return 0
			}
		}
		if uri.Equal(g.contact, u) {
			return g.seconds
		}
	}
	return 0
}
