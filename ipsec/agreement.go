package ipsec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mechanism is one ipsec-3gpp value of Security-Client, Security-Server or
// Security-Verify (TS 33.203 Annex H). The texts are as they were sent, "" where
// the parameter is left out; other mechanisms are left away before.
type Mechanism struct {
	// Q is the preference in thousandths, negative when it is left out.
	Q     int    `json:"q"`
	Alg   string `json:"alg"`
	EAlg  string `json:"ealg,omitempty"`
	Prot  string `json:"prot,omitempty"`
	Mod   string `json:"mod,omitempty"`
	SPIC  uint32 `json:"spi_c"`
	SPIS  uint32 `json:"spi_s"`
	PortC uint16 `json:"port_c"`
	PortS uint16 `json:"port_s"`
}

// Pair is what the mechanism names; false when it is none of [Pairs].
func (m Mechanism) Pair() (Pair, bool) { return ParsePair(m.Alg, m.EAlg) }

// end is the side that the mechanism speaks of, without its address.
func (m Mechanism) end() End {
	return End{PortC: m.PortC, PortS: m.PortS, SPIC: m.SPIC, SPIS: m.SPIS}
}

// plain is m as it is compared: small letters, what is left out filled in.
func (m Mechanism) plain() Mechanism {
	fill := func(s, def string) string {
		if s == "" {
			return def
		}
		return strings.ToLower(s)
	}
	m.Q = max(m.Q, -1)
	m.Alg, m.EAlg = strings.ToLower(m.Alg), fill(m.EAlg, "null")
	m.Prot, m.Mod = fill(m.Prot, "esp"), fill(m.Mod, "trans")
	return m
}

// MaxOffers is how many offers of one Security-Client are looked at. Every pair
// for two protocols and two modes is 32.
const MaxOffers = 32

// Policy is what we are ready to agree to.
type Policy struct {
	// Pairs are ours, the dearest first. Nil is [Pairs].
	Pairs []Pair
	// ListChosenOnly has Security-Server name the chosen pair and no other, for
	// phones that stumble over a list.
	ListChosenOnly bool
	// NAT allows UDP-enc-tun for phones behind a NAT.
	NAT bool
}

func (p Policy) pairs() []Pair {
	if p.Pairs == nil {
		return Pairs
	}
	return p.Pairs
}

// Choice is what of a phone's offers is taken.
type Choice struct {
	Pair  Pair
	Mode  Mode
	Phone End // SPIs and ports of the offer that was taken; the address is the caller's to set
	Index int // of that offer
}

// UnacceptableError says why no offer can be taken (TS 33.203 7.3.2.1). The phone
// is owed a 4xx, and what Security-Server would have been.
type UnacceptableError struct {
	Why []string // one for each offer, in its order; empty when there was none
	// BehindNAT is that the phone is behind a NAT, and all that is wrong with some
	// offer is that it cannot work there.
	BehindNAT bool
}

func (e *UnacceptableError) Error() string {
	switch {
	case len(e.Why) == 0:
		return "the phone offers no ipsec-3gpp: is IPsec for IMS switched on in its carrier settings?"
	case e.BehindNAT:
		return "the phone is behind a NAT, and UDP-enc-tun, which alone works there, is not offered or not allowed: take the NAT out of the way between phone and P-CSCF"
	}
	return "no offer of the phone can be taken: " + strings.Join(e.Why, "; ") + ". Allow one of its pairs in ipsec.algorithms"
}

// Choose takes the first pair of our list that one offer contains; both
// algorithms are of the same offer (TS 33.203 7.2). What the phone prefers does
// not count. It fails with [*UnacceptableError].
func Choose(p Policy, offers []Mechanism, behindNAT bool) (Choice, error) {
	offers = offers[:min(len(offers), MaxOffers)]
	want := Transport
	if behindNAT {
		want = UDPTunnel
	}
	why := make([]string, len(offers))
	nat, passed := false, false // some offer fails for the NAT alone; some offer is for where the phone is
	for i, o := range offers {
		why[i] = o.fault()
		if why[i] != "" {
			continue
		}
		switch mode, _ := parseMode(o.Mod); {
		case mode != want && behindNAT:
			why[i], nat = "mod=trans does not work behind a NAT", true
		case mode != want:
			why[i] = "mod=UDP-enc-tun, and there is no NAT"
		case mode == UDPTunnel && !p.NAT:
			why[i], nat = "mod=UDP-enc-tun is not allowed", true
		default:
			passed = true
		}
	}
	for _, ours := range p.pairs() {
		for i, o := range offers {
			if pair, _ := o.Pair(); why[i] == "" && pair == ours {
				return Choice{Pair: pair, Mode: want, Phone: o.end(), Index: i}, nil
			}
		}
	}
	for i, o := range offers {
		if why[i] == "" {
			pair, _ := o.Pair()
			why[i] = pair.String() + " is not allowed"
		}
	}
	return Choice{}, &UnacceptableError{Why: why, BehindNAT: nat && !passed}
}

