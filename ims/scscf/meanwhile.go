package scscf

import (
	"errors"
	"slices"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
)

// What the HSS may have said, or forgotten, while a REGISTER waited for its SAA.

// put binds, unless the HSS has ended the registration since it was asked: its RTR has
// found nothing here to take away. Emergency registrations do not end so.
func (r *registration) put(old, now *registrar.Registration) error {
	if !r.asUsual() {
		return r.s.store.Put(old, now)
	}
	return r.s.turns.unlessEnded(r.impi, func() error { return r.s.store.Put(old, now) })
}

// asUsual reports whether some contact is not for emergencies.
func (r *registration) asUsual() bool {
	return slices.ContainsFunc(r.contacts, func(c contact) bool { return !c.sos })
}

// moved refuses the REGISTER if the HSS has given its user to another S-CSCF since it was
// asked, whatever it has answered: it is not to be asked for him again, nor told of him.
func (r *registration) moved() bool {
	if !r.asUsual() || !errors.Is(r.s.turns.unlessEnded(r.impi, func() error { return nil }), errElsewhere) {
		return false
	}
	r.refuse(node.Refusal{Status: 500, Cause: "moved", Clause: "TS 29.228 6.1.3",
		Text:   "The HSS has given " + r.impi + " to another S-CSCF while it was being registered here.",
		Fields: []sip.Field{{ID: sip.HRetryAfter, Value: "5"}},
		Next:   "The phone's next REGISTER goes where the HSS says."})
	return true
}

// forgotten reports whether the HSS refuses a refresh because it does not have the user
// as registered (TS 29.229 6.2.2). Whatever else it refuses, it would refuse again.
func forgotten(err error) bool {
	return cx.IsResult(err, cx.ErrorIdentityNotRegistered) || cx.IsResult(err, cx.ErrorInAssignmentType)
}

// undo takes back what the HSS has been told, where nothing is registered here,
// and refuses.
func (r *registration) undo(ref node.Refusal) {
	if r.s.store.Get(string(r.impu)).Has(r.impi) {
		r.refuse(ref)
		return
	}
	r.s.tellHSS(r.impi, string(r.impu), cx.AdministrativeDeregistration, func(error) {
		r.post(func() { r.refuse(ref) })
	})
}
