package transport

import (
	"net/netip"
	"sync"
	"time"
)

// An ICMP error concerns a datagram that left a moment ago: the senders of the
// last recentMax datagrams are kept for recentFor to be told.
const (
	recentMax = 1024
	recentFor = 2 * time.Second
)

// recent remembers who sent the latest datagrams of a socket that learns of
// ICMP errors.
type recent struct {
	wanted bool // set once; without it nothing is remembered

	mu   sync.Mutex
	ring []recentSend // datagram seq is at seq mod recentMax; nil before the first
	next uint64

	purging bool // a timer runs that drops what is too old to matter
}

type recentSend struct {
	seq    uint64
	remote netip.AddrPort
	fail   func(error)
	at     time.Time
}

func (r *recent) on() bool { return r.wanted }

// remember enters datagrams before they are written, since the error can be
// back before the write returns. It returns the number of the first.
func (r *recent) remember(outs []Outgoing) uint64 {
	if !r.on() {
		return 0
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring == nil {
		r.ring = make([]recentSend, recentMax)
	}
	first := r.next
	for i := range outs {
		if outs[i].Fail == nil { // nobody to tell; what was in its place is told a little longer
			r.next++
			continue
		}
		r.ring[r.next%recentMax] = recentSend{r.next, outs[i].Flow.Remote, outs[i].Fail, now}
		r.next++
	}
	if !r.purging {
		r.purging = true
		time.AfterFunc(recentFor, r.purge)
	}
	return first
}

// purge lets go of senders that will not be told any more, so that a quiet
// socket does not keep their transactions.
func (r *recent) purge() {
	oldest := time.Now().Add(-recentFor)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.purging = false
	for i := range r.ring {
		switch e := &r.ring[i]; {
		case e.fail == nil:
		case e.at.After(oldest):
			r.purging = true
		default:
			*e = recentSend{}
		}
	}
	if r.purging {
		time.AfterFunc(recentFor, r.purge)
	}
}

// claim takes one datagram out, and reports whether it was there: its sender
// has not been told yet.
func (r *recent) claim(seq uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring == nil {
		return false
	}
	e := &r.ring[seq%recentMax]
	if e.seq != seq || e.fail == nil {
		return false
	}
	*e = recentSend{}
	return true
}

// take takes out every datagram that went to remote lately and returns whom to
// tell.
func (r *recent) take(remote netip.AddrPort) []func(error) {
	oldest := time.Now().Add(-recentFor)
	var fails []func(error)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.ring {
		e := &r.ring[i]
		if e.fail != nil && e.remote == remote && e.at.After(oldest) {
			fails = append(fails, e.fail)
			*e = recentSend{}
		}
	}
	return fails
}
