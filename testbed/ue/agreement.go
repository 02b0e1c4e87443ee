package ue

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
)

// ErrNoAgreement is a Security-Server that the phone cannot go along with: it
// abandons the registration (TS 33.203 7.3.2.2).
var ErrNoAgreement = errors.New("no security agreement with the P-CSCF")

// errNoServer is ErrNoAgreement where the 401 lists no mechanism at all.
var errNoServer = fmt.Errorf("%w: the 401 has no Security-Server", ErrNoAgreement)

// maxServer bounds the values of Security-Server that are looked at.
const maxServer = 32

// agreed is the mechanism of Security-Server that the phone takes.
type agreed struct {
	mechanism sip.SecMechanism
	pair      ipsec.Pair
	mode      ipsec.Mode
}

// agree takes the first mechanism of a Security-Server that the phone has offered,
// by falling q (RFC 3329 2.3.1, TS 33.203 7.2).
func agree(values []string, pairs []ipsec.Pair, modes []ipsec.Mode) (agreed, error) {
	if len(values) == 0 {
		return agreed{}, errNoServer
	}
	var all []sip.SecMechanism
	var why []string
	for _, v := range values[:min(len(values), maxServer)] {
		m, err := sip.ParseSecMechanism(v)
		if err != nil {
			why = append(why, fmt.Sprintf("%q cannot be read (%v)", v, err))
			continue
		}
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b sip.SecMechanism) int { return cmp.Compare(preference(b), preference(a)) })
	for _, m := range all {
		got, err := usable(m, pairs, modes)
		if err == nil {
			return got, nil
		}
		why = append(why, err.Error())
	}
	return agreed{}, fmt.Errorf("%w: of its Security-Server %s", ErrNoAgreement, strings.Join(why, "; "))
}

// preference is q; a mechanism without one is as good as any (RFC 3329 2.2).
func preference(m sip.SecMechanism) float64 {
	if q, err := strconv.ParseFloat(m.Q, 32); err == nil {
		return q
	}
	return 1
}

// usable reports why the phone does not take a mechanism.
func usable(m sip.SecMechanism, pairs []ipsec.Pair, modes []ipsec.Mode) (agreed, error) {
	if !m.IsIPsec() {
		return agreed{}, fmt.Errorf("%s is no IPsec", m.Name)
	}
	name := m.Alg + "/" + m.Encryption()
	got := agreed{mechanism: m}
	var ok bool
	if got.pair, ok = ipsec.ParsePair(m.Alg, m.EAlg); !ok {
		return agreed{}, fmt.Errorf("%s is no pair of TS 33.203 Annex H", name)
	}
	if !slices.Contains(pairs, got.pair) {
		return agreed{}, fmt.Errorf("%s was not offered", name)
	}
	i := slices.IndexFunc(modes, func(o ipsec.Mode) bool { return strings.EqualFold(o.String(), m.Mode()) })
	if i < 0 {
		return agreed{}, fmt.Errorf("%s has the mode %s, which was not offered", name, m.Mode())
	}
	got.mode = modes[i]
	switch {
	case !strings.EqualFold(m.Protocol(), "esp"):
		return agreed{}, fmt.Errorf("%s has the protocol %s, want esp", name, m.Protocol())
	case m.SPIC < ipsec.MinSPI || m.SPIS < ipsec.MinSPI || m.SPIC == m.SPIS:
		return agreed{}, fmt.Errorf("%s has the SPIs %d and %d, want two that differ, above 255", name, m.SPIC, m.SPIS)
	case m.PortC == m.PortS:
		return agreed{}, fmt.Errorf("%s has the port %d twice", name, m.PortC)
	}
	return got, nil
}
