package pcscf

import (
	"slices"
	"strings"

	"github.com/gocscf/gocscf/ims/uri"
)

// contacts are the bindings of a private identity, in the order in which they came:
// nearly always one, which then needs no memory beside the table's.
type contacts struct {
	first *binding
	rest  []*binding
}

func (c contacts) all(yield func(*binding) bool) {
	if c.first == nil || !yield(c.first) {
		return
	}
	for _, b := range c.rest {
		if !yield(b) {
			return
		}
	}
}

func (c contacts) with(b *binding) contacts {
	if c.first == nil {
		return contacts{first: b}
	}
	c.rest = append(c.rest, b)
	return c
}

// replaced has b in the place of old, if old is there.
func (c contacts) replaced(old, b *binding) contacts {
	if c.first == old {
		c.first = b
	} else if i := slices.Index(c.rest, old); i >= 0 {
		c.rest[i] = b
	}
	return c
}

func (c contacts) without(b *binding) contacts {
	switch {
	case c.first != b:
		c.rest = slices.DeleteFunc(c.rest, func(o *binding) bool { return o == b })
	case len(c.rest) > 0:
		c.first = c.rest[0] // before Delete moves what follows there
		c.rest = slices.Delete(c.rest, 0, 1)
	default:
		c.first = nil
	}
	return c
}

// maxContactsOfOne bounds the contacts of a private identity, over which one subscriber
// would fill max_bindings otherwise. It is more than a registrar keeps.
const maxContactsOfOne = 16

// find returns the contact that is written so, or else one that is the same.
func (c contacts) find(contact string) (out *binding) {
	for b := range c.all {
		if b.contact == contact {
			return b
		}
		if out == nil && b.isAt(contact) {
			out = b
		}
	}
	return out
}

// len returns how many there are.
func (c contacts) len() int {
	if c.first == nil {
		return 0
	}
	return 1 + len(c.rest)
}

// isAt reports whether a contact is that of b.
func (b *binding) isAt(contact string) bool {
	if b.contact == contact {
		return true
	}
	own, err := uri.Parse(b.contact)
	if err != nil {
		return false
	}
	u, err := uri.Parse(contact)
	return err == nil && sameContact(own, u)
}

// sameContact reports whether two contacts are one to the registrar (RFC 3261 19.1.4): that
// of an emergency registration stands beside the others (TS 24.229 5.4.8).
func sameContact(a, b uri.URI) bool {
	return a.HasParam("sos") == b.HasParam("sos") && uri.Equal(a, b)
}

// isEmergency reports whether a contact is that of an emergency registration.
func isEmergency(contact string) bool {
	if !mayBeEmergency(contact) { // as nearly always
		return false
	}
	u, err := uri.Parse(contact)
	return err == nil && u.HasParam("sos")
}

// mayBeEmergency is isEmergency without reading the URI: there may be the word, or an
// escape that hides it.
func mayBeEmergency(contact string) bool {
	const sos = ";sos"
	for i := range len(contact) {
		switch c := contact[i]; {
		case c == '%', c == ';' && i+len(sos) <= len(contact) && strings.EqualFold(contact[i:i+len(sos)], sos):
			return true
		}
	}
	return false
}
