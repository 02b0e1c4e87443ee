package pcscf

import (
	"errors"
	"strconv"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
)

// mechanisms reads the ipsec-3gpp values of a Security-Client or Security-Verify
// (RFC 3329 2.2). Other mechanisms beside them are left out; others says whether
// there were any, bad is the first fault of a value that cannot be read.
func mechanisms(m *sip.Message, id sip.ID) (list []ipsec.Mechanism, others bool, bad error) {
	for v := range m.Values(id) {
		sm, err := sip.ParseSecMechanism(v)
		switch {
		case err != nil:
			if bad == nil {
				bad = err
			}
		case !sm.IsIPsec():
			others = true
		case max(len(sm.Alg), len(sm.EAlg), len(sm.Prot), len(sm.Mod)) > maxName:
			bad = errLongName
		case len(list) < ipsec.MaxOffers:
			list = append(list, ipsec.Mechanism{
				Q: thousandths(sm.Q), Alg: once(sm.Alg), EAlg: once(sm.EAlg), Prot: once(sm.Prot), Mod: once(sm.Mod),
				SPIC: sm.SPIC, SPIS: sm.SPIS, PortC: sm.PortC, PortS: sm.PortS,
			})
		}
	}
	return list, others, bad
}

// maxName bounds what is kept of the name of an algorithm or mode.
const maxName = 64

var errLongName = errors.New("an algorithm, protocol or mode with a name of more than 64 octets")

// thousandths reads a q value; negative is none.
func thousandths(q string) int {
	f, err := strconv.ParseFloat(q, 32)
	if err != nil || f < 0 || f > 1 {
		return -1
	}
	return int(f*1000 + 0.5)
}

// securityServer writes what a Security-Server lists. Without ports, which is what
// a phone is told that has agreed to nothing, only the algorithms.
func securityServer(list []ipsec.Mechanism) string {
	var b strings.Builder
	for i, m := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		q := strconv.FormatFloat(float64(m.Q)/1000, 'f', -1, 64)
		if m.PortS != 0 {
			b.WriteString(sip.SecMechanism{
				Name: "ipsec-3gpp", Q: q, Alg: m.Alg, EAlg: m.EAlg, Prot: m.Prot, Mod: m.Mod,
				SPIC: m.SPIC, SPIS: m.SPIS, PortC: m.PortC, PortS: m.PortS,
			}.String())
			continue
		}
		b.WriteString("ipsec-3gpp;q=" + q + ";alg=" + m.Alg + ";ealg=" + m.EAlg + ";prot=" + m.Prot + ";mod=" + m.Mod)
	}
	return b.String()
}
