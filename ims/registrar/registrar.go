// Package registrar knows who is registered, where, and until when: the
// location service of an S-CSCF (RFC 3261 10, TS 24.229 5.4.1, TS 23.228 5.2).
//
// What is registered together, an implicit registration set, is one
// Registration. A Registration is immutable: a change is a new one that takes
// the old one's place, and only if nobody else has changed it in between. So a
// reader needs no lock, and a call in progress keeps the profile that it began
// with (TS 29.228 6.6).
package registrar

import (
	"slices"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/profile"
)

// Identity is a public user identity of an implicit registration set.
type Identity struct {
	Key    string // canonical form, the key of the store (uri.URI.Key)
	URI    string // as the profile writes it
	Barred bool
}

// Cause is why bindings are gone (RFC 3680 5.1, TS 24.229 5.4.1.5).
type Cause uint8

// Causes.
const (
	Unregistered Cause = iota // a REGISTER removed or replaced them
	Expired                   // they were not refreshed
	Deactivated               // by the network; the phone shall register anew
	Rejected                  // by the network; the phone shall not register again
	Moved                     // another S-CSCF has them: the phone is registered all the same
)

// Registration is the state of one implicit registration set. Never change one
// that was given to or got from a Store.
type Registration struct {
	// Identities of the set, in the profile's order. Not empty.
	Identities []Identity
	// IMPIs that share the set: those of the bindings and of the subscription.
	IMPIs []string
	// Bindings is empty for a set whose profile was fetched for unregistered
	// services (SAR UNREGISTERED_USER).
	Bindings []Binding
	// Until is when the store drops a set that has no bindings.
	Until   time.Time
	Profile *profile.Profile
	// Services is what the owner made of the profile: the compiled criteria.
	Services any
	// State is the owner's: nil until he needs one, then the same one to de-registration;
	// it guards itself.
	State any
	// HSS is the Diameter host that answered for this user.
	HSS string
	// Charging holds the values of P-Charging-Function-Addresses, empty when none.
	Charging string
	// Cause is why bindings of the registration before are not in this one.
	Cause Cause

	slot *slot
}

// Default returns the default public user identity: the first sip identity of the
// set that is not barred, or else the first of any kind (TS 24.229 5.4.1.2.2F); its
// zero value when all are barred.
func (r *Registration) Default() Identity {
	var first Identity
	for _, id := range r.Identities {
		if id.Barred {
			continue
		}
		if !strings.HasPrefix(id.Key, "tel:") {
			return id
		}
		if first == (Identity{}) {
			first = id
		}
	}
	return first
}

// Identity returns the identity with the given key.
func (r *Registration) Identity(key string) (Identity, bool) {
	for _, id := range r.Identities {
		if id.Key == key {
			return id, true
		}
	}
	return Identity{}, false
}

// Registered reports whether there is a contact.
func (r *Registration) Registered() bool { return r != nil && len(r.Bindings) > 0 }

// Has reports whether a private identity has a contact in the set.
func (r *Registration) Has(impi string) bool {
	return r != nil && slices.ContainsFunc(r.Bindings, func(b Binding) bool { return b.IMPI == impi })
}

// due is when the set must be looked at next: its first expiry.
func (r *Registration) due() time.Time {
	if len(r.Bindings) == 0 {
		return r.Until
	}
	first := r.Bindings[0].Expires
	for _, b := range r.Bindings[1:] {
		if b.Expires.Before(first) {
			first = b.Expires
		}
	}
	return first
}

// Expired splits the bindings into those that are over at now and the others.
func (r *Registration) Expired(now time.Time) (gone, left []Binding) {
	for _, b := range r.Bindings {
		if b.Expires.After(now) {
			left = append(left, b)
		} else {
			gone = append(gone, b)
		}
	}
	return gone, left
}

// With returns a copy of r that has the given bindings. Its Cause is Unregistered.
func (r *Registration) With(bindings []Binding) *Registration {
	c := *r
	c.Bindings, c.Cause = bindings, Unregistered
	return &c
}