// fault says what makes an offer impossible whatever the policy, "" when nothing does.
func (m Mechanism) fault() string {
	_, knownPair := m.Pair()
	_, knownMode := parseMode(m.Mod)
	switch {
	case !knownPair:
		return fmt.Sprintf("alg=%s with ealg=%s is no pair of TS 33.203 Annex H", clip(m.Alg), clip(m.plain().EAlg))
	case m.plain().Prot != "esp":
		return "prot=" + clip(m.Prot) + ", want esp"
	case !knownMode:
		return "mod=" + clip(m.Mod) + ", want trans or UDP-enc-tun"
	case m.SPIC < MinSPI || m.SPIS < MinSPI || m.SPIC == m.SPIS:
		return fmt.Sprintf("spi-c=%d and spi-s=%d: want two that differ, above 255", m.SPIC, m.SPIS)
	case m.PortC == 0 || m.PortS == 0 || m.PortC == m.PortS:
		return fmt.Sprintf("port-c=%d and port-s=%d: want two that differ", m.PortC, m.PortS)
	}
	return ""
}

// clip makes a value of the phone fit to print.
func clip(s string) string {
	if len(s) > 32 {
		s = s[:32] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// parseMode reads mod; "" is trans.
func parseMode(s string) (Mode, bool) {
	for _, m := range [...]Mode{Transport, UDPTunnel} {
		if s == "" || strings.EqualFold(s, m.String()) {
			return m, true
		}
	}
	return Transport, false
}

// Answer is what Security-Server must list: our pairs in our order with falling
// q, or the chosen one alone, all with our SPIs and ports, so that the first one
// that the phone knows is the one chosen.
func Answer(p Policy, c Choice, ours End) []Mechanism {
	pairs := p.pairs()
	if p.ListChosenOnly {
		pairs = []Pair{c.Pair}
	}
	list := make([]Mechanism, len(pairs))
	for i, pair := range pairs {
		list[i] = Mechanism{
			Q: 100 * (len(pairs) - i), Alg: pair.Alg.String(), EAlg: pair.EAlg.String(),
			Prot: "esp", Mod: c.Mode.String(),
			SPIC: ours.SPIC, SPIS: ours.SPIS, PortC: ours.PortC, PortS: ours.PortS,
		}
	}
	return list
}

// Why a list of mechanisms is not the one that it must be.
var (
	ErrNoVerify = errors.New("the request has no Security-Verify with ipsec-3gpp: the phone must repeat the Security-Server of its set")
	ErrVerify   = errors.New("Security-Verify is not the Security-Server of the set: it was changed on its way to the phone, or the phone mixes up two challenges")
	ErrClient   = errors.New("Security-Client is not the one that began this registration: it was changed on its way to us, or the phone mixes up two registrations")
)

// Compare holds the Security-Verify of a request against the Security-Server sent
// for the set on which it came, value by value (RFC 3329 2.3.1). How a value is
// written, and the order of the values, does not matter: q says it.
func Compare(sent, verify []Mechanism) error {
	switch {
	case len(verify) == 0:
		return ErrNoVerify
	case !same(sent, verify):
		return ErrVerify
	}
	return nil
}

// Consistent holds the Security-Client of the answer to a challenge, which came
// protected, against the first one, which may have come in clear (TS 33.203
// 7.3.2.3): who takes the strong offers out on the way is found here.
func Consistent(first, second []Mechanism) error {
	if !same(first[:min(len(first), MaxOffers)], second[:min(len(second), MaxOffers)]) {
		return ErrClient
	}
	return nil
}

// same reports whether two lists hold the same values, each as often.
func same(a, b []Mechanism) bool {
	if len(a) != len(b) {
		return false
	}
	rest := make([]Mechanism, len(b))
	for i := range b {
		rest[i] = b[i].plain()
	}
	for _, m := range a {
		i := slices.Index(rest, m.plain())
		if i < 0 {
			return false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return true
}

// StaleError is a Security-Client that offers again what a set of the phone uses.
type StaleError struct {
	// SPI is the one offered again. A phone cannot tell two sets apart by one SPI:
	// the REGISTER is to be refused. 0 when all are new.
	SPI uint32
	// PortC is a client port offered again, PortS a server port that is not the
	// one of the phone's sets; 0 when all is well. Phones do it, and another
	// port_ps keeps the sets apart.
	PortC, PortS uint16
}

// Refuse reports whether no set can be made of the offer.
func (e *StaleError) Refuse() bool { return e.SPI != 0 }

func (e *StaleError) Error() string {
	var what []string
	if e.SPI != 0 {
		what = append(what, fmt.Sprintf("SPI %d, which a set of the phone uses: it must choose new ones", e.SPI))
	}
	if e.PortC != 0 {
		what = append(what, fmt.Sprintf("port-c %d, which a set of the phone uses", e.PortC))
	}
	if e.PortS != 0 {
		what = append(what, fmt.Sprintf("port-s %d, which should not change over re-registrations", e.PortS))
	}
	return "Security-Client of a protected REGISTER offers " + strings.Join(what, "; ")
}

// Fresh holds the Security-Client of a REGISTER that came protected against the
// established sets of the phone: SPIs and port-c must be new, port-s the same (TS
// 33.203 7.4). What was offered, but never became a set, may come again. It fails
// with [*StaleError].
func Fresh(offers []Mechanism, held []*Set) error {
	var e StaleError
	for _, o := range offers[:min(len(offers), MaxOffers)] {
		known := len(held) == 0
		for _, s := range held {
			for _, spi := range [...]uint32{o.SPIC, o.SPIS} {
				if spi == s.Remote.SPIC || spi == s.Remote.SPIS {
					e.SPI = spi
				}
			}
			if o.PortC == s.Remote.PortC {
				e.PortC = o.PortC
			}
			known = known || o.PortS == s.Remote.PortS
		}
		if !known {
			e.PortS = o.PortS
		}
	}
	if e == (StaleError{}) {
		return nil
	}
	return &e
}
