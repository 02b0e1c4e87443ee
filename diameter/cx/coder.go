package cx

import (
	"net/netip"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"github.com/gocscf/gocscf/diameter"
)

// A coder encodes or decodes one run of AVPs. A structure's fields method names
// each AVP with the field that holds it, and the coder moves the value in the
// direction that it was made for; so the two directions cannot differ.
//
// Encoding leaves out what has its zero value, except where the method's name
// says otherwise.
type coder struct {
	decoding bool
	avps     []*diameter.AVP
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

func (c *coder) find(d *diameter.Definition) *diameter.AVP {
	return diameter.Find(c.avps, d.Code, d.Vendor)
}

func (c *coder) add(a *diameter.AVP) { c.avps = append(c.avps, a) }

// each calls f for every AVP of the definition.
func (c *coder) each(d *diameter.Definition, f func(*diameter.AVP)) {
	for _, a := range c.avps {
		if a.Code == d.Code && a.VendorID == d.Vendor {
			f(a)
		}
	}
}

func stringData(d *diameter.Definition, s string) datatype.Type {
	switch d.Type {
	case datatype.UTF8StringType:
		return datatype.UTF8String(s)
	case datatype.DiameterIdentityType:
		return datatype.DiameterIdentity(s)
	case datatype.DiameterURIType:
		return datatype.DiameterURI(s)
	}
	return datatype.OctetString(s)
}

func (c *coder) text(d *diameter.Definition, p *string) {
	if c.decoding {
		*p = diameter.Text(c.find(d))
	} else if *p != "" {
		c.add(d.New(stringData(d, *p)))
	}
}

func (c *coder) texts(d *diameter.Definition, p *[]string) {
	if c.decoding {
		*p = nil
		c.each(d, func(a *diameter.AVP) { *p = append(*p, diameter.Text(a)) })
		return
	}
	for _, s := range *p {
		c.add(d.New(stringData(d, s)))
	}
}

func (c *coder) octets(d *diameter.Definition, p *[]byte) {
	if c.decoding {
		*p = diameter.Octets(c.find(d))
	} else if len(*p) > 0 {
		c.add(d.New(stringData(d, string(*p))))
	}
}

func (c *coder) octetss(d *diameter.Definition, p *[][]byte) {
	if c.decoding {
		*p = nil
		c.each(d, func(a *diameter.AVP) { *p = append(*p, diameter.Octets(a)) })
		return
	}
	for _, s := range *p {
		c.add(d.New(stringData(d, string(s))))
	}
}

func (c *coder) number(d *diameter.Definition, p *uint32) {
	if c.decoding {
		*p, _ = diameter.Uint32(c.find(d))
	} else if *p != 0 {
		c.add(d.New(datatype.Unsigned32(*p)))
	}
}

// numberAlways encodes zero too.
func (c *coder) numberAlways(d *diameter.Definition, p *uint32) {
	if c.decoding || *p != 0 {
		c.number(d, p)
		return
	}
	c.add(d.New(datatype.Unsigned32(0)))
}

func (c *coder) numbers(d *diameter.Definition, p *[]uint32) {
	if c.decoding {
		*p = nil
		c.each(d, func(a *diameter.AVP) {
			v, _ := diameter.Uint32(a)
			*p = append(*p, v)
		})
		return
	}
	for _, v := range *p {
		c.add(d.New(datatype.Unsigned32(v)))
	}
}

func (c *coder) number64(d *diameter.Definition, p *uint64) {
	if c.decoding {
		*p, _ = diameter.Uint64(c.find(d))
	} else if *p != 0 {
		c.add(d.New(datatype.Unsigned64(*p)))
	}
}

// enum moves an enumeration whose value 0 is what its absence means.
func enum[T ~int32](c *coder, d *diameter.Definition, p *T) {
	if c.decoding {
		v, _ := diameter.Enumerated(c.find(d))
		*p = T(v)
	} else if *p != 0 {
		c.add(d.New(datatype.Enumerated(*p)))
	}
}

// enumAlways encodes zero too.
func enumAlways[T ~int32](c *coder, d *diameter.Definition, p *T) {
	if c.decoding {
		enum(c, d, p)
		return
	}
	c.add(d.New(datatype.Enumerated(*p)))
}

// enumOptional moves an enumeration whose absence means something of its own.
func enumOptional[T ~int32](c *coder, d *diameter.Definition, p **T) {
	if !c.decoding {
		if *p != nil {
			c.add(d.New(datatype.Enumerated(**p)))
		}
		return
	}
	*p = nil
	if v, ok := diameter.Enumerated(c.find(d)); ok {
		t := T(v)
		*p = &t
	}
}

func (c *coder) time(d *diameter.Definition, p *time.Time) {
	if c.decoding {
		*p, _ = diameter.Time(c.find(d))
	} else if !p.IsZero() {
		c.add(d.New(datatype.Time(*p)))
	}
}

func (c *coder) addrs(d *diameter.Definition, p *[]netip.Addr) {
	if c.decoding {
		*p = nil
		c.each(d, func(a *diameter.AVP) {
			if ip, ok := diameter.Addr(a); ok {
				*p = append(*p, ip)
			}
		})
		return
	}
	for _, ip := range *p {
		c.add(d.New(datatype.Address(ip.AsSlice())))
	}
}

func decodeGroup(a *diameter.AVP, f fielder) {
	f.fields(&coder{decoding: true, avps: diameter.Group(a)})
}

func encodeGroup(f fielder) datatype.Type {
	var c coder
	f.fields(&c)
	return diameter.NewGroup(c.avps...)
}

// group moves an optional group.
func group[T any, P interface {
	*T
	fielder
}](c *coder, d *diameter.Definition, p **T) {
	if !c.decoding {
		if *p != nil {
			c.add(d.New(encodeGroup(P(*p))))
		}
		return
	}
	*p = nil
	if a := c.find(d); a != nil {
		*p = new(T)
		decodeGroup(a, P(*p))
	}
}

// groups moves any number of groups.
func groups[T any, P interface {
	*T
	fielder
}](c *coder, d *diameter.Definition, p *[]T) {
	if !c.decoding {
		for i := range *p {
			c.add(d.New(encodeGroup(P(&(*p)[i]))))
		}
		return
	}
	*p = nil
	c.each(d, func(a *diameter.AVP) {
		var v T
		decodeGroup(a, P(&v))
		*p = append(*p, v)
	})
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

// mandatory sets the M bit, for the one AVP whose sender decides.
func mandatory(a *diameter.AVP, m bool) *diameter.AVP {
	if m {
		a.Flags |= avp.Mbit
	}
	return a
}

func isMandatory(a *diameter.AVP) bool { return a.Flags&avp.Mbit != 0 }
