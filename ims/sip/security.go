package sip

import (
	"errors"
	"math"
	"strconv"
)

// SecMechanism is one value of Security-Client, Security-Server or
// Security-Verify (RFC 3329 §2.2 with the parameters of TS 33.203 Annex H).
// Use [Message.Values] for the values of all lines.
type SecMechanism struct {
	Name         string // "ipsec-3gpp", "tls", "digest", …
	Q            string // as written, "" when absent
	Alg          string // integrity: "hmac-md5-96", "hmac-sha-1-96", …
	EAlg         string // encryption; "" when absent: see Encryption
	Prot         string // "" when absent: see Protocol
	Mod          string // "" when absent: see Mode
	SPIC, SPIS   uint32
	PortC, PortS uint16
	Params       Params // all of them, as written
}

var (
	errSecName    = errors.New("sip: security mechanism without a name")
	errSecTwice   = errors.New("sip: security mechanism with a parameter that occurs twice")
	errSecNumber  = errors.New("sip: security mechanism with an SPI or port that is no number in range")
	errSecMissing = errors.New("sip: ipsec-3gpp mechanism without alg, spi-c, spi-s, port-c or port-s")
)

// Bits of the parameters that ipsec-3gpp must have.
const (
	secAlg = 1 << iota
	secSPIC
	secSPIS
	secPortC
	secPortS
	secEAlg
	secProt
	secMod
	secQ
	secNeeded = secAlg | secSPIC | secSPIS | secPortC | secPortS
)

// ParseSecMechanism reads one value: parameters in any order, with or without
// white space, SPIs padded with zeros, prot, mod and ealg left out, as phones
// have it.
func ParseSecMechanism(s string) (SecMechanism, error) {
	var sm SecMechanism
	name, params, more := splitAt(s, ';', 0)
	sm.Name = trimLWS(name)
	if !isToken(sm.Name) {
		return SecMechanism{}, errSecName
	}
	if more {
		sm.Params = Params(params)
	}
	seen := 0
	for n, v := range sm.Params.All() {
		v = Unquote(v)
		bit, ok := sm.set(n, v)
		if !ok {
			return SecMechanism{}, errSecNumber
		}
		if seen&bit != 0 {
			return SecMechanism{}, errSecTwice
		}
		seen |= bit
	}
	if sm.IsIPsec() && seen&secNeeded != secNeeded {
		return SecMechanism{}, errSecMissing
	}
	return sm, nil
}

// set stores one parameter and returns its bit, 0 for an unknown one. Of other
// mechanisms than ipsec-3gpp only q is known.
func (sm *SecMechanism) set(name, v string) (bit int, ok bool) {
	spi := func(p *uint32) bool {
		n, ok := parseUint(v, math.MaxUint32)
		*p = uint32(n)
		return ok
	}
	port := func(p *uint16) bool {
		n, ok := parseUint(v, math.MaxUint16)
		*p = uint16(n)
		return ok && n > 0
	}
	if equalFold(name, "q") {
		sm.Q = v
		return secQ, true
	}
	if !sm.IsIPsec() {
		return 0, true
	}
	switch {
	case equalFold(name, "alg"):
		sm.Alg = v
		return secAlg, v != ""
	case equalFold(name, "ealg"):
		sm.EAlg = v
		return secEAlg, true
	case equalFold(name, "prot"):
		sm.Prot = v
		return secProt, true
	case equalFold(name, "mod"), equalFold(name, "mode"): // some networks write it out
		sm.Mod = v
		return secMod, true
	case equalFold(name, "spi-c"):
		return secSPIC, spi(&sm.SPIC)
	case equalFold(name, "spi-s"):
		return secSPIS, spi(&sm.SPIS)
	case equalFold(name, "port-c"):
		return secPortC, port(&sm.PortC)
	case equalFold(name, "port-s"):
		return secPortS, port(&sm.PortS)
	}
	return 0, true
}

// IsIPsec reports whether the mechanism is ipsec-3gpp.
func (sm SecMechanism) IsIPsec() bool { return equalFold(sm.Name, "ipsec-3gpp") }

// Protocol returns prot, "esp" when it is left out.
func (sm SecMechanism) Protocol() string { return orDefault(sm.Prot, "esp") }

// Mode returns mod, "trans" when it is left out.
func (sm SecMechanism) Mode() string { return orDefault(sm.Mod, "trans") }

// Encryption returns ealg, "null" when it is left out.
func (sm SecMechanism) Encryption() string { return orDefault(sm.EAlg, "null") }

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// Same reports whether two values mean the same mechanism, however they are
// written: what a Security-Verify must be to the Security-Server (RFC 3329
// §2.3.1). Parameters that this type does not know are not compared.
func (sm SecMechanism) Same(o SecMechanism) bool {
	return equalFold(sm.Name, o.Name) && equalFold(sm.Alg, o.Alg) &&
		equalFold(sm.Encryption(), o.Encryption()) && equalFold(sm.Protocol(), o.Protocol()) &&
		equalFold(sm.Mode(), o.Mode()) && sm.SPIC == o.SPIC && sm.SPIS == o.SPIS &&
		sm.PortC == o.PortC && sm.PortS == o.PortS && sm.Preference() == o.Preference()
}

// Preference returns q in thousandths; -1 when it is absent or malformed.
func (sm SecMechanism) Preference() int {
	f, err := strconv.ParseFloat(sm.Q, 32)
	if err != nil || !(f >= 0 && f <= 1) { // NaN too
		return -1
	}
	return int(f*1000 + 0.5)
}

// SetPreference writes q from thousandths, 0 to 1000.
func (sm *SecMechanism) SetPreference(thousandths int) {
	sm.Q = strconv.FormatFloat(float64(min(max(thousandths, 0), 1000))/1000, 'f', -1, 64)
}

// AppendTo appends the value. Parameters this type does not know follow as they
// were written.
func (sm SecMechanism) AppendTo(dst []byte) []byte {
	dst = append(dst, sm.Name...)
	text := func(name, v string) {
		if v != "" {
			dst = appendParam(dst, name, v)
		}
	}
	number := func(name string, n uint64) {
		if sm.IsIPsec() {
			dst = append(append(append(dst, ';'), name...), '=')
			dst = strconv.AppendUint(dst, n, 10)
		}
	}
	text("q", sm.Q)
	text("alg", sm.Alg)
	text("ealg", sm.EAlg)
	text("prot", sm.Prot)
	text("mod", sm.Mod)
	number("spi-c", uint64(sm.SPIC))
	number("spi-s", uint64(sm.SPIS))
	number("port-c", uint64(sm.PortC))
	number("port-s", uint64(sm.PortS))
	for n, v := range sm.Params.All() {
		scratch := SecMechanism{Name: sm.Name}
		if bit, _ := scratch.set(n, v); bit == 0 {
			dst = appendRawParam(dst, n, v)
		}
	}
	return dst
}

func (sm SecMechanism) String() string { return string(sm.AppendTo(nil)) }
