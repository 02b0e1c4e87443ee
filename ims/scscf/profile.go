package scscf

import (
	"errors"
	"fmt"
	"strings"
	"unique"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
)

// services is what registrar.Registration.Services holds: the compiled filter
// criteria of each identity of the set.
type services struct {
	chains map[string]*ifc.Chain // by identity key; identities of a service profile share one
}

// chain returns the criteria of an identity, nil when it has none.
func (sv *services) chain(impu string) *ifc.Chain {
	if sv == nil {
		return nil
	}
	return sv.chains[impu]
}

// servicesOf returns the services of a registration.
func servicesOf(r *registrar.Registration) *services {
	sv, _ := r.Services.(*services)
	return sv
}

// errNoProfile says that the HSS sent no profile where one is needed.
var errNoProfile = errors.New("the HSS sent no User-Data")

// manyIdentities is from where on a map is faster than looking through all.
const manyIdentities = 16

// userData reads the profile of an SAA or PPR into a registration without
// bindings. impu is the identity that was asked about.
func (s *Server) userData(doc string, impi string, impu identity.IMPU) (*registrar.Registration, error) {
	if doc == "" {
		return nil, errNoProfile
	}
	p, err := s.templates.Parse(doc)
	if err != nil {
		return nil, fmt.Errorf("reading the user profile: %w", err)
	}
	for _, w := range p.Warnings {
		s.verdicts.Limited().Warn(s.verdicts.Log, "profile", "user profile: "+w, zap.String("impi", impi))
	}
	reg := &registrar.Registration{Profile: p}
	var sv *services
	size, shown := 0, 0
	for i := range p.ServiceProfiles {
		size += len(p.ServiceProfiles[i].PublicIdentities)
	}
	reg.Identities, reg.IMPIs = names(size)
	seen := func(key string) bool { _, is := reg.Identity(key); return is }
	if size > manyIdentities {
		set := make(map[string]bool, size)
		seen = func(key string) bool {
			was := set[key]
			set[key] = true
			return was
		}
	}
	for i := range p.ServiceProfiles {
		sp := &p.ServiceProfiles[i]
		chain, err := s.chains.Chain(sp)
		if err != nil {
			return nil, fmt.Errorf("compiling the filter criteria: %w", err)
		}
		for j := range sp.PublicIdentities {
			id := &sp.PublicIdentities[j]
			key := string(id.Identity)
			if id.IsWildcard() || seen(key) {
				continue
			}
			reg.Identities = append(reg.Identities, registrar.Identity{Key: key, URI: key, Barred: id.Barred})
			if !id.Barred {
				shown += octetsAssociated(key)
			}
			if chain.Len() == 0 {
				continue
			}
			if sv == nil {
				sv = &services{chains: make(map[string]*ifc.Chain, size)}
			}
			sv.chains[key] = chain
		}
	}
	if sv != nil {
		reg.Services = sv
	}
	if shown > maxAssociated {
		s.verdicts.Limited().Warn(s.verdicts.Log, "profile", "the profile has more identities than P-Associated-URI has room for: phones hear of the first", zap.String("impi", impi))
	}
	if impu != "" && !seen(string(impu)) {
		// Some HSSes leave the identity out that was registered (Open5GS builds
		// others from the visited network): it is known, and not to be shown.
		s.verdicts.Limited().Warn(s.verdicts.Log, "profile", "the profile does not hold the identity that registers",
			zap.String("impi", impi), zap.String("impu", string(impu)))
		key := strings.Clone(string(impu))
		reg.Identities = append(reg.Identities, registrar.Identity{Key: key, URI: key, Barred: true})
	}
	if len(reg.Identities) == 0 {
		return nil, errors.New("the user profile has no public identity")
	}
	return reg, nil
}

// maxAssociated bounds P-Associated-URI, in octets: it is in every 200, beside the
// contacts, see maxOctets.
const maxAssociated = 4 << 10

// associated lists the identities for P-Associated-URI, the default one first, and as
// many as there is room for.
func associated(r *registrar.Registration) []string {
	if r == nil {
		return nil
	}
	out := make([]string, 0, len(r.Identities))
	if r.Profile != nil {
		for _, id := range r.Profile.Associated() {
			out = append(out, string(id))
		}
	} else {
		for _, id := range r.Identities {
			if !id.Barred {
				out = append(out, id.URI)
			}
		}
	}
	room := maxAssociated
	for i, id := range out {
		if room -= octetsAssociated(id); room < 0 {
			return out[:i]
		}
	}
	return out
}

func octetsAssociated(id string) int { return len("<>, ") + len(id) }

// chargingAddresses writes Charging-Information as P-Charging-Function-Addresses
// (TS 24.229 5.4.1.2.2F; RFC 7315 5.5), empty when there is none.
func chargingAddresses(c *cx.ChargingInformation) string {
	if c == nil {
		return ""
	}
	var out []string
	add := func(name, v string) {
		if v != "" {
			out = append(out, name+"="+sip.Quote(v))
		}
	}
	add("ccf", c.PrimaryCollection)
	add("ccf", c.SecondaryCollection)
	add("ecf", c.PrimaryEvent)
	add("ecf", c.SecondaryEvent)
	return unique.Make(strings.Join(out, ";")).Value() // all users have one of few
}
