package icscf

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

// recent remembers for reg-await-auth which S-CSCF challenged a user: some HSSes
// name a random one until the SAR, and only that one knows the challenge.
type recent struct {
	seed maphash.Seed

	mu         sync.Mutex
	young, old map[recentKey]challenger
	turned     time.Time
}

// recentKey stands for a private identity and a Call-ID, which are as long as
// whoever sends them likes. Should two be the same, a REGISTER goes to the other's
// S-CSCF, which challenges it anew; nobody outside can bring that about.
type recentKey uint64

type challenger struct {
	scscf string
	at    time.Time
}

// regAwaitAuth is the life of a challenge (TS 24.229 7.8).
const regAwaitAuth = 4 * time.Minute

// maxRecent bounds each of the two generations.
const maxRecent = 50_000

func newRecent() *recent {
	return &recent{seed: maphash.MakeSeed(), young: map[recentKey]challenger{}, old: map[recentKey]challenger{}}
}

func (r *recent) keyOf(impi, callID string) recentKey {
	var h maphash.Hash
	h.SetSeed(r.seed)
	_, _ = h.WriteString(impi) // it never fails
	_ = h.WriteByte(0)
	_, _ = h.WriteString(callID)
	return recentKey(h.Sum64())
}

// turn drops what is older than two generations.
func (r *recent) turn(now time.Time) {
	if now.Sub(r.turned) >= regAwaitAuth || len(r.young) >= maxRecent {
		r.old, r.young, r.turned = r.young, map[recentKey]challenger{}, now
	}
}

// challenged notes that the S-CSCF sent a 401 to this user.
func (r *recent) challenged(impi, callID, scscf string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	r.young[r.keyOf(impi, callID)] = challenger{strings.Clone(scscf), now}
}

// by returns the S-CSCF that challenged the user, and forgets it: a challenge is
// answered once. Empty when none is known.
func (r *recent) by(impi, callID string, now time.Time) string {
	k := r.keyOf(impi, callID)
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.young[k]
	if !ok {
		c = r.old[k]
	}
	delete(r.young, k)
	delete(r.old, k)
	if now.Sub(c.at) >= regAwaitAuth {
		return ""
	}
	return c.scscf
}
