package scscf

import (
	"slices"

	"github.com/gocscf/gocscf/ims/registrar"
)

// Bounds of a registration: the contacts of one private identity, as phones that come
// back with another address each time, and do not say who they are, leave theirs behind;
// and the octets of all contacts of the set. Every 200 lists them (RFC 3261 10.3 step 8)
// and must stay well below what a message may have, 24 KiB of headers.
const (
	maxBindings = 10
	maxOctets   = 16 << 10
)

// octets is what contacts take in a 200.
func octets(list ...registrar.Binding) int {
	n := 0
	for i := range list {
		n += len("Contact: <>;expires=600000\r\n") + len(list[i].Contact) + len(list[i].Params)
	}
	return n
}

// bound drops what is too much: of this private identity, then of the set.
func (r *registration) bound(list []registrar.Binding) []registrar.Binding {
	for {
		n, _, first := r.share(list, r.impi)
		if n <= maxBindings {
			break
		}
		list = slices.Delete(list, first, first+1)
	}
	for octets(list...) > maxOctets {
		gone := r.greediest(list)
		if gone < 0 {
			break
		}
		list = slices.Delete(list, gone, gone+1)
	}
	return list
}

// greediest is the contact that gives way first of the private identity with the most
// octets, so that no phone keeps the others out. Each keeps one: the HSS has it as
// registered. It is -1 when that is all they have.
func (r *registration) greediest(list []registrar.Binding) int {
	most, gone := 0, -1
	for i := range list {
		if n, size, first := r.share(list, list[i].IMPI); n > 1 && size > most {
			most, gone = size, first
		}
	}
	return gone
}

// share is how many contacts of the list are a private identity's, their octets, and
// which of them gives way first: the one that ends first, but none that this REGISTER
// has brought before the others.
func (r *registration) share(list []registrar.Binding, impi string) (n, size, first int) {
	first = -1
	for i := range list {
		b := &list[i]
		if b.IMPI != impi {
			continue
		}
		n++
		size += octets(*b)
		if first < 0 {
			first = i
			continue
		}
		if f := &list[first]; r.brings(b) == r.brings(f) && b.Expires.Before(f.Expires) || !r.brings(b) && r.brings(f) {
			first = i
		}
	}
	return n, size, first
}

// brings reports whether a contact is of this REGISTER.
func (r *registration) brings(b *registrar.Binding) bool {
	return b.IMPI == r.impi && b.CSeq == r.cseq && b.CallID == r.x.Req.CallID()
}
