package ue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// granted takes the 200.
func (r *registrar) granted(op *procedure, m *sip.Message) {
	p := r.phone
	switch {
	case op.fetch:
		for v := range m.Values(sip.HContact) {
			if a, err := sip.ParseNameAddr(v); err == nil {
				op.bindings = append(op.bindings, strings.Clone(a.URI))
			}
		}
		r.finish(op, p.Registration(), nil)
		return
	case op.expires == 0:
		r.lost()
		p.state(r.callID, p.cfg.IMPU+" is not registered any more.", "TS 24.229 5.1.1.6")
		r.finish(op, nil, nil)
		return
	}
	g := &Registration{
		Contact: op.contact, PCSCF: *p.pcscf.Load(), Default: p.cfg.IMPU, CallID: r.callID,
		Challenges: op.challenges, Resynchronised: op.resync, Algorithm: op.algorithm,
	}
	seconds, ok := grantedExpires(m, g.Contact, op.expires)
	if !ok {
		e := &Error{Doing: r.what(op), Status: m.Status(), Reason: strings.Clone(m.Reason()), Err: errors.New("the 200 does not list our contact"),
			Next: "look at what the registrar has stored: the Contact of the 200 must hold " + g.Contact + " (RFC 3261 10.3)"}
		r.fail(op, e)
		return
	}
	g.Expires = time.Duration(seconds) * time.Second
	g.Until = time.Now().Add(g.Expires)
	for v := range m.Values(sip.HServiceRoute) {
		g.ServiceRoute = append(g.ServiceRoute, strings.Clone(v))
	}
	for v := range m.Values(sip.HPAssociatedURI) {
		if a, err := sip.ParseNameAddr(v); err == nil {
			g.Identities = append(g.Identities, strings.Clone(a.URI))
		}
	}
	if i := slices.IndexFunc(g.Identities, func(u string) bool { return strings.HasPrefix(strings.ToLower(u), "sip:") }); i >= 0 {
		g.Default = g.Identities[i]
	}
	if err := r.secured(op, g); err != nil {
		r.fail(op, err)
		return
	}
	p.current.Store(g)
	r.schedule(dialog.RefreshAfter(g.Expires))
	p.state(r.callID, fmt.Sprintf("%s is registered for %v; challenges: %d.", p.cfg.IMPU, g.Expires, op.challenges), "TS 24.229 5.1.1.2.1")
	if r.sub == nil && !p.cfg.NoSubscribe {
		_ = r.subscribe(g) // the phone is registered all the same
	}
	r.finish(op, g, nil)
}

// secured makes the set that the REGISTER went over the current one. A registration
// that nothing protects is none, where the phone is told to protect.
func (r *registrar) secured(op *procedure, reg *Registration) *Error {
	p, a := r.phone, op.over
	g := p.guard
	switch {
	case g == nil, a == nil && p.cfg.IPsec == ipsecAuto:
		p.setWay(nil, r.verify)
		return nil
	case a == nil:
		return &Error{Doing: r.what(op), Err: fmt.Errorf("%w: registered without a challenge, in clear", ErrNoAgreement),
			Next: "the network takes the phone without authentication: look at the S-CSCF, or have the phone go without IPsec (IPsec none)"}
	case a != g.temp && a != g.current:
		return &Error{Doing: r.what(op), Err: errors.New("the 200 came, but the security associations that it came over have ended meanwhile"),
			Next: "register again; if it happens often, the network ends registrations while it renews them"}
	}
	g.established(a, reg.Expires)
	s := a.set
	reg.Protection = &Protection{Backend: g.stack.Name(), Pair: s.Pair, Mode: s.Mode, Local: s.Local, Remote: s.Remote, Verify: a.server}
	p.setWay(a, nil)
	return nil
}

// lost forgets the registration, and the subscription with it (TS 24.229 5.1.1.6.1).
func (r *registrar) lost() {
	r.forget()
	if g := r.phone.guard; g != nil {
		g.leave(false)
	}
	r.phone.setWay(nil, nil)
}

// forget is lost, but for the security associations.
func (r *registrar) forget() {
	r.timer.Stop()
	r.phone.current.Store(nil)
	r.last, r.verify = nil, nil
	r.lapse()
}

// unprotected hears that the current set's time is up: the registration's was before.
func (r *registrar) unprotected() {
	r.forget()
	r.phone.setWay(nil, nil)
}

// gone forgets everything, as a phone does whose battery was taken out; the network
// is not told.
func (r *registrar) gone() {
	r.forget()
	r.plain = false
	if g := r.phone.guard; g != nil {
		g.leave(true)
		g.ports = 0
		g.closeAll()
	}
	r.phone.setWay(nil, nil)
}

// cut is gone for Faults.Cut.
func (r *registrar) cut() {
	r.gone()
	if op := r.doing; op != nil {
		r.fail(op, &Error{Doing: r.what(op), Err: ErrCut})
	}
}
