package profile

import (
	"math"
	"strings"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/uri"
)

// Parse reads the User-Data of a SAA or PPR. Unknown elements and attributes
// are skipped, namespaces and the order of elements are not looked at, spaces
// around values go. What is wrong beyond that is an *Error.
func Parse[T string | []byte](doc T) (*Profile, error) { return read(string(doc), (*reader).profile) }

func (r *reader) profile() (*Profile, error) {
	root, err := r.root()
	if err != nil {
		return nil, err
	}
	if root != "IMSSubscription" {
		return nil, r.failf("the document is no IMSSubscription")
	}
	p := &Profile{}
	identities := 0
	err = r.children(func(name string) error {
		switch name {
		case "PrivateID":
			return r.privateID(p)
		case "ServiceProfile":
			if len(p.ServiceProfiles) == maxProfiles {
				return r.failf("%w: more than %d service profiles", ErrTooBig, maxProfiles)
			}
			p.ServiceProfiles = append(p.ServiceProfiles, ServiceProfile{})
			return r.serviceProfile(&p.ServiceProfiles[len(p.ServiceProfiles)-1], &identities)
		}
		return r.skip()
	})
	if err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if identities == 0 {
		return nil, r.failf("no public identity in the profile: assign one to the subscriber at the HSS")
	}
	p.Warnings = r.warnings
	return p, nil
}

// ParseCriteria reads filter criteria alone: a document whose root is an
// InitialFilterCriteria or has some as children, whatever its name. It serves
// shared iFC sets and the testbed's subscriber files.
func ParseCriteria(doc []byte) ([]InitialFilterCriteria, error) {
	return read(string(doc), (*reader).criteria)
}

func (r *reader) criteria() ([]InitialFilterCriteria, error) {
	root, err := r.root()
	if err != nil {
		return nil, err
	}
	var list []InitialFilterCriteria
	if root == "InitialFilterCriteria" {
		list, err = r.criterion(list)
	} else {
		err = r.children(func(name string) error {
			if name != "InitialFilterCriteria" {
				return r.skip()
			}
			list, err = r.criterion(list)
			return err
		})
	}
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, r.failf("no InitialFilterCriteria in <%s>", root)
	}
	return list, nil
}

func (r *reader) privateID(p *Profile) error {
	s, err := r.inner()
	if err != nil {
		return err
	}
	r.hole(privateID)
	switch s = strings.TrimSpace(s); {
	case s == "":
		r.warnf("empty")
	case s == "null": // FHoSS, when the SAR had no User-Name
		r.warnf("%q, read as absent", s)
	default:
		if p.PrivateID, err = identity.ParseIMPI(strings.Clone(s)); err != nil {
			// The registration knows its IMPI from elsewhere.
			r.warnf("%v", err)
		}
	}
	r.pop()
	return nil
}

func (r *reader) serviceProfile(sp *ServiceProfile, identities *int) error {
	return r.children(func(name string) (err error) {
		switch name {
		case "PublicIdentity":
			if *identities++; *identities > maxPublicIDs {
				return r.failf("%w: more than %d public identities", ErrTooBig, maxPublicIDs)
			}
			return r.publicIdentity(sp, *identities-1)
		case "CoreNetworkServicesAuthorization":
			return r.coreNetworkServices(sp)
		case "InitialFilterCriteria":
			sp.InitialFilterCriteria, err = r.criterion(sp.InitialFilterCriteria)
			return err
		case "Extension":
			return r.children(func(name string) error {
				if name != "SharedIFCSetID" {
					return r.skip()
				}
				if len(sp.SharedIFCSetIDs) == maxCriteria {
					return r.failf("%w: more than %d shared sets", ErrTooBig, maxCriteria)
				}
				id, err := r.number(math.MaxInt32)
				sp.SharedIFCSetIDs = append(sp.SharedIFCSetIDs, int32(id))
				return err
			})
		}
		return r.skip()
	})
}

