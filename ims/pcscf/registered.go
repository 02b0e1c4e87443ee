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
// the identity: what it does not list any more is not registered any more. It reports
// whether there was room for the contact.
func (r *registration) registered(m *sip.Message) (room bool) {
	s, now := r.s, time.Now()
	room = true
	var one [1]grant
	granted := grants(m, one[:0])
	if seconds := granted.of(r.contact); seconds > 0 {
		room = r.bind(m, seconds, now)
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
	return room
}

// protectedUntil makes the SA sets of the private identity live as long as what is
// registered over them (TS 24.229 5.2.2.2, 5.2.5.1).
func (r *registration) protectedUntil(now time.Time) {
	s := r.s
	if s.sec == nil {
		return
	}
	if on := r.agreeing.on; on != nil {
		if left := s.bindings.untilOfPhone(r.agreeing.key).Sub(now); left > 0 {
			s.sec.registered(on, left)
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

// bind stores what the 2xx says of the contact. It reports whether there was room: for a
// contact whose binding has gone while its REGISTER was under way there may be none.
func (r *registration) bind(m *sip.Message, seconds uint32, now time.Time) bool {
	s, x := r.s, r.x
	b := &binding{
		token: r.token, impi: r.impi, contact: r.contact,
		source: x.Flow.Remote, flow: x.Flow, stream: new(atomic.Pointer[sip.Flow]),
	}
	if r.agreeing.on != nil {
		b.phone = r.agreeing.key
	}
	if r.agreeing.on == nil && r.direct() { // with IPsec the set says where it is
		b.at, b.atProto = r.at, r.atProto
	}
	is, own := r.set(m, now.Add(time.Duration(seconds)*time.Second))
	detach(own, &b.token, &b.impi, &b.contact)
	if old := s.bindings.ofContact(r.impi, r.contact, now); old != nil {
		b.stream = old.stream
		b.hold(old.with(is, now))
	} else {
		b.hold([]set{is})
	}
	if r.place {
		r.place = false
		s.bindings.putReserved(b)
	} else if !s.bindings.put(b) {
		return false
	}
	if !s.deps.Trace.On() {
		return true
	}
	r.state(r.impi + " is registered at " + r.contact + " for " + strconv.FormatUint(uint64(seconds), 10) + " s; identities " + strings.Join(is.identities, ", ") + is.chargedTo() + ".")
	return true
}

// set reads the implicit registration set out of the 2xx. The default identity is
// the first SIP URI of P-Associated-URI. own are its strings that are parts of messages
// as yet.
func (r *registration) set(m *sip.Message, expires time.Time) (is set, own []string) {
	s := r.s
	is.expires = expires
	if v, err := sip.ParseChargingVector(m.Get(sip.HPChargingVector)); err == nil {
		is.termIOI = once(v.TermIOI)
	}
	var room [3][8]string
	identities, keys, route := room[0][:0], room[1][:0], room[2][:0]
	for v := range m.Values(sip.HServiceRoute) {
		route = append(route, once(v))
	}
	if len(route) == 0 {
		// Without it, a request would go wherever its Request-URI points. The
		// I-CSCF knows the user's S-CSCF (TS 24.229 5.3.2.1A).
		s.verdicts.Limited().Warn(s.deps.Log, "no_service_route", "a 200 without Service-Route: the phone's requests go to the I-CSCF", zap.String("impi", r.impi), zap.String("icid", r.icid))
		route = append(route, once("<sip:"+s.cfg.ICSCF[0].String()+";lr;orig>"))
	}
	add := func(id string) {
		key, err := identity.ParseIMPUIn(id)
		if err != nil {
			s.verdicts.Limited().Warn(s.deps.Log, "bad_associated_uri", "an identity of P-Associated-URI cannot be read and is left out", zap.String("impi", r.impi), zap.Error(err))
			return
		}
		keys = append(keys, string(key))
		identities = append(identities, id)
	}
	for v := range m.Values(sip.HPAssociatedURI) {
		add(addressURI(v))
	}
	if len(identities) == 0 { // TS 24.229 5.2.2.1: then To alone is registered
		add(r.impu)
	}
	defaultFirst(identities, keys)
	// All lists are parts of one.
	other, barred := !slices.Equal(keys, identities), !slices.Contains(keys, r.key)
	size := len(identities) + len(route)
	if other {
		size += len(keys)
	}
	if barred {
		size += len(keys) + 1
	}
	all := make([]string, 0, size)
	part := func(list []string, more ...string) []string {
		from := len(all)
		all = append(append(all, list...), more...)
		return all[from:len(all):len(all)]
	}
	is.identities = part(identities)
	if is.keys = is.identities; other {
		is.keys = part(keys)
	}
	if is.names = is.keys; barred { // it is good for nothing else
		is.names = part(keys, r.key)
	}
	own = all
	is.serviceRoute = part(route)
	return is, own
}

// defaultFirst puts the default identity, the first SIP URI, in front of the others.
func defaultFirst(identities, keys []string) {
	i := slices.IndexFunc(keys, func(k string) bool { return strings.HasPrefix(k, "sip") })
	if i <= 0 {
		return
	}
	id, key := identities[i], keys[i]
	copy(identities[1:i+1], identities[:i])
	copy(keys[1:i+1], keys[:i])
	identities[0], keys[0] = id, key
}

// detach gives strings a text of their own, all in one piece: they hold on to no message,
// and the collector finds one object in place of many.
func detach(list []string, more ...*string) {
	size := 0
	for _, s := range list {
		size += len(s)
	}
	for _, s := range more {
		size += len(*s)
	}
	var text strings.Builder
	text.Grow(size)
	for _, s := range list {
		text.WriteString(s)
	}
	for _, s := range more {
		text.WriteString(*s)
	}
	rest := text.String()
	next := func(s *string) {
		n := len(*s)
		*s, rest = rest[:n], rest[n:]
	}
	for i := range list {
		next(&list[i])
	}
	for _, s := range more {
		next(s)
	}
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
	for i := range l {
		if l[i].text == contact { // as most registrars write it
			return l[i].seconds
		}
	}
	u, err := uri.Parse(contact)
	if err != nil {
		return 0
	}
	for i := range l {
		if sameContact(l[i].contact, u) {
			return l[i].seconds
		}
	}
	return 0
}
