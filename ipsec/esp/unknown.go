package esp

import (
	"net/netip"
	"sync"
	"time"
)

// maxSources bounds what strangers can make [strangers] remember.
const maxSources = 1024

// Unknown is what has come from an address for SPIs that nobody has.
type Unknown struct {
	Packets uint64
	SPI     uint32 // the last one
	Last    time.Time
}

// strangers counts packets with unknown SPIs by source.
type strangers struct {
	mu sync.Mutex
	m  map[netip.Addr]Unknown
}

func (s *strangers) add(src netip.Addr, spi uint32, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, known := s.m[src]
	if !known && len(s.m) >= maxSources {
		s.evict()
	}
	if s.m == nil {
		s.m = make(map[netip.Addr]Unknown)
	}
	s.m[src] = Unknown{u.Packets + 1, spi, now}
}

// evict forgets, of some sources, one that has sent least: a flood of addresses
// that come once does not push out a phone that goes on sending.
func (s *strangers) evict() {
	const look = 8
	var victim netip.Addr
	n, least := 0, uint64(0)
	for a, u := range s.m {
		if n == 0 || u.Packets < least {
			victim, least = a, u.Packets
		}
		if n++; n == look || least == 1 {
			break
		}
	}
	delete(s.m, victim)
}

func (s *strangers) get(src netip.Addr) Unknown {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[src]
}
