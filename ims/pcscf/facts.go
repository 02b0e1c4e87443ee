package pcscf

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// facts remembers of each private identity what explains why its phone does not
// come up. The zero value is ready.
type facts struct {
	mu sync.Mutex
	// registered are those of phones that are, others those that may be anybody's.
	registered, others map[string]*fact
	clear              map[netip.Addr]clearCount
}

// clearCount counts what has come in clear from an address.
type clearCount struct{ dropped, refused uint64 }

const (
	// maxFacts bounds what is remembered of those who are not registered: anybody
	// may send REGISTERs in any name.
	maxFacts = 4096
	// maxClear bounds the addresses of which we know that they send in clear.
	maxClear = 4096
	// maxIMPI bounds a private identity, a NAI (RFC 7542 2.3), in octets.
	maxIMPI = 253
)

// note lets f change what is known of a private identity. One too long to be real is
// not remembered.
func (t *facts) note(impi string, f func(*fact)) {
	if len(impi) > maxIMPI {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.registered == nil {
		t.registered, t.others = map[string]*fact{}, map[string]*fact{}
	}
	k := t.registered[impi]
	if k == nil {
		k = t.others[impi]
	}
	if k == nil {
		for other := range t.others {
			if len(t.others) < maxFacts {
				break
			}
			delete(t.others, other) // any: whoever tries again comes back
		}
		k = new(fact)
		impi = strings.Clone(impi) // a message is longer
		t.others[impi] = k
	}
	was := k.Registered
	f(k)
	if k.Registered != was {
		from, to := t.others, t.registered
		if was {
			from, to = to, from
		}
		delete(from, impi)
		to[impi] = k
	}
}

// of returns what is known. strangers, if not nil, tells of ESP packets for no set.
func (t *facts) of(impi string, strangers func(netip.Addr) (uint64, uint32)) ipsec.Facts {
	t.mu.Lock()
	k := t.registered[impi]
	if k == nil {
		k = t.others[impi]
	}
	if k == nil {
		t.mu.Unlock()
		return ipsec.Facts{}
	}
	out := k.Facts
	c := t.clear[out.Source.Addr()]
	before := k.strangers
	t.mu.Unlock()
	out.ClearDropped, out.ClearRefused = c.dropped, c.refused
	if strangers != nil {
		if n, spi := strangers(out.Source.Addr()); n > before {
			out.UnknownSPIs, out.UnknownSPI = n-before, spi
		}
	}
	return out
}

// inClear counts a message in clear: dropped at a protected port, or refused at the
// open one.
func (t *facts) inClear(from netip.Addr, protected bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, known := t.clear[from]
	if !known && len(t.clear) >= maxClear {
		for other := range t.clear {
			delete(t.clear, other)
			break
		}
	}
	if t.clear == nil {
		t.clear = map[netip.Addr]clearCount{}
	}
	if protected {
		c.dropped++
	} else {
		c.refused++
	}
	t.clear[from] = c
}

// challenged is a 401 that is about to leave: what came before for no set is no
// answer to it.
func (t *facts) challenged(impi string, now time.Time, strangers func(netip.Addr) (uint64, uint32)) {
	t.note(impi, func(k *fact) {
		k.ChallengedAt, k.Challenges = now, k.Challenges+1
		if strangers != nil {
			k.strangers, _ = strangers(k.Source.Addr())
		}
	})
}

// gone is the end of the last registration.
func (t *facts) gone(impi string) {
	t.note(impi, func(k *fact) { k.Registered = false })
}

// success is a 200 that leaves a registration: the counters begin anew.
func (t *facts) success(impi string, now time.Time) {
	t.note(impi, func(k *fact) {
		k.RegisteredAt, k.Registered = now, true
		k.Challenges, k.Resyncs, k.MACFailures = 0, 0, 0
		delete(t.clear, k.Source.Addr())
	})
}

// fact is what is known of one private identity.
type fact struct {
	ipsec.Facts
	strangers uint64 // ESP packets for no set from its address before its last challenge
}
