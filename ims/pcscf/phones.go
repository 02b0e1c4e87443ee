package pcscf

import "net/netip"

// phones are the phones with SA sets by private identity: those of one, at several
// addresses, are a list, the oldest first, and not a long one (maxPhonesOfOne). It is
// guarded by security.mu.
type phones map[string]*phone

// of returns the phone with that name, nil for none.
func (t phones) of(k phoneKey) *phone {
	p := t[k.impi]
	for p != nil && p.key.addr != k.addr {
		p = p.next
	}
	return p
}

// add puts a phone behind the others of its private identity.
func (t phones) add(p *phone) {
	last := t[p.key.impi]
	if last == nil {
		t[p.key.impi] = p
		return
	}
	for last.next != nil {
		last = last.next
	}
	last.next = p
}

// remove takes a phone out, if it is there.
func (t phones) remove(p *phone) {
	first := t[p.key.impi]
	switch {
	case first == p && p.next == nil:
		delete(t, p.key.impi)
	case first == p:
		t[p.key.impi] = p.next
	default:
		for o := first; o != nil; o = o.next {
			if o.next == p {
				o.next = p.next
			}
		}
	}
}

// count is how many phones a private identity has.
func (t phones) count(impi string) (n int) {
	for p := t[impi]; p != nil; p = p.next {
		n++
	}
	return n
}

// first is the one of a phone's private identity, without itself, whose last set ends
// first: that is one which is not registered any more, if there is any.
func (t phones) first(p *phone) (out *phone) {
	for o := t[p.key.impi]; o != nil; o = o.next {
		if o != p && (out == nil || o.life.End().Before(out.life.End())) {
			out = o
		}
	}
	return out
}

// expendable is the phone of a private identity that goes when another comes and there
// are too many, nil for none. With the keys of none of its sets, anybody may have begun it:
// of those, one of the network with the most of them, since a stranger has many addresses in
// few networks. Who has shown the keys is the subscriber himself; he goes last, and never for
// somebody who has not shown them yet: then there is one too many.
func (t phones) expendable(impi string) (out *phone) {
	from := map[netip.Prefix]int{}
	for p := t[impi]; p != nil; p = p.next {
		if !p.life.Proven() {
			from[network(p.key.addr)]++
		}
	}
	most := 0
	for p := t[impi]; p != nil; p = p.next {
		switch n := from[network(p.key.addr)]; {
		case !p.life.Proven() && n > most:
			out, most = p, n
		case out == nil && len(p.life.Established()) == 0:
			out = p
		}
	}
	return out
}

// network is what one stranger may have of an address space: a /64 of IPv6 is usual.
func network(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits)
	return p
}

// all goes through all phones.
func (t phones) all(yield func(*phone) bool) {
	for _, p := range t {
		for ; p != nil; p = p.next {
			if !yield(p) {
				return
			}
		}
	}
}
