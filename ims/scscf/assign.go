package scscf

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ims/uri"
)

// assign deals with an authenticated REGISTER: it tells the HSS where that must
// know, and then binds, refreshes or removes contacts (TS 24.229 5.4.1.2.2F,
// 5.4.1.4).
func (r *registration) assign() {
	s := r.s
	old := s.store.Get(string(r.impu))
	if ref, bad := r.outOfOrder(old); bad {
		r.refuse(ref)
		return
	}
	switch {
	case len(r.contacts) == 0 && !r.all: // a query (RFC 3261 10.2.3)
		if old == nil {
			old = &registrar.Registration{Identities: []registrar.Identity{{Key: string(r.impu), URI: string(r.impu)}}}
		}
		r.accept(old)
	case r.leaving():
		r.leave(old)
	default:
		kind, available := cx.AssignRegistration, cx.UserDataNotAvailable
		if old.Registered() {
			kind = cx.AssignReRegistration
			available = cx.UserDataAvailable
		}
		q := &cx.SAR{UserName: r.impi, PublicIdentities: []string{string(r.impu)}, ServerName: s.name, Type: kind, UserDataAlreadyAvailable: available}
		s.cx.SAR(s.cx.Deadline(), q, func(a *cx.SAA, err error) {
			r.x.Post(func() { r.assigned(a, err) })
		})
	}
}

// outOfOrder refuses a REGISTER that is older than what was taken (RFC 3261 10.3
// step 7).
func (r *registration) outOfOrder(old *registrar.Registration) (node.Refusal, bool) {
	if old == nil {
		return node.Refusal{}, false
	}
	for _, b := range old.Bindings {
		if b.CallID == r.x.Req.CallID() && r.cseq <= b.CSeq && (r.all || slices.ContainsFunc(r.contacts, func(c contact) bool { return matches(b, c, r.impi) })) {
			return node.Refusal{Status: 500, Cause: "out_of_order", Clause: "RFC 3261 10.3",
				Text: "The REGISTER of " + r.impi + " has CSeq " + strconv.FormatUint(uint64(r.cseq), 10) + ", and " + strconv.FormatUint(uint64(b.CSeq), 10) + " was taken before."}, true
		}
	}
	return node.Refusal{}, false
}

// assigned goes on with the HSS's answer to the SAR.
func (r *registration) assigned(a *cx.SAA, err error) {
	s := r.s
	if err != nil {
		r.refuse(hssRefusal(err, "the assignment of "+r.impi, false))
		return
	}
	for range 3 {
		old := s.store.Get(string(r.impu))
		now, err := r.registered(old, a)
		if err != nil {
			r.refuse(node.Refusal{Status: 500, Cause: "bad_profile", Clause: "TS 29.229 6.2.2",
				Text: "The profile of " + r.impi + " cannot be used: " + err.Error() + ".", Next: "Correct the subscriber's profile or filter criteria at the HSS."})
			r.undo()
			return
		}
		if now.Default() == (registrar.Identity{}) {
			r.refuse(node.Refusal{Status: 403, Cause: "barred", Clause: "TS 24.229 5.4.1.2.2F",
				Text: "Every public identity of " + r.impi + " is barred."})
			r.undo()
			return
		}
		err = s.store.Put(old, now)
		if err == nil {
			r.changed(old, now)
			r.accept(now)
			return
		}
		if !errors.Is(err, registrar.ErrConflict) {
			r.refuse(node.Refusal{Status: 503, Cause: "full", Text: "No room for another registered user: " + err.Error() + ".", Next: "Raise max_users, or add an S-CSCF.",
				Fields: []sip.Field{{ID: sip.HRetryAfter, Value: "30"}}})
			r.undo()
			return
		}
	}
	r.refuse(node.Refusal{Status: 500, Cause: "conflict", Text: "The registration of " + r.impi + " keeps changing under our hands, or its identities belong to another user's set."})
}

