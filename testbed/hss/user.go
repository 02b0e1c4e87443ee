package hss

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/profile"
)

// user is a subscriber ready for use: what was configured, and the state of one
// private identity. The state is guarded by database.mu.
type user struct {
	impi       identity.IMPI
	impus      []identity.IMPU // as configured: the implicit registration set
	barred     []identity.IMPU
	alg        aka.Algorithm
	amf        aka.AMF
	data       []byte                          // User-Data; of one that is generated, made when it is first wanted
	criteria   []profile.InitialFilterCriteria // to make it from
	charging   *cx.ChargingInformation
	priorities []profile.Priority
	roaming    []string // networks beside the home network, empty for any
	caps       *cx.ServerCapabilities
	// unregistered tells that filter criteria may match a terminating request for
	// this user while he is not registered.
	unregistered bool

	sqn   aka.SQNState
	first *aka.SQN // number of the next vector where that is prescribed
	// reserved is the highest number that the state file lets us use.
	reserved aka.SQN
	rands    []aka.RAND // challenges to use first

	state   State
	pending bool // authentication pending (TS 29.228 6.3.1)
	sub     *subscription
}

// criteriaCache holds parsed filter criteria by their source, so that thousands of
// subscribers with the same file share them.
type criteriaCache map[string][]profile.InitialFilterCriteria

// maxUserData leaves room for the rest of an answer in a Diameter message.
const maxUserData = 192 << 10

// newUser checks a subscriber. The error joins all faults, each naming its key and
// none repeating key material.
func (c *Config) newUser(s *Subscriber, cache criteriaCache) (*user, error) {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	u := &user{roaming: s.Roaming, amf: aka.AMFSeparation}
	var err error
	if u.impi, err = identity.ParseIMPI(s.IMPI); err != nil {
		fault("impi: %w", err)
	}
	if len(s.IMPUs) == 0 {
		fault("impus is empty: a subscriber needs a public identity")
	}
	u.impus = parseIMPUs("impus", s.IMPUs, fault)
	u.barred = parseIMPUs("barred", s.Barred, fault)
	for _, b := range u.barred {
		if !slices.Contains(u.impus, b) {
			fault("barred: %s is not among impus", b)
		}
	}
	if u.alg, err = s.algorithm(); err != nil {
		errs = append(errs, err)
	}
	if s.AMF != "" {
		if u.amf, err = aka.ParseAMF(s.AMF); err != nil {
			fault("amf: %w", err)
		}
	}
	if s.SQN != "" {
		sqn, err := aka.ParseSQN(s.SQN)
		if err != nil {
			fault("sqn: %w", err)
		}
		u.first = &sqn
	}
	for i, text := range s.RAND {
		r, err := aka.ParseRAND(text)
		if err != nil {
			fault("rand[%d]: %w", i, err)
		}
		u.rands = append(u.rands, r)
	}
	for i, text := range s.Priorities {
		namespace, level, ok := strings.Cut(text, ".")
		if !ok || namespace == "" || level == "" || strings.ContainsAny(text, " ,\t") {
			fault("priorities[%d] is %q: want NAMESPACE.LEVEL, as wps.2", i, text)
		}
		u.priorities = append(u.priorities, profile.Priority{Namespace: namespace, Level: level})
	}
	if s.Charging != (Charging{}) {
		u.charging = &cx.ChargingInformation{PrimaryCollection: s.Charging.CCF, PrimaryEvent: s.Charging.ECF}
	}
	if len(u.roaming) == 0 {
		u.roaming = c.VisitedNetworks
	}
	u.caps = c.capabilities(s.Capabilities)
	criteria := cache.read(s, fault)
	u.unregistered = slices.ContainsFunc(criteria, servesUnregistered)
	if len(errs) == 0 {
		u.data = u.profile(s, criteria, fault)
	}
	return u, errors.Join(errs...)
}

func parseIMPUs(key string, list []string, fault func(string, ...any)) (out []identity.IMPU) {
	for i, text := range list {
		impu, err := identity.ParseIMPU(text)
		switch {
		case err != nil:
			fault("%s[%d]: %w", key, i, err)
		case slices.Contains(out, impu):
			fault("%s[%d]: %s stands there twice", key, i, impu)
		default:
			out = append(out, impu)
		}
	}
	return out
}

// capabilities is what a UAA or LIA offers for a subscriber, nil for nothing.
func (c *Config) capabilities(own Capabilities) *cx.ServerCapabilities {
	if len(own.Mandatory)+len(own.Optional) == 0 {
		own = c.Capabilities
	}
	if len(own.Mandatory)+len(own.Optional)+len(c.SCSCFNames) == 0 {
		return nil
	}
	return &cx.ServerCapabilities{Mandatory: own.Mandatory, Optional: own.Optional, ServerNames: c.SCSCFNames}
}