// publicIdentity reads the nth PublicIdentity of the document.
func (r *reader) publicIdentity(sp *ServiceProfile, nth int) error {
	id := PublicIdentity{PriorityLevel: -1}
	err := r.children(func(name string) (err error) {
		switch name {
		case "BarringIndication":
			id.Barred, err = r.boolean()
		case "Identity":
			id.Identity, err = r.impu(nth)
		case "Extension":
			err = r.publicIdentityExtension(&id)
		default:
			err = r.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	if id.Identity == "" {
		return r.failf("PublicIdentity without Identity")
	}
	switch {
	case id.Type == WildcardedPSI || id.Type == WildcardedIMPU:
		if id.Wildcard == "" {
			id.Wildcard = id.Identity
		}
		if _, err := identity.ParseWildcard(string(id.Wildcard)); err != nil {
			return r.failf("PublicIdentity %s: %w", id.Identity, err)
		}
	case id.Wildcard != "":
		if _, err := identity.ParseWildcard(string(id.Wildcard)); err != nil {
			r.warnf("PublicIdentity %s: %v; ignored", id.Identity, err)
			id.Wildcard = ""
		}
	}
	sp.PublicIdentities = append(sp.PublicIdentities, id)
	return nil
}

// impu reads an identity. One without user ("sip:198101") is taken too: a
// subscriber whom the HSS has no domain for is written so.
func (r *reader) impu(nth int) (identity.IMPU, error) {
	s, err := r.inner()
	if err != nil {
		return "", err
	}
	r.hole(nth)
	s = strings.Clone(strings.TrimSpace(s))
	u, err := identity.ParseIMPU(s)
	if err != nil {
		parsed, uriErr := uri.Parse(s)
		if uriErr != nil {
			return "", r.fail(err)
		}
		r.warnf("%v", err)
		u = identity.IMPUOf(parsed)
	}
	r.pop()
	return u, nil
}

// publicIdentityExtension reads Extension and those nested in it (each release
// put its additions one deeper; no name means two things).
func (r *reader) publicIdentityExtension(id *PublicIdentity) error {
	return r.children(func(name string) error {
		switch name {
		case "IdentityType":
			n, err := r.number(255)
			id.Type = IdentityType(n)
			return err
		case "WildcardedPSI", "WildcardedIMPU":
			s, err := r.text()
			if err != nil || s == "" {
				return err
			}
			w, wildErr := identity.ParseWildcard(s)
			if wildErr != nil {
				r.warnf("%s: %v; ignored", name, wildErr)
				return nil
			}
			id.Wildcard = w.IMPU()
			return nil
		case "DisplayName":
			s, err := r.text()
			id.DisplayName = s
			return err
		case "AliasIdentityGroupID":
			s, err := r.text()
			id.AliasGroup = s
			return err
		case "ServicePriorityLevel":
			n, err := r.number(math.MaxInt8)
			id.PriorityLevel = int8(n)
			return err
		case "ExtendedPriority":
			return r.priority(id)
		case "MaxNumOfAllowedSimultRegistrations":
			n, err := r.number(math.MaxUint16)
			id.MaxRegistrations = uint16(n)
			return err
		case "Extension":
			return r.publicIdentityExtension(id)
		}
		return r.skip()
	})
}

// maxPriorities bounds the namespaces of one identity.
const maxPriorities = 64

// priority reads ExtendedPriority (TS 29.228 Annex E); one without a namespace
// allows nothing.
func (r *reader) priority(id *PublicIdentity) error {
	var p Priority
	err := r.children(func(name string) (err error) {
		switch name {
		case "PriorityNamespace":
			p.Namespace, err = r.text()
		case "PriorityLevel":
			p.Level, err = r.text()
		default:
			err = r.skip()
		}
		return err
	})
	if err != nil || p.Namespace == "" {
		return err
	}
	if len(id.Priorities) == maxPriorities {
		return r.failf("%w: more than %d priorities of %s", ErrTooBig, maxPriorities, id.Identity)
	}
	id.Priorities = append(id.Priorities, p)
	return nil
}

func (r *reader) coreNetworkServices(sp *ServiceProfile) error {
	c := &CoreNetworkServices{MediaProfileID: -1}
	sp.CoreNetworkServices = c
	var child func(string) error
	child = func(name string) error {
		switch name {
		case "SubscribedMediaProfileId":
			n, err := r.number(math.MaxInt32)
			c.MediaProfileID = int32(n)
			return err
		case "Extension", "ListOfServiceIds":
			return r.children(child)
		case "ServiceId":
			if len(c.ServiceIDs) == maxCriteria {
				return r.failf("%w: more than %d service identifiers", ErrTooBig, maxCriteria)
			}
			s, err := r.text()
			if err == nil && s != "" {
				c.ServiceIDs = append(c.ServiceIDs, s)
			}
			return err
		}
		return r.skip()
	}
	return r.children(child)
}
