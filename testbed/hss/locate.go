package hss

import (
	"slices"
	"strings"

	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
)

// uar answers whether a user may register and where (TS 29.228 6.1.1.1). The order
// of the checks is the order there.
func (d *database) uar(domain string, q *cx.UAR) (*cx.UAA, reply) {
	a := &cx.UAA{}
	u, holders, wrong := d.pair(q.UserName, q.PublicIdentity)
	if wrong != nil {
		return a, *wrong
	}
	emergency := q.Flags&cx.UAREmergencyRegistration != 0
	impu, _ := identity.ParseIMPU(q.PublicIdentity)
	if !emergency && slices.Contains(u.barred, impu) && len(u.barred) == len(u.impus) {
		return a, base(diameter.AuthorizationRejected, "%s is barred, and so is every public identity registered with it", impu).
			hint("Give the subscriber a public identity that is not barred.")
	}
	if q.Type != cx.Deregistration && !emergency && !u.mayRoam(domain, q.VisitedNetworkID) {
		return a, experimental(cx.ErrorRoamingNotAllowed, "%s may not register in the network %.80q", u.impi, q.VisitedNetworkID).
			hint("Add it to visited_networks or to the subscriber's roaming, or compare it with the P-CSCF's visited_network.")
	}
	s := u.sub
	switch q.Type {
	case cx.Registration:
		if s.scscf != "" {
			a.ServerName = s.scscf
			return a, experimental(cx.SubsequentRegistration, "the S-CSCF of the subscription is %s", s.scscf)
		}
		a.Capabilities = u.caps
		return a, experimental(cx.FirstRegistration, "no S-CSCF is assigned")
	case cx.Deregistration:
		if highest(holders) == NotRegistered {
			return a, experimental(cx.ErrorIdentityNotRegistered, "%s is not registered, so it cannot be deregistered", impu).
				hint("Nothing, if the HSS was restarted: registrations are not kept.")
		}
		a.ServerName = s.scscf
		return a, success("deregister at %s", s.scscf)
	case cx.RegistrationAndCapabilities:
		a.Capabilities = offered(u.caps)
		s.reassign = s.scscf != ""
		return a, success("the I-CSCF may choose another S-CSCF")
	}
	return a, invalid("User-Authorization-Type", datatype.Enumerated(q.Type), "User-Authorization-Type %d does not exist", int32(q.Type))
}

// mayRoam is the roaming agreement. The home network, which is what P-CSCFs say at
// home, always is allowed; names are compared without case.
func (u *user) mayRoam(home, visited string) bool {
	visited = strings.Trim(visited, `" `)
	same := func(n string) bool { return strings.EqualFold(n, visited) }
	return len(u.roaming) == 0 || same(home) || slices.ContainsFunc(u.roaming, same)
}

// offered is Server-Capabilities where an answer must have them.
func offered(c *cx.ServerCapabilities) *cx.ServerCapabilities {
	if c == nil {
		return &cx.ServerCapabilities{}
	}
	return c
}

// lir answers who serves a public identity (TS 29.228 6.1.4.1).
func (d *database) lir(q *cx.LIR) (*cx.LIA, reply) {
	a := &cx.LIA{}
	holders := d.holders(q.PublicIdentity)
	if len(holders) == 0 {
		return a, experimental(cx.ErrorUserUnknown, "%.80q is no public identity of a subscriber", q.PublicIdentity).
			hint("Add it to a subscriber's impus, or check the number that was dialled.")
	}
	u := holders[0]
	s := u.sub
	if q.Type != nil && *q.Type == cx.RegistrationAndCapabilities {
		a.Capabilities = offered(u.caps)
		s.reassign = s.scscf != ""
		return a, success("the I-CSCF may choose another S-CSCF")
	}
	if state := highest(holders); state != NotRegistered {
		a.ServerName = s.scscf
		return a, success("the identity is %v at %s", state, s.scscf)
	}
	serves := func(u *user) bool { return u.unregistered }
	if !q.Originating && !slices.ContainsFunc(holders, serves) {
		return a, experimental(cx.ErrorIdentityNotRegistered, "%.80q is not registered and has no services for that case", q.PublicIdentity).
			hint("The phone must register, or an iFC of session case TERMINATING_UNREGISTERED is needed, for instance for voice mail.")
	}
	if s.scscf != "" {
		a.ServerName = s.scscf
		return a, success("the identity is not registered, but %s serves the subscription", s.scscf)
	}
	a.Capabilities = u.caps
	return a, experimental(cx.UnregisteredService, "the identity is not registered but may have services")
}
