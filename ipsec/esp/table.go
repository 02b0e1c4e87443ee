package esp

import (
	"slices"
	"sync"
)

// shards keep goroutines that work for different phones out of each other's way.
const shards = 64

// maxSameSPI bounds how many associations may share an SPI, each with an address of
// its own. Where a carrier does not show the address, all of them are tried.
const maxSameSPI = 8

// inTable finds inbound associations by SPI. The lists never change; a new one
// takes the place of the old.
type inTable [shards]struct {
	sync.RWMutex
	m map[uint32][]*inbound
}

func (t *inTable) get(spi uint32) []*inbound {
	s := &t[spi%shards]
	s.RLock()
	defer s.RUnlock()
	return s.m[spi]
}

// add puts an association in. It returns the one that has its SPI and address, or
// any of those that share the SPI when there are too many.
func (t *inTable) add(sa *inbound) *inbound {
	s := &t[sa.SPI%shards]
	s.Lock()
	defer s.Unlock()
	list := s.m[sa.SPI]
	for _, o := range list {
		if o.Dst.Addr() == sa.Dst.Addr() || len(list) >= maxSameSPI {
			return o
		}
	}
	if s.m == nil {
		s.m = make(map[uint32][]*inbound)
	}
	s.m[sa.SPI] = append(slices.Clip(list), sa)
	return nil
}

func (t *inTable) remove(sa *inbound) {
	s := &t[sa.SPI%shards]
	s.Lock()
	defer s.Unlock()
	var rest []*inbound
	for _, o := range s.m[sa.SPI] {
		if o != sa {
			rest = append(rest, o)
		}
	}
	if rest == nil {
		delete(s.m, sa.SPI)
	} else {
		s.m[sa.SPI] = rest
	}
}

// outTable finds outbound associations by their selectors. Of several with the same
// ones the youngest is used.
type outTable [shards]struct {
	sync.RWMutex
	m map[endpoints]*outbound
}

func (k endpoints) shard() uint32 {
	b := k.remote.Addr().As16()
	return (uint32(k.local.Port()) ^ uint32(k.remote.Port()) ^ uint32(b[15]) ^ uint32(b[14])<<3) % shards
}

func (t *outTable) get(k endpoints) *outbound {
	s := &t[k.shard()]
	s.RLock()
	defer s.RUnlock()
	return s.m[k]
}

func (t *outTable) add(sa *outbound) {
	k := endpoints{sa.Src, sa.Dst}
	s := &t[k.shard()]
	s.Lock()
	defer s.Unlock()
	if s.m == nil {
		s.m = make(map[endpoints]*outbound)
	}
	sa.older = s.m[k]
	s.m[k] = sa
}

func (t *outTable) remove(sa *outbound) {
	k := endpoints{sa.Src, sa.Dst}
	s := &t[k.shard()]
	s.Lock()
	defer s.Unlock()
	first := s.m[k]
	if first == sa {
		if sa.older == nil {
			delete(s.m, k)
		} else {
			s.m[k] = sa.older
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
