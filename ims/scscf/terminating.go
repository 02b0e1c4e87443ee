package scscf

import (
	"slices"
	"time"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/uri"
)

// terminate begins a request for a user whom we serve (TS 24.229 5.4.3.3).
func (l *leg) terminate() {
	u, err := uri.Parse(l.x.RequestURI())
	if err != nil {
		l.refuse(badTarget(l.x.RequestURI(), err))
		return
	}
	to := identity.NormalizeTarget(u, l.s.cfg.Domain)
	impu, reg := l.called(u, to)
	l.impu = impu
	switch {
	case reg != nil && reachable(reg, time.Now()):
		l.terminateFor(reg, impu, profile.TerminatingRegistered)
	case reg != nil && reg.Profile != nil:
		l.terminateFor(reg, impu, profile.TerminatingUnregistered)
	case !to.Home || u.IsSIP() && u.User == "":
		l.refuse(node.Refusal{Status: 404, Cause: "not_home", Clause: "TS 24.229 5.4.3.3",
			Text: l.x.RequestURI() + " names no user of " + l.s.cfg.Domain + ".",
			Next: "A request of a user whom we serve needs our Service-Route; one for him needs his public identity."})
	default:
		l.fetch(impu, func(reg *registrar.Registration) { l.terminateFor(reg, impu, profile.TerminatingUnregistered) })
	}
}

// called finds the called user by the names that the Request-URI may mean: the
// identity as a number or URI, its sip form, a wildcarded one. reg is nil when
// none of them is known here.
func (l *leg) called(u uri.URI, to identity.Target) (identity.IMPU, *registrar.Registration) {
	for _, name := range [...]identity.IMPU{to.Identity, identity.IMPUOf(u), to.Identity.SIPForm(l.s.cfg.Domain)} {
		if reg := l.s.store.Get(string(name)); reg != nil {
			return name, reg
		}
	}
	return to.Identity, nil
}

// reachable reports whether there is a contact for calls that are no emergency.
func reachable(reg *registrar.Registration, now time.Time) bool {
	return slices.ContainsFunc(reg.Bindings, func(b registrar.Binding) bool { return usable(b, now) })
}

// usable: a contact of an emergency registration gets no ordinary calls (TS 24.229
// 5.4.3.3, 5.4.8).
func usable(b registrar.Binding, now time.Time) bool { return !b.Emergency && b.Expires.After(now) }

// terminateFor begins the services of the called user.
func (l *leg) terminateFor(reg *registrar.Registration, impu identity.IMPU, kase profile.SessionCase) {
	l.reg = reg
	if id, ok := reg.Identity(string(impu)); ok && id.Barred {
		l.refuse(node.Refusal{Status: 404, Cause: "barred", Clause: "TS 24.229 5.4.3.3",
			Text: string(impu) + " is barred: it can register, and nothing else.", Next: "Call one of the user's other public identities."})
		return
	}
	if reg.Profile != nil && !l.x.Req.Has(sip.HPProfileKey) {
		if _, pi := reg.Profile.Find(impu); pi != nil && pi.Wildcard != "" {
			l.x.Edits.Set(sip.HPProfileKey, "<"+string(pi.Wildcard)+">") // RFC 5002 5
		}
	}
	l.serve(reg, impu, kase)
}
