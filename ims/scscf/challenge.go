package scscf

import (
	"strings"
	"sync"
	"time"

	"github.com/gocscf/gocscf/aka"
)

// challenge is a 401 that waits for its answer (TS 24.229 5.4.1.2.1A).
type challenge struct {
	impi, callID string
	impu         string
	nonce        string // as sent, base64
	rand         aka.RAND
	password     aka.Secret // of the digest: XRES, for AKAv2 made with CK and IK
	algorithm    aka.DigestAlgorithm
	until        time.Time // reg-await-auth
	resynced     bool      // made after an AUTS
	failures     int       // wrong answers in a row before this one
	stop         func()    // its timer's
}

// challenges holds the outstanding challenge of each private identity. Its
// methods may be called from any goroutine.
type challenges struct {
	max int

	mu      sync.Mutex
	byIMPI  map[string]*challenge
	byNonce map[string]*challenge
}

// maxChallenges bounds the outstanding ones: beyond, new ones are refused, so
// that invented users cannot fill the memory.
const maxChallenges = 200_000

func newChallenges() *challenges {
	return &challenges{max: maxChallenges, byIMPI: map[string]*challenge{}, byNonce: map[string]*challenge{}}
}

// put makes c the outstanding challenge of its user, in place of an older one. It
// reports whether there was room.
func (t *challenges) put(c *challenge) bool {
	c.impi, c.callID, c.impu = strings.Clone(c.impi), strings.Clone(c.callID), strings.Clone(c.impu)
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.byIMPI[c.impi]; old != nil {
		t.drop(old)
	}
	if len(t.byIMPI) >= t.max {
		return false
	}
	t.byIMPI[c.impi], t.byNonce[c.nonce] = c, c
	return true
}

// of returns the outstanding challenge of a user, nil if there is none.
func (t *challenges) of(impi string) *challenge {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byIMPI[impi]
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
	if t.byIMPI[c.impi] != c {
		return false
	}
	t.drop(c)
	return true
}

func (t *challenges) drop(c *challenge) {
	delete(t.byIMPI, c.impi)
	delete(t.byNonce, c.nonce)
	if c.stop != nil {
		c.stop()
	}
}

func (t *challenges) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byIMPI)
}