// undo takes back what the HSS has been told, where nothing was registered here.
func (r *registration) undo() {
	if !r.s.store.Get(string(r.impu)).Registered() {
		r.s.tellHSS(r.impi, []string{string(r.impu)}, cx.AdministrativeDeregistration, nil)
	}
}

// registered makes the registration that follows from the SAA and the contacts.
func (r *registration) registered(old *registrar.Registration, a *cx.SAA) (*registrar.Registration, error) {
	var now *registrar.Registration
	if len(a.UserData) == 0 && old != nil && old.Profile != nil {
		c := *old
		now = &c
	} else {
		n, err := r.s.userData(a.UserData, r.impi, r.impu)
		if err != nil {
			return nil, err
		}
		now = n
		if old != nil {
			now.Bindings, now.IMPIs = old.Bindings, old.IMPIs
		}
	}
	now.HSS = a.OriginHost
	if charging := chargingAddresses(a.Charging); charging != "" {
		now.Charging = charging
	}
	now.IMPIs = addIMPIs(now.IMPIs, r.impi, a.AssociatedIdentities)
	now.Bindings = r.bind(now.Bindings)
	return now, nil
}

func addIMPIs(have []string, impi string, more *cx.Identities) []string {
	list := []string{impi}
	if more != nil {
		list = append(list, more.UserNames...)
	}
	out := slices.Clone(have)
	for _, id := range list {
		if !slices.Contains(out, id) {
			out = append(out, strings.Clone(id))
		}
	}
	return out
}

// bind returns the bindings after the REGISTER's contacts (RFC 3261 10.3 step 7;
// a new contact of the same instance takes the old one's place, TS 24.229
// 5.4.1.2.2F).
func (r *registration) bind(have []registrar.Binding) []registrar.Binding {
	m, now := r.x.Req, time.Now()
	out := slices.Clone(have)
	for _, c := range r.contacts {
		i, known := find(out, c, r.impi)
		if c.expires == 0 {
			if known {
				out = slices.Delete(out, i, i+1)
			}
			continue
		}
		b := registrar.Binding{
			ID: sip.NewTag(), IMPI: r.impi, Contact: c.addr.URI, Params: contactParams(c.addr.Params), Path: r.path,
			CallID: m.CallID(), CSeq: r.cseq, Created: now, Expires: now.Add(c.expires),
			AccessNetwork: m.Get(sip.HPAccessNetworkInfo), VisitedNetwork: m.Get(sip.HPVisitedNetworkID),
			InstanceID: instanceOf(c), Emergency: c.uri.HasParam("sos"),
		}
		if v, ok := c.addr.Param("reg-id"); ok {
			if n, err := strconv.ParseUint(v, 10, 32); err == nil {
				b.RegID = uint32(n)
			}
		}
		b = b.Clone()
		if known {
			b.ID, b.Created = out[i].ID, out[i].Created
			out[i] = b
		} else {
			out = append(out, b)
		}
	}
	return out
}

// matches reports whether c is the contact of binding b: the same instance of the
// same user, or else the same URI (RFC 3261 19.1.4).
func matches(b registrar.Binding, c contact, impi string) bool {
	if b.IMPI != impi {
		return false
	}
	if inst := instanceOf(c); inst != "" && b.InstanceID != "" {
		return inst == b.InstanceID && b.Emergency == c.uri.HasParam("sos")
	}
	u, err := uri.Parse(b.Contact)
	return err == nil && uri.Equal(u, c.uri)
}

func find(list []registrar.Binding, c contact, impi string) (int, bool) {
	i := slices.IndexFunc(list, func(b registrar.Binding) bool { return matches(b, c, impi) })
	return i, i >= 0
}

func instanceOf(c contact) string {
	v, _ := c.addr.Param("+sip.instance")
	return v
}

// contactParams keeps a Contact's parameters but expires, which the binding has.
func contactParams(p sip.Params) string {
	var b strings.Builder
	for name, v := range p.All() {
		if strings.EqualFold(name, "expires") {
			continue
		}
		b.WriteString(";" + name)
		if v != "" {
			b.WriteString("=" + v)
		}
	}
	return b.String()
}

