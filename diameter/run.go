package diameter

import (
	"unicode/utf8"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// A Run is AVPs one after the other as they are on the wire: the body of a message
// or of a group. Reading it makes no objects; values are parts of it and keep it
// in memory as long as they are kept.
type Run string

// A Raw is one AVP of a Run.
type Raw struct {
	Code, Vendor uint32
	Flags        uint8
	Value        string
}

// Next takes the first AVP off a run. It is false at the end, and where octets are
// no AVP.
func (r Run) Next() (a Raw, rest Run, ok bool) {
	if len(r) < 8 {
		return Raw{}, "", false
	}
	a.Code, a.Flags = u32(string(r)), r[4]
	length, header := int(r[5])<<16|int(r[6])<<8|int(r[7]), 8
	if a.Flags&avp.Vbit != 0 {
		header = 12
	}
	if length < header || length > len(r) {
		return Raw{}, "", false
	}
	if header == 12 {
		a.Vendor = u32(string(r[8:]))
	}
	a.Value = string(r[header:length])
	// The padding of the last member of a group is missing from some peers'
	// messages; the group's own padding makes up for it.
	return a, r[min((length+3)&^3, len(r)):], true
}

// Find returns the first AVP with this code and vendor.
func (r Run) Find(code, vendor uint32) (Raw, bool) {
	for a, rest, ok := r.Next(); ok; a, rest, ok = rest.Next() {
		if a.Code == code && a.Vendor == vendor {
			return a, true
		}
	}
	return Raw{}, false
}

// Uint32 returns a value of four octets: an Unsigned32, or an Enumerated to convert.
func (a Raw) Uint32() (uint32, bool) {
	if len(a.Value) != 4 {
		return 0, false
	}
	return u32(a.Value), true
}

// Uint64 returns a value of eight octets.
func (a Raw) Uint64() (uint64, bool) {
	if len(a.Value) != 8 {
		return 0, false
	}
	return uint64(u32(a.Value))<<32 | uint64(u32(a.Value[4:])), true
}

// Group returns the members of a group.
func (a Raw) Group() Run { return Run(a.Value) }

func u32(s string) uint32 {
	_ = s[3]
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

// A table has the definitions of one application and the base protocol by code and
// vendor, open-addressed. It is read for each AVP that comes in.
type table struct {
	slots []tableSlot // a power of two, at most half of them used
}

type tableSlot struct {
	code, vendor uint32
	def          *Definition
}

func (t *table) at(code, vendor uint32) *tableSlot {
	for i := code*0x9e3779b1 ^ vendor; ; i++ {
		s := &t.slots[int(i)&(len(t.slots)-1)]
		if s.def == nil || s.code == code && s.vendor == vendor {
			return s
		}
	}
}

func (t *table) lookup(code, vendor uint32) *Definition { return t.at(code, vendor).def }

// tabulate makes the tables that [Dictionary.Lookup] gives the content of.
func (d *Dictionary) tabulate() {
	d.tables = map[uint32]*table{0: nil}
	for k := range d.avps {
		d.tables[k.app] = nil
	}
	for app := range d.tables {
		n := 16
		for n < 2*len(d.avps) {
			n *= 2
		}
		t := &table{slots: make([]tableSlot, n)}
		for k := range d.avps {
			if k.app == app || k.app == 0 {
				*t.at(k.code, k.vendor) = tableSlot{k.code, k.vendor, d.Lookup(app, k.code, k.vendor)}
			}
		}
		d.tables[app] = t
	}
}

func (d *Dictionary) table(app uint32) *table {
	if t := d.tables[app]; t != nil {
		return t
	}
	return d.tables[0]
}

// A checker decides whether a run may be read as it lies, without go-diameter's
// codec. What it passes the walker of decode.go passes too (FuzzDecode holds it to
// that); what it does not, for whatever reason, the walker decides on.
type checker struct {
	t      *table
	strict bool // see walker
	count  int
}

func (c *checker) run(b []byte, depth int) bool {
	for len(b) > 0 {
		if c.count++; c.count > maxAVPs || len(b) < 8 {
			return false
		}
		code, flags := uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]), b[4]
		length, header, vendor := int(b[5])<<16|int(b[6])<<8|int(b[7]), 8, uint32(0)
		if flags&avp.Vbit != 0 {
			header = 12
		}
		if length < header || length > len(b) {
			return false
		}
		if header == 12 {
			vendor = uint32(b[8])<<24 | uint32(b[9])<<16 | uint32(b[10])<<8 | uint32(b[11])
		}
		if !c.one(c.t.lookup(code, vendor), flags, b[header:length], depth) {
			return false
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return true
}

func (c *checker) one(def *Definition, flags uint8, value []byte, depth int) bool {
	if def == nil {
		return !c.strict || flags&avp.Mbit == 0
	}
	if c.strict && flags&^(avp.Vbit|avp.Mbit|avp.Pbit) != 0 {
		return false
	}
	switch def.Type {
	case datatype.GroupedType:
		// The content of Failed-AVP has rules of its own.
		return depth+1 <= maxDepth && (def.Code != avp.FailedAVP || def.Vendor != 0) && c.run(value, depth+1)
	case datatype.Unsigned32Type, datatype.EnumeratedType, datatype.Integer32Type:
		return len(value) == 4
	case datatype.Unsigned64Type:
		return len(value) == 8
	case datatype.OctetStringType:
		return true
	case datatype.UTF8StringType:
		return !c.strict || utf8.Valid(value)
	case datatype.DiameterIdentityType, datatype.DiameterURIType:
		return !c.strict || validValue(def.Type, value)
	}
	return false // rare types are go-diameter's
}

// holds reports whether a run keeps the rules of its command or group, as
// checkRules does; where it says no, checkRules says why.
func holds(rules []rule, run Run, depth int) bool {
	var n [64]uint16
	if len(rules) > len(n) {
		return false
	}
	for a, rest, ok := run.Next(); ok; a, rest, ok = rest.Next() {
		for i := range rules {
			r := &rules[i]
			if a.Code != r.avp.Code || a.Vendor != r.avp.Vendor {
				continue
			}
			if n[i]++; r.max > 0 && int(n[i]) > r.max {
				return false
			}
			if len(r.avp.rules) > 0 && depth < maxDepth && !holds(r.avp.rules, a.Group(), depth+1) {
				return false
			}
		}
	}
	for i := range rules {
		if rules[i].required && n[i] == 0 {
			return false
		}
	}
	return true
}
