package cx

import (
	"net/netip"
	"sync"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"github.com/gocscf/gocscf/diameter"
)

// A coder encodes or decodes one run of AVPs. A structure's fields method names
// each AVP with the field that holds it, and the coder moves the value in the
// direction that it was made for; so the two directions cannot differ.
//
// Encoding leaves out what has its zero value, except where the method's name
// says otherwise.
//
// Both directions work on octets, without an object for each AVP. Decoded texts are
// parts of the message: who keeps one for long keeps a copy.
type coder struct {
	decoding bool
	b        []byte         // encoded so far
	in       []diameter.Raw // to decode: the members of the message and of the groups that are open
	from     int            // in: where the members of the innermost group begin
}

// coders are used again: they would be on the heap, since fields is a method of an
// interface.
var coders = sync.Pool{New: func() any {
	return &coder{b: make([]byte, 0, 1024), in: make([]diameter.Raw, 0, 32)}
}}

func newEncoder() *coder {
	c := coders.Get().(*coder)
	c.decoding, c.b = false, c.b[:0]
	return c
}

func newDecoder(run diameter.Run) *coder {
	c := coders.Get().(*coder)
	c.decoding, c.in, c.from = true, c.in[:0], 0
	c.read(run)
	return c
}

// free gives the coder back. Nothing of it may be used afterwards.
func (c *coder) free() {
	const keep = 16 << 10 // octets, so that one large message is not kept for good
	if cap(c.b) > keep || cap(c.in) > 512 {
		return
	}
	clear(c.in[:cap(c.in)]) // which hold on to the message
	coders.Put(c)
}

// read takes in the members of a run.
func (c *coder) read(run diameter.Run) {
	for a, rest, ok := run.Next(); ok; a, rest, ok = rest.Next() {
		c.in = append(c.in, a)
	}
}

// fielder is a structure with AVPs: a command or a group.
type fielder interface{ fields(*coder) }

// def finds an AVP in the dictionary once, at start.
func def(name string) *diameter.Definition {
	d := dictionary.Named(Application, name)
	if d == nil {
		panic("diameter/cx: " + name + " is not in the dictionary")
	}
	return d
}

func (c *coder) find(d *diameter.Definition) (diameter.Raw, bool) {
	for i := c.from; i < len(c.in); i++ {
		if a := &c.in[i]; a.Code == d.Code && a.Vendor == d.Vendor {
			return *a, true
		}
	}
	return diameter.Raw{}, false
}

// each calls f for every AVP of the definition.
func (c *coder) each(d *diameter.Definition, f func(diameter.Raw)) {
	for i, end := c.from, len(c.in); i < end; i++ { // f may open a group, which moves c.in
		if a := c.in[i]; a.Code == d.Code && a.Vendor == d.Vendor {
			f(a)
		}
	}
}

func (c *coder) text(d *diameter.Definition, p *string) {
	if c.decoding {
		a, _ := c.find(d)
		*p = a.Value
	} else if *p != "" {
		c.b = diameter.AppendString(c.b, d, *p)
	}
}

func (c *coder) texts(d *diameter.Definition, p *[]string) {
	if c.decoding {
		*p = nil
		c.each(d, func(a diameter.Raw) { *p = append(*p, a.Value) })
		return
	}
	for _, s := range *p {
		c.b = diameter.AppendString(c.b, d, s)
	}
}

func (c *coder) octets(d *diameter.Definition, p *[]byte) {
	if c.decoding {
		*p = nil
		if a, ok := c.find(d); ok {
			*p = []byte(a.Value)
		}
	} else if len(*p) > 0 {
		c.b = diameter.AppendString(c.b, d, *p)
	}
}

func (c *coder) octetss(d *diameter.Definition, p *[][]byte) {
	if c.decoding {
		*p = nil
		c.each(d, func(a diameter.Raw) { *p = append(*p, []byte(a.Value)) })
		return
	}
	for _, s := range *p {
		c.b = diameter.AppendString(c.b, d, s)
	}
}

func (c *coder) number(d *diameter.Definition, p *uint32) {
	if c.decoding {
		a, _ := c.find(d)
		*p, _ = a.Uint32()
	} else if *p != 0 {
		c.b = diameter.AppendUint32(c.b, d, *p)
	}
}

// numberAlways encodes zero too.
func (c *coder) numberAlways(d *diameter.Definition, p *uint32) {
	if c.decoding {
		c.number(d, p)
		return
	}
	c.b = diameter.AppendUint32(c.b, d, *p)
}

func (c *coder) numbers(d *diameter.Definition, p *[]uint32) {
	if c.decoding {
		*p = nil
		c.each(d, func(a diameter.Raw) {
			v, _ := a.Uint32()
			*p = append(*p, v)
		})
		return
	}
	for _, v := range *p {
		c.b = diameter.AppendUint32(c.b, d, v)
	}
}