// leave removes contacts; with the last one the registration ends and the HSS is
// told (TS 24.229 5.4.1.4).
func (r *registration) leave(old *registrar.Registration) {
	s := r.s
	if !old.Registered() {
		// Nothing to remove, so there is nothing to tell: 200, as for any REGISTER
		// that leaves things as they are.
		r.accept(&registrar.Registration{Identities: []registrar.Identity{{Key: string(r.impu), URI: string(r.impu)}}})
		return
	}
	var left []registrar.Binding
	if r.all {
		left = slices.DeleteFunc(slices.Clone(old.Bindings), func(b registrar.Binding) bool { return b.IMPI == r.impi })
	} else {
		left = r.bind(old.Bindings)
	}
	if len(left) > 0 {
		now := old.With(left)
		if err := s.store.Put(old, now); err != nil {
			r.leave(s.store.Get(string(r.impu)))
			return
		}
		r.changed(old, now)
		r.accept(now)
		return
	}
	s.tellHSS(r.impi, []string{string(r.impu)}, cx.UserDeregistration, func(err error) {
		r.x.Post(func() {
			if err != nil && !isResult(err) {
				r.refuse(hssRefusal(err, "the de-registration of "+r.impi, false))
				return
			}
			s.remove(old, causeUser)
			r.log("de-registered", nil)
			r.accept(&registrar.Registration{Identities: old.Identities, Profile: old.Profile})
		})
	})
}

// changed tells those who want to know of a changed registration.
func (r *registration) changed(old, now *registrar.Registration) {
	s := r.s
	s.metrics.users.Set(float64(s.store.Len()))
	text := "registered"
	if old.Registered() {
		text = "registration refreshed"
	}
	r.log(text, now)
	s.watchers.changed(old, now, causeUser)
}

// log says what became of the REGISTER, to the log and the trace.
func (r *registration) log(text string, now *registrar.Registration) {
	fields := r.fields()
	detail := text + ": " + string(r.impu) + " of " + r.impi
	if now != nil {
		fields = append(fields, zap.Int("contacts", len(now.Bindings)), zap.Strings("identities", associated(now)))
		detail += ", " + strconv.Itoa(len(now.Bindings)) + " contact(s), identities " + strings.Join(associated(now), ", ")
	}
	r.s.verdicts.Log.Info(text, fields...)
	r.s.verdicts.Trace.Emit(trace.Event{
		Kind: trace.State, CallID: r.x.Req.CallID(), ICID: node.ICID(r.x.Req), IMPI: r.impi, Text: detail + ".", Clause: "TS 24.229 5.4.1.2.2F",
	})
}

// accept sends the 200 with what the registration is now (TS 24.229 5.4.1.2.2F
// step h).
func (r *registration) accept(reg *registrar.Registration) {
	s := r.s
	s.metrics.registers.WithLabelValues("200").Inc()
	b := r.x.Response(200, "")
	for _, p := range r.path {
		b.Add(sip.HPath, p)
	}
	now := time.Now()
	for _, c := range reg.Bindings {
		left := max(c.Expires.Sub(now).Round(time.Second), 0)
		b.Add(sip.HContact, "<"+c.Contact+">"+c.Params+";expires="+seconds(left))
	}
	if len(reg.Bindings) > 0 {
		b.Add(sip.HServiceRoute, "<"+s.ownURI("orig")+";lr>")
	}
	if list := associated(reg); len(list) > 0 {
		b.Add(sip.HPAssociatedURI, "<"+strings.Join(list, ">, <")+">")
	}
	if v, err := sip.ParseChargingVector(r.x.Req.Get(sip.HPChargingVector)); err == nil {
		v.TermIOI = "Type 1" + s.cfg.Domain
		b.Add(sip.HPChargingVector, v.String())
	}
	if reg.Charging != "" {
		b.Add(sip.HPChargingFunctionAddresses, reg.Charging)
	}
	r.x.Send(200, b)
}
