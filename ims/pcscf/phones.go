package pcscf

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
