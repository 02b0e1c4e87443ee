package esp

import (
	"hash/maphash"
	"slices"
	"sync"
)

// shards keep goroutines that work for different phones out of each other's way.
const shards = 64

// maxSameSPI bounds how many associations may share an SPI, each with an address of
// its own. Where a carrier does not show the address, all of them are tried.
const maxSameSPI = 8

// inTable finds inbound associations by SPI.
type inTable [shards]struct {
	sync.RWMutex
	m map[uint32]*inbound
	// more are the others where phones of one stack have chosen the same SPI. The
	// lists never change; a new one takes the place of the old.
	more map[uint32][]*inbound
}

// get returns the association with an SPI, nil for none, and those that share it.
func (t *inTable) get(spi uint32) (*inbound, []*inbound) {
	s := &t[spi%shards]
	s.RLock()
	defer s.RUnlock()
	return s.m[spi], s.more[spi]
}

// add puts an association in. It returns the one that has its SPI and address, or
// any of those that share the SPI when there are too many.
func (t *inTable) add(sa *inbound) *inbound {
	spi := sa.spi()
	s := &t[spi%shards]
	s.Lock()
	defer s.Unlock()
	first, more := s.m[spi], s.more[spi]
	if first == nil {
		if s.m == nil {
			s.m = make(map[uint32]*inbound)
		}
		s.m[spi] = sa
		return nil
	}
	at := sa.of.set.Local.Addr
	if first.of.set.Local.Addr == at || 1+len(more) >= maxSameSPI {
		return first
	}
	for _, o := range more {
		if o.of.set.Local.Addr == at {
			return o
		}
	}
	if s.more == nil {
		s.more = make(map[uint32][]*inbound)
	}
	s.more[spi] = append(slices.Clip(more), sa)
	return nil
}

func (t *inTable) remove(sa *inbound) {
	spi := sa.spi()
	s := &t[spi%shards]
	s.Lock()
	defer s.Unlock()
	more := slices.DeleteFunc(slices.Clone(s.more[spi]), func(o *inbound) bool { return o == sa })
	if s.m[spi] == sa {
		if len(more) == 0 {
			delete(s.m, spi)
			return
		}
		s.m[spi], more = more[0], more[1:]
	}
	if len(more) == 0 {
		delete(s.more, spi)
	} else {
		s.more[spi] = more
	}
}

// outTable finds outbound associations by their selectors, filed under a hash of
// them: these are long, and the associations have them. Of several with the same
// ones the youngest is used. Nobody can choose what falls together: the seed is secret.
type outTable struct {
	seed maphash.Seed
	in   [shards]struct {
		sync.RWMutex
		m map[uint64]*outbound
	}
}

func (t *outTable) hash(k endpoints) uint64 { return maphash.Comparable(t.seed, k) }

func (t *outTable) get(k endpoints) *outbound {
	h := t.hash(k)
	s := &t.in[h%shards]
	s.RLock()
	defer s.RUnlock()
	sa := s.m[h]
	for sa != nil && sa.ends() != k {
		sa = sa.older
	}
	return sa
}

func (t *outTable) add(sa *outbound) {
	h := t.hash(sa.ends())
	s := &t.in[h%shards]
	s.Lock()
	defer s.Unlock()
	if s.m == nil {
		s.m = make(map[uint64]*outbound)
	}
	sa.older = s.m[h]
	s.m[h] = sa
}

func (t *outTable) remove(sa *outbound) {
	h := t.hash(sa.ends())
	s := &t.in[h%shards]
	s.Lock()
	defer s.Unlock()
	first := s.m[h]
	if first == sa {
		if sa.older == nil {
			delete(s.m, h)
		} else {
			s.m[h] = sa.older
		}
		return
	}
	for o := first; o != nil; o = o.older {
		if o.older == sa {
			o.older = sa.older
			return
		}
	}
}
