package scscf

import (
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/sip"
)

// odiUser begins the user part of the URI that an application server sends a
// request back to; the rest is the original dialog identifier (TS 24.229 5.4.3.4).
const odiUser = "odi-"

// Bounds of the identifiers that are out. One lives as long as the transaction in
// which it was given away, and afterwards for odiLife: an application server may
// still retarget a call then.
const (
	odiLife = 200 * time.Second
	maxODIs = 500_000
)

// odi is what an original dialog identifier stands for: a request that an
// application server has, and where its evaluation goes on.
type odi struct {
	serving
	at ifc.Position

	token    string
	returned bool      // the server has sent the request back
	until    time.Time // zero while the transaction is open
}

// odis knows the identifiers that are out. A B2BUA comes back with another
// Call-ID, so its methods may be called on any shard.
type odis struct {
	max int

	mu      sync.Mutex
	byToken map[string]*odi
	ended   []*odi // in the order of until
}

func newODIs(max int) *odis { return &odis{max: max, byToken: map[string]*odi{}} }

// put makes an identifier of 120 random bits for o, and reports whether there was
// room.
func (t *odis) put(o *odi) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(time.Now())
	if len(t.byToken) >= t.max {
		if len(t.ended) == 0 {
			return false
		}
		t.dropFirst() // the oldest of calls that are over goes first
	}
	o.token = sip.NewCallID()
	t.byToken[o.token] = o
	return true
}

// back returns what the identifier stands for and notes that the request has come
// back. nil: unknown, or its time is over. It may come several times: an
// application server may fork.
func (t *odis) back(token string) *odi {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(time.Now())
	o := t.byToken[token]
	if o != nil {
		o.returned = true
	}
	return o
}

// isBack reports whether the server has sent the request back.
func (t *odis) isBack(o *odi) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return o.returned
}

// drop forgets o at once: its server has been passed over, and must not bring the
// request a second time.
func (t *odis) drop(o *odi) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byToken, o.token)
}

// end starts the rest of the lives of identifiers whose transaction is over.
func (t *odis) end(list []*odi) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.sweep(now)
	for _, o := range list {
		if t.byToken[o.token] == o {
			o.until = now.Add(odiLife)
			t.ended = append(t.ended, o)
		}
	}
}

func (t *odis) sweep(now time.Time) {
	for len(t.ended) > 0 && !t.ended[0].until.After(now) {
		t.dropFirst()
	}
}

func (t *odis) dropFirst() {
	delete(t.byToken, t.ended[0].token)
	t.ended[0] = nil
	if t.ended = t.ended[1:]; len(t.ended) == 0 {
		t.ended = nil
	}
}

func (t *odis) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byToken)
}
