package scscf

import (
	"container/list"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/gocscf/gocscf/aka"
)

// challenge is a 401 that waits for its answer (TS 24.229 5.4.1.2.1A).
type challenge struct {
	impi, callID string // callID is for the log; put cuts it
	call         callKey
	impu         string
	nonce        string // as sent, base64
	rand         aka.RAND
	password     aka.Secret // of the digest: XRES, for AKAv2 made with CK and IK
	algorithm    aka.DigestAlgorithm
	until        time.Time // reg-await-auth
	resynced     bool      // made after an AUTS
	failures     int       // wrong answers in a row before this one

	place *list.Element // in challenges.all
}

// callKey stands for a Call-ID, which is as long as whoever sends it likes. Should two of
// one user's be the same, the later challenge takes the other's place; nobody outside can
// bring that about.
type callKey uint64

// challenges holds the outstanding challenges. One belongs to a private identity
// and a Call-ID (TS 24.229 5.4.1.2.2): who sends a REGISTER with somebody else's
// username does not take his challenge away. Its methods may be called from any
// goroutine.
type challenges struct {
	max  int
	seed maphash.Seed

	mu      sync.Mutex
	n       int
	byIMPI  map[string][]*challenge // oldest first
	byNonce map[string]*challenge

	// All last equally long: one timer, for the oldest, is enough.
	all     list.List // of *challenge, oldest first
	watched bool      // somebody waits for the end of the first, or of one before it
}

// Bounds: anybody may have himself challenged in the names of all users, and of too many
// challenges the oldest gives way, of all and of one user's. A user has as many as strangers
// may cause in his name while he answers his own: at 400 a second, which is what a flood
// of them reached, a phone has 160 ms.
const (
	maxChallenges        = 200_000
	maxChallengesPerIMPI = 64
)

// maxCallIDKept is how much of a Call-ID a challenge keeps, in octets: phones have less.
const maxCallIDKept = 128

func newChallenges() *challenges {
	return &challenges{max: maxChallenges, seed: maphash.MakeSeed(), byIMPI: map[string][]*challenge{}, byNonce: map[string]*challenge{}}
}

func (t *challenges) keyOf(callID string) callKey { return callKey(maphash.String(t.seed, callID)) }

// put makes c outstanding, in place of the one for the same user and Call-ID. It returns
// the challenge of somebody that has given way, nil for none.
func (t *challenges) put(c *challenge) (gone *challenge) {
	c.call = t.keyOf(c.callID)
	c.callID = c.callID[:min(len(c.callID), maxCallIDKept)]
	own := c.impi + c.callID + c.impu // so that it does not hold on to a message
	own, c.impi = own[len(c.impi):], own[:len(c.impi)]
	own, c.callID = own[len(c.callID):], own[:len(c.callID)]
	c.impu = own
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.byIMPI[c.impi]
	i := slices.IndexFunc(list, func(o *challenge) bool { return o.call == c.call })
	if i < 0 && len(list) >= maxChallengesPerIMPI {
		i = 0
	}
	if i >= 0 {
		old := list[i]
		t.drop(old)
		old.password.Wipe()
	}
	if t.n >= t.max {
		gone = t.all.Front().Value.(*challenge)
		t.drop(gone)
	}
	t.byIMPI[c.impi] = append(t.byIMPI[c.impi], c)
	t.byNonce[c.nonce] = c
	t.n++
	c.place = t.all.PushBack(c)
	return gone
}

// watch tells who is to call over, and when; false where somebody is to already, or nothing
// is outstanding.
func (t *challenges) watch(now time.Time) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.all.Front()
	if t.watched || first == nil {
		return 0, false
	}
	t.watched = true
	return first.Value.(*challenge).until.Sub(now), true
}

// over returns the challenges that nobody has answered in time. They are for the caller to
// take; then somebody has to watch again.
func (t *challenges) over(now time.Time) (ended []*challenge) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watched = false
	for e := t.all.Front(); e != nil; e = e.Next() {
		c := e.Value.(*challenge)
		if c.until.After(now) {
			break
		}
		ended = append(ended, c)
	}
	return ended
}

// of returns the outstanding challenge of a user and Call-ID, nil if there is none.
func (t *challenges) of(impi, callID string) *challenge {
	call := t.keyOf(callID)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.byIMPI[impi] {
		if c.call == call {
			return c
		}
	}
	return nil
}

// ofNonce returns the outstanding challenge with that nonce, whoever's it is.
func (t *challenges) ofNonce(nonce string) *challenge {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byNonce[nonce]
}

// take removes c, and reports whether it was still outstanding: an answer is
// verified once (TS 24.229 5.4.1.2.2).
func (t *challenges) take(c *challenge) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.byIMPI[c.impi], c) {
		return false
	}
	t.drop(c)
	return true
}

func (t *challenges) drop(c *challenge) {
	t.n--
	left := slices.DeleteFunc(t.byIMPI[c.impi], func(o *challenge) bool { return o == c })
	if len(left) == 0 {
		delete(t.byIMPI, c.impi)
	} else {
		t.byIMPI[left[0].impi] = left // the key is a part of what is still there
	}
	if t.byNonce[c.nonce] == c { // an HSS with a fixed RAND may repeat one
		delete(t.byNonce, c.nonce)
	}
	t.all.Remove(c.place)
}

// open reports whether a user has an outstanding challenge.
func (t *challenges) open(impi string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byIMPI[impi]) > 0
}

func (t *challenges) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}
