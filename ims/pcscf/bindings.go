package pcscf

import (
	"crypto/rand"
	"encoding/base32"
	"net/netip"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// binding is what the 200 of a REGISTER has taught us of one contact of a phone
// (TS 24.229 5.2.2.1). It is immutable; a re-registration makes a new one.
type binding struct {
	token        string // user part of our Path and Record-Route entries
	impi         string
	contact      string         // the URI that the phone registered
	source       netip.AddrPort // from where it registered
	flow         sip.Flow       // how it is reached
	serviceRoute []string       // URIs, in order (RFC 3608)
	identities   []string       // P-Associated-URI, the default one first
	keys         []string       // canonical forms of identities
	icid         string         // of the registration
	expires      time.Time
}

// preferred returns the identity of the binding with the canonical form key.
func (b *binding) preferred(key string) (string, bool) {
	for i, k := range b.keys {
		if k == key {
			return b.identities[i], true
		}
	}
	return "", false
}

// grace is how long a binding outlives its registration, so that the responses
// and requests that end it still find their way.
const grace = 32 * time.Second

// bindings holds the registered contacts. Its methods may be called from any
// goroutine.
type bindings struct {
	max int

	mu        sync.RWMutex
	byToken   map[string]*binding
	bySource  map[netip.AddrPort]*binding
	byContact map[contactKey]*binding
}

type contactKey struct{ impi, contact string }

func newBindings(limit int) *bindings {
	return &bindings{
		max: limit, byToken: map[string]*binding{}, bySource: map[netip.AddrPort]*binding{}, byContact: map[contactKey]*binding{},
	}
}

// ofToken returns the binding of a Path or Record-Route entry, nil if there is none.
func (t *bindings) ofToken(token string, now time.Time) *binding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return alive(t.byToken[token], now)
}

// ofSource returns the binding of the phone that registered from that address
// and port, nil if there is none.
func (t *bindings) ofSource(a netip.AddrPort, now time.Time) *binding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return alive(t.bySource[a], now)
}

// ofContact returns the binding of a private identity's contact.
func (t *bindings) ofContact(impi, contact string, now time.Time) *binding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return alive(t.byContact[contactKey{impi, contact}], now)
}

func alive(b *binding, now time.Time) *binding {
	if b == nil || !b.expires.Add(grace).After(now) {
		return nil
	}
	return b
}

// put stores b in place of whatever had its contact, its source or its token. It
// reports whether there was room.
func (t *bindings) put(b *binding) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(t.byContact[contactKey{b.impi, b.contact}])
	t.drop(t.bySource[b.source])
	t.drop(t.byToken[b.token])
	if len(t.byToken) >= t.max {
		return false
	}
	t.byToken[b.token] = b
	t.bySource[b.source] = b
	t.byContact[contactKey{b.impi, b.contact}] = b
	return true
}

// remove takes b out, unless it has been replaced.
func (t *bindings) remove(b *binding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(b)
}

func (t *bindings) drop(b *binding) {
	if b == nil || t.byToken[b.token] != b {
		return
	}
	delete(t.byToken, b.token)
	delete(t.bySource, b.source)
	delete(t.byContact, contactKey{b.impi, b.contact})
}

// sweep drops what has run out and returns how many are left.
func (t *bindings) sweep(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.byToken {
		if alive(b, now) == nil {
			t.drop(b)
		}
	}
	return len(t.byToken)
}

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newToken makes a user part that nobody can guess: 80 random bits.
func newToken() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return tokenEncoding.EncodeToString(b[:])
}

// len returns how many contacts there are.
func (t *bindings) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byToken)
}