// algorithm binds the subscriber's algorithm to his keys.
func (s *Subscriber) algorithm() (aka.Algorithm, error) {
	name := strings.ToLower(s.Algorithm)
	if s.K == "" {
		return nil, errors.New("k is missing: the key of the SIM in hexadecimal digits")
	}
	k, err := aka.ParseSecret(string(s.K))
	if err != nil {
		return nil, fmt.Errorf("k: %w", err)
	}
	if name == "xor" {
		if s.OP != "" || s.OPc != "" {
			return nil, errors.New("op and opc have no place with algorithm xor")
		}
		return wrapKeyError(aka.NewXOR(k))
	}
	if (s.OP == "") == (s.OPc == "") {
		return nil, errors.New("one of opc and op is needed, not both")
	}
	key, text := "opc", s.OPc
	if s.OP != "" {
		key, text = "op", s.OP
	}
	op, err := aka.ParseSecret(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	switch name {
	case "", "milenage":
		if s.OP != "" {
			if op, err = aka.MilenageOPc(k, op); err != nil {
				return nil, fmt.Errorf("k and op: %w", err)
			}
		}
		return wrapKeyError(aka.NewMilenage(k, op))
	case "tuak":
		if s.OP != "" {
			if op, err = aka.TUAKTOPc(k, op, s.TUAK.Iterations); err != nil {
				return nil, fmt.Errorf("k and op: %w", err)
			}
		}
		return wrapKeyError(aka.NewTUAK(k, op, aka.TUAKOptions{
			RESBits: s.TUAK.ResBits, CKBits: s.TUAK.CKBits, IKBits: s.TUAK.IKBits, Iterations: s.TUAK.Iterations,
		}))
	}
	return nil, fmt.Errorf("algorithm is %q: want milenage, tuak or xor", s.Algorithm)
}

func wrapKeyError[A aka.Algorithm](a A, err error) (aka.Algorithm, error) {
	if err != nil {
		return nil, fmt.Errorf("k, opc and tuak: %w", err)
	}
	return a, nil
}

// read parses the filter criteria of a subscriber.
func (cache criteriaCache) read(s *Subscriber, fault func(string, ...any)) (all []profile.InitialFilterCriteria) {
	for i, source := range s.IFC {
		inline := strings.HasPrefix(strings.TrimSpace(source), "<")
		if !inline {
			source = inDir(s.dir, source)
		}
		list, ok := cache[source]
		if !ok {
			doc, err := []byte(source), error(nil)
			if !inline {
				doc, err = readBounded(source, profile.MaxSize)
			}
			if err == nil {
				list, err = profile.ParseCriteria(doc)
			}
			switch {
			case err != nil && inline:
				fault("ifc[%d]: %w", i, err)
				continue
			case err != nil:
				fault("ifc[%d]: %s: %w", i, source, err)
				continue
			case len(list) == 0:
				fault("ifc[%d]: no InitialFilterCriteria in it", i)
			}
			cache[source] = list
		}
		all = append(all, list...)
	}
	return all
}

// profile makes the User-Data of the user.
func (u *user) profile(s *Subscriber, criteria []profile.InitialFilterCriteria, fault func(string, ...any)) []byte {
	names := make(map[identity.IMPU]string, len(s.DisplayNames))
	for text, name := range s.DisplayNames {
		impu, err := identity.ParseIMPU(text)
		if err != nil || !slices.Contains(u.impus, impu) {
			fault("display_names: %q is not among impus", text)
			continue
		}
		names[impu] = name
	}
	data := u.marshal(names, criteria)
	if len(data) > maxUserData {
		fault("ifc: the profile has %d octets, more than the %d that fit into an answer", len(data), maxUserData)
		return nil
	}
	if _, err := profile.Parse(data); err != nil {
		fault("ifc: the profile made of it cannot be read back: %w", err)
	}
	return data
}

// userData is the User-Data of u.
func (u *user) userData() []byte {
	if u.data == nil {
		u.data = u.marshal(nil, u.criteria)
	}
	return u.data
}

// marshal writes the User-Data of u.
func (u *user) marshal(names map[identity.IMPU]string, criteria []profile.InitialFilterCriteria) []byte {
	sp := profile.ServiceProfile{InitialFilterCriteria: criteria}
	for _, impu := range u.impus {
		sp.PublicIdentities = append(sp.PublicIdentities, profile.PublicIdentity{
			Identity: impu, Barred: slices.Contains(u.barred, impu), DisplayName: names[impu], PriorityLevel: -1, Priorities: u.priorities,
		})
	}
	p := profile.Profile{PrivateID: u.impi, ServiceProfiles: []profile.ServiceProfile{sp}}
	return bytes.Clone(p.Marshal())
}

// nextSQN moves to the next sequence number (TS 33.102 C.1.1).
func (u *user) nextSQN(now time.Time) (aka.SQN, error) {
	if u.first != nil {
		u.sqn.SQN, u.first = *u.first, nil
		return u.sqn.SQN, nil
	}
	return aka.SQNProfile{}.Next(&u.sqn, now)
}

// nextRAND takes the next challenge.
func (u *user) nextRAND() aka.RAND {
	if len(u.rands) == 0 {
		return aka.NewRAND()
	}
	r := u.rands[0]
	u.rands = u.rands[1:]
	return r
}
