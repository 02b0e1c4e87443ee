package hss

import (
	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/uri"
)

// sar takes what an S-CSCF tells about a user and hands out the profile (TS 29.228
// 6.1.2.1). One public identity stands for its whole implicit registration set.
func (d *database) sar(q *cx.SAR) (*cx.SAA, reply) {
	a := &cx.SAA{}
	switch {
	case q.Type == cx.AAAUserDataRequest || q.Type == cx.PGWUpdate:
		return a, experimental(cx.ErrorInAssignmentType, "Server-Assignment-Type %v belongs to SWx", q.Type)
	case q.Type < cx.NoAssignment || q.Type > cx.Restoration:
		return a, invalid("Server-Assignment-Type", datatype.Enumerated(q.Type), "Server-Assignment-Type %d does not exist", int32(q.Type))
	}
	if u, err := uri.Parse(cx.ServerURI(q.ServerName)); err != nil || !u.IsSIP() {
		return a, invalid("Server-Name", datatype.UTF8String(q.ServerName), "Server-Name %.80q is no SIP URI", q.ServerName)
	}
	users, wrong := d.subjects(q)
	if wrong != nil {
		return a, *wrong
	}
	u := users[0]
	s := u.sub
	a.UserName = string(u.impi)
	mine := s.isAssigned(q.ServerName)
	switch q.Type {
	case cx.AssignRegistration, cx.AssignReRegistration:
		if s.scscf != "" && !mine && !s.reassign {
			return alreadyRegistered(a, s)
		}
		s.assign(q.ServerName, &q.RequestHeader)
		u.state, u.pending = Registered, false
		u.give(a, q)
		return a, success("%s is registered at %s", u.impi, s.scscf).changed()
	case cx.UnregisteredUser:
		if s.scscf != "" && !mine && !s.reassign {
			return alreadyRegistered(a, s)
		}
		s.assign(q.ServerName, &q.RequestHeader)
		u.state = max(u.state, Unregistered)
		u.give(a, q)
		return a, success("%s serves %s, which is %v", s.scscf, u.impi, u.state).changed()
	case cx.NoAssignment, cx.Restoration:
		if !mine && !(s.reassign && s.scscf != "") {
			return a, base(diameter.UnableToComply, "%.80q asks for the profile of a user assigned to %q", q.ServerName, s.scscf).
				hint("The S-CSCF must assign itself first, with REGISTRATION or UNREGISTERED_USER.")
		}
		u.give(a, q)
		return a, success("profile for the assigned S-CSCF")
	}
	// What remains ends something. An S-CSCF may do so for its own users only (TS
	// 29.228 8.1); where none is stored there is nothing to end, which is what it
	// wants.
	if s.scscf != "" && !mine {
		return a, base(diameter.UnableToComply, "%.80q deregisters a user assigned to %q", q.ServerName, s.scscf).
			hint("The user has moved to another S-CSCF: drop the registration locally.")
	}
	return d.deregister(a, q, users)
}

func alreadyRegistered(a *cx.SAA, s *subscription) (*cx.SAA, reply) {
	a.ServerName = s.scscf
	return a, experimental(cx.ErrorIdentityAlreadyRegistered, "the subscription is assigned to %s", s.scscf).
		hint("The new S-CSCF must send a MAR first, or the I-CSCF ask for capabilities.")
}

// deregister ends the registration, or the attempt of one, of the users.
func (d *database) deregister(a *cx.SAA, q *cx.SAR, users []*user) (*cx.SAA, reply) {
	r := success("%v of %s", q.Type, users[0].impi).changed()
	for _, u := range users {
		switch q.Type {
		case cx.AuthenticationFailure, cx.AuthenticationTimeout:
			// The registration that there was before, and those of other IMPIs, stay.
			u.pending = false
		case cx.TimeoutDeregistrationStoreServerName, cx.UserDeregistrationStoreServerName:
			// The name is worth keeping where services go on without a registration.
			u.state, u.pending = NotRegistered, false
			if u.unregistered {
				u.state = Unregistered
			} else {
				r = experimental(cx.SuccessServerNameNotStored, "%s has no services without a registration", u.impi).changed()
			}
		default:
			u.state, u.pending = NotRegistered, false
		}
		if u.state == Unregistered && u.sub.scscf == "" {
			u.sub.assign(q.ServerName, &q.RequestHeader) // the HSS was restarted
		}
		u.sub.release()
	}
	a.AssociatedIdentities = users[0].sub.impis()
	return a, r
}

// subjects finds the users that a SAR is about, or says what is wrong with it.
func (d *database) subjects(q *cx.SAR) ([]*user, *reply) {
	ends := q.Type >= cx.TimeoutDeregistration && q.Type <= cx.DeregistrationTooMuchData
	fail := func(r reply) ([]*user, *reply) { return nil, &r }
	switch {
	case len(q.PublicIdentities) == 0 && (!ends || q.UserName == ""):
		return fail(missing("Public-Identity"))
	case len(q.PublicIdentities) > 1 && !ends:
		r := base(diameter.AVPOccursTooManyTimes, "%d public identities with Server-Assignment-Type %v", len(q.PublicIdentities), q.Type)
		second := cx.Dictionary().Named(cx.Application, "Public-Identity").New(datatype.UTF8String(q.PublicIdentities[1]))
		r.failed = []*diameter.AVP{second}
		return fail(r)
	case q.UserName == "" && (q.Type == cx.AssignRegistration || q.Type == cx.AssignReRegistration):
		return fail(missing("User-Name"))
	}
	if len(q.PublicIdentities) == 0 {
		u := d.user(q.UserName)
		if u == nil {
			return fail(experimental(cx.ErrorUserUnknown, "%.80q is no private identity of a subscriber", q.UserName))
		}
		return []*user{u}, nil
	}
	var users []*user
	for _, impu := range q.PublicIdentities {
		var u *user
		if q.UserName != "" {
			var wrong *reply
			if u, _, wrong = d.pair(q.UserName, impu); wrong != nil {
				return nil, wrong
			}
		} else {
			holders := d.holders(impu)
			if len(holders) == 0 {
				return fail(experimental(cx.ErrorUserUnknown, "%.80q is no public identity of a subscriber", impu))
			}
			u = chosen(holders)
		}
		if !contains(users, u) {
			users = append(users, u)
		}
	}
	return users, nil
}

// chosen is the user for a public identity that came without a private one: the
// specification leaves the choice to the HSS.
func chosen(holders []*user) *user {
	best := holders[0]
	for _, u := range holders {
		if u.state > best.state {
			best = u
		}
	}
	return best
}

// give puts the profile into an answer unless the S-CSCF has it, and charging
// addresses beside it (TS 29.228 6.6).
func (u *user) give(a *cx.SAA, q *cx.SAR) {
	a.AssociatedIdentities = u.sub.impis()
	if q.UserDataAlreadyAvailable != cx.UserDataAvailable {
		a.UserData, a.Charging = string(u.userData()), u.charging
	}
}
