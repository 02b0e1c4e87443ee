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
	mu    sync.Mutex
	began time.Time // what times are counted from; zero before the first
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

// moment is a time in facts: nanoseconds since they began, from 1 on, 0 for never.
type moment int64

// time is m, the zero time for never.
func (t *facts) time(m moment) time.Time {
	if m == 0 {
		return time.Time{}
	}
	return t.began.Add(time.Duration(m - 1))
}

// note lets f change what is known of a private identity, now. One too long to be real is
// not remembered.
func (t *facts) note(impi string, f func(k *fact, now moment)) {
	if len(impi) > maxIMPI {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.registered == nil {
		t.registered, t.others = map[string]*fact{}, map[string]*fact{}
		t.began = time.Now()
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
		k = &fact{name: strings.Clone(impi)} // a message is longer
		t.others[k.name] = k
	}
	was := k.registered
	f(k, moment(time.Since(t.began))+1)
	if k.registered != was {
		from, to := t.others, t.registered
		if was {
			from, to = to, from
		}
		delete(from, k.name)
		to[k.name] = k
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
	out := t.facts(k)
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
func (t *facts) challenged(impi string, strangers func(netip.Addr) (uint64, uint32)) {
	t.note(impi, func(k *fact, now moment) {
		k.challengedAt, k.challenges = now, k.challenges+1
		if strangers != nil {
			k.strangers, _ = strangers(k.source.Addr())
		}
	})
}

// gaveWay is the end of a set, whose 401 has left, for the sake of others. Of whom nothing is
// known, nothing is remembered.
func (t *facts) gaveWay(impi string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range [...]map[string]*fact{t.registered, t.others} {
		if k := m[impi]; k != nil {
			k.gaveWayAt = moment(time.Since(t.began)) + 1
		}
	}
}

// name is a private identity as it is kept, for others to keep, too.
func (t *facts) name(impi string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range [...]map[string]*fact{t.registered, t.others} {
		if k := m[impi]; k != nil {
			return k.name
		}
	}
	return strings.Clone(impi)
}

// gone is the end of the last registration.
func (t *facts) gone(impi string) {
	t.note(impi, func(k *fact, _ moment) { k.registered = false })
}

// success is a 200 that leaves a registration: the counters begin anew.
func (t *facts) success(impi string) {
	t.note(impi, func(k *fact, now moment) {
		k.registeredAt, k.registered = now, true
		k.challenges, k.resyncs, k.macFailures = 0, 0, 0
		delete(t.clear, k.source.Addr())
	})
}

// fact is what is known of one private identity: ipsec.Facts has the meaning. There is
// one for each phone that is registered, so it is kept small.
type fact struct {
	name                                       string // the private identity
	registerAt, refusedAt, forwardedAt, homeAt moment
	challengedAt, answeredAt, registeredAt     moment
	gaveWayAt                                  moment
	source                                     netip.AddrPort
	via                                        string
	offers                                     []ipsec.Mechanism
	refusedFor                                 error
	strangers                                  uint64 // ESP packets for no set from its address before its last challenge
	challenges, resyncs, macFailures           uint32
	refusedStatus, homeStatus                  uint16
	behindNAT, registered                      bool
}

// facts is k as it is told.
func (t *facts) facts(k *fact) ipsec.Facts {
	return ipsec.Facts{
		RegisterAt: t.time(k.registerAt), Source: k.source, Via: k.via, BehindNAT: k.behindNAT, Offers: k.offers,
		RefusedAt: t.time(k.refusedAt), RefusedStatus: int(k.refusedStatus), RefusedFor: k.refusedFor,
		ForwardedAt: t.time(k.forwardedAt), HomeAt: t.time(k.homeAt), HomeStatus: int(k.homeStatus),
		ChallengedAt: t.time(k.challengedAt), Challenges: int(k.challenges), Resyncs: int(k.resyncs), MACFailures: int(k.macFailures),
		AnsweredAt: t.time(k.answeredAt), RegisteredAt: t.time(k.registeredAt), Registered: k.registered, GaveWayAt: t.time(k.gaveWayAt),
	}
}
