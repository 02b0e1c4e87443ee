package ue

import (
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ipsec"
)

// Profile is the manners of a make of phone.
type Profile struct {
	// Source says what is known of it, and from where.
	Source string

	UserAgent string // "": none is sent
	// AccessNetwork is the value of P-Access-Network-Info.
	AccessNetwork string
	// Supported is that of a REGISTER.
	Supported string
	// ContactParams go between the contact's URI and the feature tags.
	ContactParams string
	// ViaParams are those of our Via, as in ";rport".
	ViaParams string
	// Fields are further header lines of each REGISTER, Body is its body.
	Fields []sip.Field
	Body   dialog.Part
	// Compact writes the names of headers that have a letter with that letter.
	Compact bool
	// Folded breaks Authorization over several lines.
	Folded bool

	// QOP is the qop to take when the challenge offers several.
	QOP string
	// NoAlgorithm leaves algorithm out of Authorization.
	NoAlgorithm bool
	// AKAv1 accepts no challenge but AKAv1-MD5.
	AKAv1 bool
	// SameCNonce keeps one cnonce for good.
	SameCNonce bool

	Security Security
	// RegisterTCP sends the protected REGISTER over TCP, whatever the rest goes by.
	RegisterTCP bool
	// AnswerTCP answers protected requests over TCP that came in a datagram.
	AnswerTCP bool
}

// Security is how a phone offers IPsec.
type Security struct {
	// Pairs are the algorithms, in the order offered.
	Pairs []ipsec.Pair
	// Form is how one offer is written: $alg, $ealg, $mod, $spi-c, $spi-s, $port-c
	// and $port-s are replaced. Without $mod the offers are for transport mode alone.
	Form string
	// Join is between the offers of one line; "" gives each a line of its own.
	Join string
	// Digits pads SPIs with zeros to that many.
	Digits int
	// MinSPI is the lowest SPI, 0 for any.
	MinSPI uint32

	Ports Ports
}

// Ports says which ports a phone protects.
type Ports struct {
	// First is the lowest port_uc and Count how many of them there are; Server is
	// what port_us has more than the port_uc that it first comes with.
	First, Count, Server int
	// Step is from a port_uc to the next; 0 picks them at random.
	Step int
	// FreshServer takes another port_us too with each agreement.
	FreshServer bool
}

// value writes Security-Client for what an offer holds, one string a line.
func (s *Security) lines(pairs []ipsec.Pair, modes []ipsec.Mode, e ipsec.End) []string {
	number := func(n uint32) string {
		b := appendPadded(nil, uint64(n), s.Digits)
		return string(b)
	}
	var rows []string
	for _, m := range modes {
		for _, p := range pairs {
			form := s.Form
			if m != ipsec.Transport && !strings.Contains(form, "$mod") {
				form += ";mod=$mod"
			}
			rows = append(rows, strings.NewReplacer(
				"$alg", p.Alg.String(), "$ealg", p.EAlg.String(), "$mod", m.String(),
				"$spi-c", number(e.SPIC), "$spi-s", number(e.SPIS),
				"$port-c", string(appendPadded(nil, uint64(e.PortC), 0)), "$port-s", string(appendPadded(nil, uint64(e.PortS), 0)),
			).Replace(form))
		}
	}
	if s.Join == "" {
		return rows
	}
	return []string{strings.Join(rows, s.Join)}
}

// appendPadded writes n with at least that many digits.
func appendPadded(dst []byte, n uint64, digits int) []byte {
	var b [20]byte
	i := len(b)
	for n > 0 || i == len(b) || len(b)-i < digits {
		i--
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, b[i:]...)
}