func (c *coder) number64(d *diameter.Definition, p *uint64) {
	if c.decoding {
		a, _ := c.find(d)
		*p, _ = a.Uint64()
	} else if *p != 0 {
		c.b = diameter.AppendUint64(c.b, d, *p)
	}
}

// enum moves an enumeration whose value 0 is what its absence means.
func enum[T ~int32](c *coder, d *diameter.Definition, p *T) {
	if c.decoding {
		a, _ := c.find(d)
		v, _ := a.Uint32()
		*p = T(v)
	} else if *p != 0 {
		enumAlways(c, d, p)
	}
}

// enumAlways encodes zero too.
func enumAlways[T ~int32](c *coder, d *diameter.Definition, p *T) {
	if c.decoding {
		enum(c, d, p)
		return
	}
	c.b = diameter.AppendUint32(c.b, d, uint32(*p))
}

// enumOptional moves an enumeration whose absence means something of its own.
func enumOptional[T ~int32](c *coder, d *diameter.Definition, p **T) {
	if !c.decoding {
		if *p != nil {
			enumAlways(c, d, *p)
		}
		return
	}
	*p = nil
	if a, ok := c.find(d); ok {
		if v, ok := a.Uint32(); ok {
			t := T(v)
			*p = &t
		}
	}
}

// Times and addresses are rare: go-diameter reads and writes them.

func (c *coder) time(d *diameter.Definition, p *time.Time) {
	if !c.decoding {
		if !p.IsZero() {
			c.b = diameter.AppendValue(c.b, d, datatype.Time(*p))
		}
		return
	}
	*p = time.Time{}
	if a, ok := c.find(d); ok && len(a.Value) == 4 {
		if v, err := datatype.DecodeTime([]byte(a.Value)); err == nil {
			t, _ := v.(datatype.Time)
			*p = time.Time(t)
		}
	}
}

func (c *coder) addrs(d *diameter.Definition, p *[]netip.Addr) {
	if c.decoding {
		*p = nil
		c.each(d, func(a diameter.Raw) {
			v, err := datatype.DecodeAddress([]byte(a.Value))
			if err != nil {
				return
			}
			if b, ok := v.(datatype.Address); ok {
				if ip, ok := netip.AddrFromSlice(b); ok {
					*p = append(*p, ip.Unmap())
				}
			}
		})
		return
	}
	for _, ip := range *p {
		c.b = diameter.AppendValue(c.b, d, datatype.Address(ip.AsSlice()))
	}
}

// decodeGroup reads the members of a into f.
func (c *coder) decodeGroup(a diameter.Raw, f fielder) {
	from, end := c.from, len(c.in)
	c.from = end
	c.read(a.Group())
	f.fields(c)
	c.from, c.in = from, c.in[:end]
}

// encodeGroup appends f as a group, with the M bit also when mandatory says so.
func (c *coder) encodeGroup(d *diameter.Definition, f fielder, mandatory bool) {
	at := len(c.b)
	c.b = diameter.AppendGroup(c.b, d, mandatory)
	f.fields(c)
	c.b = diameter.EndGroup(c.b, at)
}

// group moves an optional group.
func group[T any, P interface {
	*T
	fielder
}](c *coder, d *diameter.Definition, p **T) {
	if !c.decoding {
		if *p != nil {
			c.encodeGroup(d, P(*p), false)
		}
		return
	}
	*p = nil
	if a, ok := c.find(d); ok {
		*p = new(T)
		c.decodeGroup(a, P(*p))
	}
}

// groups moves any number of groups.
func groups[T any, P interface {
	*T
	fielder
}](c *coder, d *diameter.Definition, p *[]T) {
	if !c.decoding {
		for i := range *p {
			c.encodeGroup(d, P(&(*p)[i]), false)
		}
		return
	}
	var list []T
	c.each(d, func(a diameter.Raw) {
		list = append(list, *new(T))
		c.decodeGroup(a, P(&list[len(list)-1]))
	})
	*p = list
}

// AVPs of the base protocol that the commands hold.
var (
	avpUserName         = def("User-Name")
	avpSessionID        = def("Session-Id")
	avpOriginHost       = def("Origin-Host")
	avpOriginRealm      = def("Origin-Realm")
	avpDestinationHost  = def("Destination-Host")
	avpDestinationRealm = def("Destination-Realm")
	avpVendorID         = def("Vendor-Id")
	avpErrorMessage     = def("Error-Message")
	avpFailed           = def("Failed-AVP")
	avpRedirectHost     = def("Redirect-Host")
)
