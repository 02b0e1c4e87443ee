package transaction

// pastIndex finds records by the hash of their key's prefix: with a hash table of eight
// octets a record, which one cache line nearly always suffices to ask. Go's map takes three
// times the room and two or three lines, and with some 200,000 records none of them is at
// hand.
//
// A slot has the upper half of the hash, which says where the slot should be, and a place
// plus 1; that the lower half agrees, the record there says. A slot that is taken sends on
// to the next (linear probing), and one that becomes free is filled from behind.
type pastIndex struct {
	slots []uint64 // 0 is free; a power of 2 of them, a quarter at least free
	shift uint8    // from the upper half of a hash to a slot's number
	n     int
}

const leastSlots = 16

// lookup returns the number of the slot for hash, and what it has: a record's place plus
// 1, or 0 when there is none.
func (p *past) lookup(hash uint64) (at uint32, place uint32) {
	x := &p.index
	if len(x.slots) == 0 {
		return 0, 0
	}
	mask := uint32(len(x.slots) - 1)
	for at = uint32(hash>>32) >> x.shift; ; at = (at + 1) & mask {
		switch s := x.slots[at]; {
		case s == 0:
			return at, 0
		case s>>32 == hash>>32 && p.at(uint32(s)-1).hash() == hash:
			return at, uint32(s)
		}
	}
}

// first returns the place plus 1 of the youngest record with that hash, 0 for none.
func (p *past) first(hash uint64) uint32 {
	_, place := p.lookup(hash)
	return place
}

// enter makes the record at place, minus 1, the youngest with that hash.
func (p *past) enter(hash uint64, place uint32) {
	x := &p.index
	at, old := p.lookup(hash)
	if old == 0 {
		if x.n++; 4*x.n > 3*len(x.slots) {
			x.resize(x.n)
			at, _ = p.lookup(hash)
		}
	}
	x.slots[at] = hash>>32<<32 | uint64(place)
}

// resize makes room for n records and as many more.
func (x *pastIndex) resize(n int) {
	size, shift := leastSlots, uint8(32-4)
	for 4*n > 2*size && shift > 0 {
		size, shift = 2*size, shift-1
	}
	old := x.slots
	x.slots, x.shift = make([]uint64, size), shift
	for _, s := range old {
		if s == 0 {
			continue
		}
		at := uint32(s>>32) >> shift
		for x.slots[at] != 0 {
			at = (at + 1) & uint32(size-1)
		}
		x.slots[at] = s
	}
}

// free empties a slot. Those behind it that would be missed move up.
func (x *pastIndex) free(at uint32) {
	x.n--
	mask := uint32(len(x.slots) - 1)
	for next := (at + 1) & mask; x.slots[next] != 0; next = (next + 1) & mask {
		home := uint32(x.slots[next]>>32) >> x.shift
		if (next-home)&mask >= (next-at)&mask {
			x.slots[at] = x.slots[next]
			at = next
		}
	}
	x.slots[at] = 0
}
