// Package profile holds the user profile that an HSS downloads to an S-CSCF in
// User-Data (TS 29.228 Annexes B, D and E; TS 29.229 6.3.7): public identities,
// media authorisation and initial filter criteria.
//
// Parse takes what the HSSes in use really send; Marshal writes what the schema
// asks for. Between them nothing that this package knows is lost.
package profile

import "github.com/gocscf/gocscf/ims/identity"

// Profile is an IMSSubscription: the profiles of one implicit registration set.
type Profile struct {
	// PrivateID is empty when the HSS sent none, or FHoSS's "null".
	PrivateID       identity.IMPI
	ServiceProfiles []ServiceProfile
	// Warnings are the deviations from the schema that Parse tolerated, each
	// with its element and line, for one log line. Not part of the document.
	Warnings []string
}

// ServiceProfile is what some public identities of the subscription share.
type ServiceProfile struct {
	PublicIdentities []PublicIdentity
	// CoreNetworkServices is nil when the profile restricts nothing.
	CoreNetworkServices   *CoreNetworkServices
	InitialFilterCriteria []InitialFilterCriteria // in the order of the document
	SharedIFCSetIDs       []int32
}

// IdentityType tells users from services (TS 29.228 B.2.1).
type IdentityType uint8

// Values of IdentityType in the document.
const (
	PublicUserIdentity IdentityType = 0
	DistinctPSI        IdentityType = 1
	WildcardedPSI      IdentityType = 2
	NonDistinctIMPU    IdentityType = 3 // an identity that matches a wildcarded IMPU
	WildcardedIMPU     IdentityType = 4
)

// PublicIdentity is one IMPU or PSI with its properties.
type PublicIdentity struct {
	Identity identity.IMPU
	// Wildcard is the wildcarded PSI or IMPU that Identity belongs to, in the
	// form that travels in P-Profile-Key; empty if none. For an identity that is
	// itself wildcarded, Parse sets it to Identity if the HSS did not.
	Wildcard    identity.IMPU
	DisplayName string
	// AliasGroup joins identities of one set that are aliases of each other
	// (TS 23.228 4.3.3.4a); empty if the HSS does not support it.
	AliasGroup string
	// Priorities are those of ExtendedPriority, what the user may ask for in
	// Resource-Priority (RFC 4412).
	Priorities []Priority
	// The small ones are beside each other: each registered user has some identities.
	Barred bool
	Type   IdentityType
	// PriorityLevel is ServicePriorityLevel, 0 (highest) to 4; -1 when absent.
	PriorityLevel int8
	// MaxRegistrations is MaxNumOfAllowedSimultRegistrations; 0 when absent.
	MaxRegistrations uint16
}

// Priority is a level within a namespace of RFC 4412, for instance wps and 2.
type Priority struct{ Namespace, Level string }

// CoreNetworkServices is CoreNetworkServicesAuthorization.
type CoreNetworkServices struct {
	MediaProfileID int32    // SubscribedMediaProfileId, -1 when absent
	ServiceIDs     []string // ICSIs, in the order of ListOfServiceIds
}

// All yields every public identity with the service profile that holds it, in
// the order of the document.
func (p *Profile) All(yield func(*ServiceProfile, *PublicIdentity) bool) {
	for i := range p.ServiceProfiles {
		sp := &p.ServiceProfiles[i]
		for j := range sp.PublicIdentities {
			if !yield(sp, &sp.PublicIdentities[j]) {
				return
			}
		}
	}
}

// Find returns the identity u and its service profile. A distinct identity goes
// before wildcarded ones, and of those the most specific (TS 23.003 13.5).
// It is nil, nil when the profile does not cover u.
func (p *Profile) Find(u identity.IMPU) (*ServiceProfile, *PublicIdentity) {
	var sp *ServiceProfile
	var pi *PublicIdentity
	best := -1
	for s, id := range p.All {
		if id.Identity == u {
			return s, id
		}
		if id.Wildcard == "" {
			continue
		}
		w, err := identity.ParseWildcard(string(id.Wildcard))
		if err == nil && w.Match(u) && w.Literal() > best {
			sp, pi, best = s, id, w.Literal()
		}
	}
	return sp, pi
}

// Associated returns what P-Associated-URI lists: the identities that are
// neither barred nor wildcarded, the default public user identity first. The
// default is the first sip URI of them; the others keep their order (TS 24.229
// 5.4.1.2.2F).
func (p *Profile) Associated() []identity.IMPU {
	size := 0
	for i := range p.ServiceProfiles {
		size += len(p.ServiceProfiles[i].PublicIdentities)
	}
	list := make([]identity.IMPU, 0, size)
	first := -1
	for _, id := range p.All {
		if id.Barred || id.IsWildcard() {
			continue
		}
		if first < 0 && !id.Identity.IsTel() {
			first = len(list)
		}
		list = append(list, id.Identity)
	}
	if first > 0 {
		d := list[first]
		copy(list[1:first+1], list[:first])
		list[0] = d
	}
	return list
}

// Default returns the default public user identity, empty if all are barred.
func (p *Profile) Default() identity.IMPU {
	if list := p.Associated(); len(list) > 0 {
		return list[0]
	}
	return ""
}

// Aliases returns the identities that are aliases of u: those of the same
// service profile and alias group, u excluded.
func (p *Profile) Aliases(u identity.IMPU) []identity.IMPU {
	sp, pi := p.Find(u)
	if pi == nil || pi.AliasGroup == "" {
		return nil
	}
	var list []identity.IMPU
	for i := range sp.PublicIdentities {
		if id := &sp.PublicIdentities[i]; id.AliasGroup == pi.AliasGroup && id.Identity != u {
			list = append(list, id.Identity)
		}
	}
	return list
}

// IsWildcard reports whether the identity stands for many rather than itself.
func (id *PublicIdentity) IsWildcard() bool {
	return id.Type == WildcardedPSI || id.Type == WildcardedIMPU
}
