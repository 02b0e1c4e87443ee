package icscf

import (
	"sync"
	"time"
)

// recent remembers for reg-await-auth which S-CSCF challenged a user: some HSSes
// name a random one until the SAR, and only that one knows the challenge.
type recent struct {
	mu         sync.Mutex
	young, old map[recentKey]string
	turned     time.Time
}

type recentKey struct{ impi, callID string }

// regAwaitAuth is the life of a challenge (TS 24.229 7.8).
const regAwaitAuth = 4 * time.Minute

// maxRecent bounds each of the two generations.
const maxRecent = 50_000

func newRecent() *recent {
	return &recent{young: map[recentKey]string{}, old: map[recentKey]string{}}
}

// turn drops what is older than two generations.
func (r *recent) turn(now time.Time) {
	if now.Sub(r.turned) >= regAwaitAuth || len(r.young) >= maxRecent {
		r.old, r.young, r.turned = r.young, map[recentKey]string{}, now
	}
}

// challenged notes that the S-CSCF sent a 401 to this user.
func (r *recent) challenged(impi, callID, scscf string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	r.young[recentKey{impi, callID}] = scscf
}

// by returns the S-CSCF that challenged the user, and forgets it: a challenge is
// answered once. Empty when none is known.
func (r *recent) by(impi, callID string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := recentKey{impi, callID}
	name := r.young[k]
	if name == "" {
		name = r.old[k]
	}
	delete(r.young, k)
	delete(r.old, k)
	return name
}
