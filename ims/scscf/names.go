package scscf

import (
	"slices"
	"strings"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/registrar"
)

// names returns room for the public identities of a set and its private one. A
// registration has both, and shares both with the next as long as the profile stays: the
// usual ones are one object, for each costs whenever the collector marks.
func names(size int) (impus []registrar.Identity, impis []string) {
	switch size {
	case 1:
		one := new(struct {
			impus [1]registrar.Identity
			impis [1]string
		})
		return one.impus[:0], one.impis[:0]
	case 2:
		one := new(struct {
			impus [2]registrar.Identity
			impis [1]string
		})
		return one.impus[:0], one.impis[:0]
	case 3:
		one := new(struct {
			impus [3]registrar.Identity
			impis [1]string
		})
		return one.impus[:0], one.impis[:0]
	}
	return make([]registrar.Identity, 0, size), nil
}

// addIMPIs adds private identities to a registration that nobody else has yet, each once,
// and keeps nothing of the message that they came in.
func addIMPIs(r *registrar.Registration, impis ...string) {
	for _, id := range impis {
		if slices.Contains(r.IMPIs, id) {
			continue
		}
		if r.Profile != nil && id == string(r.Profile.PrivateID) {
			id = string(r.Profile.PrivateID) // the text that is there already
		} else {
			id = strings.Clone(id)
		}
		r.IMPIs = append(r.IMPIs, id)
	}
}

// associatedIMPIs are those that share the set, as the HSS says.
func associatedIMPIs(a *cx.SAA) []string {
	if a.AssociatedIdentities == nil {
		return nil
	}
	return a.AssociatedIdentities.UserNames
}
