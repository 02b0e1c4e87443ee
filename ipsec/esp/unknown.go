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
		for a := range s.m { // any: whoever goes on sending comes back
			delete(s.m, a)
			break
		}
	}
	if s.m == nil {
		s.m = make(map[netip.Addr]Unknown)
	}
	s.m[src] = Unknown{u.Packets + 1, spi, now}
}

func (s *strangers) get(src netip.Addr) Unknown {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[src]
}
