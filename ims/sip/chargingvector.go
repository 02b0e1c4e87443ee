package sip

import (
	"errors"
	"iter"
	"strings"
)

// ChargingVector is a P-Charging-Vector (RFC 7315 §4.6, §5.6; transit-ioi and
// related-icid too). Values are without quotes.
type ChargingVector struct {
	ICID        string // icid-value
	GeneratedAt string // icid-generated-at
	OrigIOI     string // "Type 1home1.net": see IOIType
	TermIOI     string
	TransitIOI  string // comma-separated list with indexes
	RelatedICID string
	RelatedAt   string // related-icid-gen-addr
	Params      Params // all of them, as written
}

var errNoICID = errors.New("sip: P-Charging-Vector without icid-value")

func (c *ChargingVector) field(name string) *string {
	switch {
	case equalFold(name, "icid-value"):
		return &c.ICID
	case equalFold(name, "icid-generated-at"):
		return &c.GeneratedAt
	case equalFold(name, "orig-ioi"):
		return &c.OrigIOI
	case equalFold(name, "term-ioi"):
		return &c.TermIOI
	case equalFold(name, "transit-ioi"):
		return &c.TransitIOI
	case equalFold(name, "related-icid"):
		return &c.RelatedICID
	case equalFold(name, "related-icid-gen-addr"):
		return &c.RelatedAt
	}
	return nil
}

// ParseChargingVector reads a header value; the parameters may come in any order.
func ParseChargingVector(s string) (ChargingVector, error) {
	c := ChargingVector{Params: Params(trimLWS(s))}
	for name, v := range c.Params.All() {
		if f := c.field(name); f != nil && *f == "" {
			*f = Unquote(v)
		}
	}
	if c.ICID == "" {
		return ChargingVector{}, errNoICID
	}
	return c, nil
}

// AppendTo appends the header value.
func (c ChargingVector) AppendTo(dst []byte) []byte {
	dst = appendQuoted(append(dst, "icid-value="...), c.ICID)
	if c.GeneratedAt != "" {
		dst = appendParam(dst, "icid-generated-at", c.GeneratedAt)
	}
	quoted := func(name, v string) {
		if v != "" {
			dst = append(append(append(dst, ';'), name...), '=')
			dst = appendQuoted(dst, v)
		}
	}
	quoted("orig-ioi", c.OrigIOI)
	quoted("term-ioi", c.TermIOI)
	quoted("transit-ioi", c.TransitIOI)
	quoted("related-icid", c.RelatedICID)
	if c.RelatedAt != "" {
		dst = appendParam(dst, "related-icid-gen-addr", c.RelatedAt)
	}
	return appendOthers(dst, c.Params, func(name string) bool { return c.field(name) != nil })
}

func (c ChargingVector) String() string {
	var buf [256]byte
	return string(c.AppendTo(buf[:0]))
}

// IOIType splits an IOI into its type, 1 to 3, and the operator's name: the type
// is a prefix of the value (TS 24.229 §4.5.4). It is 0 when there is none.
func IOIType(ioi string) (typ int, operator string) {
	const prefix = "Type "
	if len(ioi) > len(prefix) && equalFold(ioi[:len(prefix)], prefix) {
		if d := ioi[len(prefix)]; '1' <= d && d <= '3' {
			return int(d - '0'), strings.TrimLeft(ioi[len(prefix)+1:], " ")
		}
	}
	return 0, ioi
}

// ChargingAddresses is a P-Charging-Function-Addresses (RFC 7315 §4.5, §5.5): ccf,
// ecf and their secondaries, each perhaps several times.
type ChargingAddresses struct{ Params Params }

var errNoCharging = errors.New("sip: P-Charging-Function-Addresses without ccf and ecf")

// ParseChargingAddresses reads a header value.
func ParseChargingAddresses(s string) (ChargingAddresses, error) {
	c := ChargingAddresses{Params(trimLWS(s))}
	for range c.CCF() {
		return c, nil
	}
	for range c.ECF() {
		return c, nil
	}
	return ChargingAddresses{}, errNoCharging
}

// CCF yields the offline charging functions (CDF) in order of preference.
func (c ChargingAddresses) CCF() iter.Seq[string] { return c.all("ccf") }

// ECF yields the online charging functions (OCF) in order of preference.
func (c ChargingAddresses) ECF() iter.Seq[string] { return c.all("ecf") }

func (c ChargingAddresses) all(want string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name, v := range c.Params.All() {
			if equalFold(name, want) && !yield(Unquote(v)) {
				return
			}
		}
	}
}

// AppendTo appends the header value as it came.
func (c ChargingAddresses) AppendTo(dst []byte) []byte { return append(dst, c.Params...) }

func (c ChargingAddresses) String() string { return string(c.Params) }
