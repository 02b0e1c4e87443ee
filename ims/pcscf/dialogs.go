package pcscf

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/uri"
)

// dialogKey names a dialog of a phone: the phone's tag is local, whichever side
// it is on.
type dialogKey struct{ impi, callID, local, remote string }

// dialog is what we remember of a dialog, so that the phone sends nothing outside
// of its dialogs, and nothing past the core (TS 24.229 5.2.6.3.4, 5.2.6.3.5).
type dialog struct {
	key    dialogKey
	routes []string // the phone's route set behind our own entries
	target string   // where routes is empty: the remote target
	icid   string   // of the request that made it

	call         bool      // there is a session, or one is being set up
	early        bool      // no 2xx has been heard yet, which would tell of it once more
	subscription bool      // SUBSCRIBE or REFER has made one
	itself       bool      // the phone's subscription to its own registration
	until        time.Time // when it is forgotten; zero while it lasts
}

const (
	// lingering is how long an ended dialog is still known, for what was sent
	// before its end: 64·T1 on Gm (TS 24.229 7.7).
	lingering = 128 * time.Second
	// maxDialogs bounds those of one private identity (see leastMissed).
	maxDialogs = 64
	// maxForks bounds those of one request: whoever is called may answer with as
	// many tags as he likes, and must push nobody's other dialogs out.
	maxForks = 16
	// maxRoutes bounds the octets of one route set, or of the remote target in its place.
	maxRoutes = 8 << 10
)

// dialogs holds the dialogs of all phones. Its methods may be called from any
// goroutine.
//
// They are filed under a hash of their keys: a map takes twice the room for as many once
// some ten times as many have come and gone, and a key itself is 64 octets. That two agree
// will not happen, and would cost the older dialog.
type dialogs struct {
	seed maphash.Seed

	mu     sync.Mutex
	byKey  map[uint64]*dialog
	byUser map[string][]*dialog // by IMPI, the oldest first
	asking map[dialogKey]int    // SUBSCRIBEs under way of phones to their own registration, without the remote tag
}

func newDialogs() *dialogs {
	return &dialogs{seed: maphash.MakeSeed(), byKey: map[uint64]*dialog{}, byUser: map[string][]*dialog{}, asking: map[dialogKey]int{}}
}

func (t *dialogs) hash(k dialogKey) uint64 { return maphash.Comparable(t.seed, k) }

// get returns the dialog with that key, nil if there is none.
func (t *dialogs) get(k dialogKey) *dialog {
	if d := t.byKey[t.hash(k)]; d != nil && d.key == k {
		return d
	}
	return nil
}

// drop files a dialog no more.
func (t *dialogs) drop(d *dialog) {
	if h := t.hash(d.key); t.byKey[h] == d {
		delete(t.byKey, h)
	}
}

// learn notes a dialog, or what is new of it, and returns its key, which holds nothing of
// the message that it was found in. It reports false for one that is too big to be
// remembered.
func (t *dialogs) learn(d dialog) (dialogKey, bool) {
	size := len(d.target)
	for _, r := range d.routes {
		size += len(r)
	}
	if size > maxRoutes {
		return dialogKey{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.get(d.key); old != nil {
		if !slices.Equal(old.routes, d.routes) || d.target != "" && old.target != d.target { // a 2xx mostly says what a 180 has said
			n := d.own()
			old.routes, old.target = n.routes, n.target
		}
		old.call, old.subscription = old.call || d.call, old.subscription || d.subscription
		old.early = old.early && d.early
		old.until = time.Time{}
		return old.key, true
	}
	n := d.own()
	h := t.hash(n.key)
	if o := t.byKey[h]; o != nil {
		t.unlist(o)
	}
	list := t.byUser[d.key.impi]
	if len(list) > 0 { // all of a user share one, which is no part of a registration that has been refreshed since
		n.key.impi = list[0].key.impi
	} else {
		n.key.impi = strings.Clone(d.key.impi)
	}
	if len(list) >= maxDialogs {
		i := leastMissed(list)
		t.drop(list[i])
		list = slices.Delete(list, i, i+1)
	}
	t.byKey[h] = n
	t.byUser[n.key.impi] = append(list, n)
	return n.key, true
}

// leastMissed is which dialog of a user, who has as many as he may have, makes room for
// another: the oldest that has ended; of more that are early than one request may make, for
// whoever calls makes those, and a 2xx tells of them once more; of the subscriptions, which
// phones make anew, and at last the one to his own registration, by which the network ends
// it. A call that is up cannot be made anew.
func leastMissed(list []*dialog) int {
	early := 0
	for _, d := range list {
		if d.early {
			early++
		}
	}
	for _, goes := range []func(*dialog) bool{
		func(d *dialog) bool { return !d.until.IsZero() },
		func(d *dialog) bool { return d.early && early > maxForks },
		func(d *dialog) bool { return !d.call && !d.itself },
		func(d *dialog) bool { return d.early },
		func(d *dialog) bool { return !d.call },
	} {
		if i := slices.IndexFunc(list, goes); i >= 0 {
			return i
		}
	}
	return 0
}

// own returns d without a hold on the message that it was found in. Its texts are one
// string: they live and die together.
func (d *dialog) own() *dialog {
	size := len(d.key.callID) + len(d.key.local) + len(d.key.remote) + len(d.icid) + len(d.target)
	for _, r := range d.routes {
		size += len(r)
	}
	var b strings.Builder
	b.Grow(size)
	keep := func(s string) string {
		at := b.Len()
		b.WriteString(s)
		return b.String()[at:]
	}
	n := &dialog{call: d.call, early: d.early, subscription: d.subscription, itself: d.itself}
	n.key = dialogKey{d.key.impi, keep(d.key.callID), keep(d.key.local), keep(d.key.remote)}
	n.icid, n.target = keep(d.icid), keep(d.target)
	n.routes = make([]string, len(d.routes))
	for i, r := range d.routes {
		n.routes[i] = keep(r)
	}
	return n
}

// find returns a copy of a dialog.
func (t *dialogs) find(k dialogKey, now time.Time) (dialog, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.get(k)
	if d == nil || !d.until.IsZero() && d.until.Before(now) {
		return dialog{}, false
	}
	return *d, true
}

// subscribed notes that a dialog has a subscription.
func (t *dialogs) subscribed(k dialogKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.get(k); d != nil {
		d.subscription, d.until = true, time.Time{}
	}
}

// ended notes the end of the session or of the subscription in a dialog. The
// dialog ends with the last of them (RFC 5057 4.1).
func (t *dialogs) ended(k dialogKey, call bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.get(k)
	if d == nil {
		return
	}
	if call {
		d.call = false
	} else {
		d.subscription = false
	}
	if !d.call && !d.subscription && d.until.IsZero() {
		d.until = now.Add(lingering)
	}
}

// lasts reports whether some dialog of a private identity has not ended.
func (t *dialogs) lasts(impi string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.byUser[impi], func(d *dialog) bool { return d.until.IsZero() })
}

// known reports whether some dialog of a private identity is remembered.
func (t *dialogs) known(impi string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byUser[impi]) > 0
}

// forget drops the dialogs of a private identity.
func (t *dialogs) forget(impi string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.byUser[impi] {
		t.drop(d)
	}
	delete(t.byUser, impi)
}

// sweep drops what has ended and returns how many are left.
func (t *dialogs) sweep(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h, d := range t.byKey {
		if d.until.IsZero() || d.until.After(now) {
			continue
		}
		delete(t.byKey, h)
		t.unlist(d)
	}
	return len(t.byKey)
}

// unlist takes a dialog out of its user's.
func (t *dialogs) unlist(d *dialog) {
	list := slices.DeleteFunc(t.byUser[d.key.impi], func(o *dialog) bool { return o == d })
	if t.byUser[d.key.impi] = list; len(list) == 0 {
		delete(t.byUser, d.key.impi)
	}
}

// keyFromPhone names the dialog of a request that the phone sends.
func keyFromPhone(b *binding, m *sip.Message) dialogKey {
	return dialogKey{b.impi, m.CallID(), m.FromTag(), m.ToTag()}
}

// keyToPhone names the dialog of a request that comes for the phone.
func keyToPhone(b *binding, m *sip.Message) dialogKey {
	return dialogKey{b.impi, m.CallID(), m.ToTag(), m.FromTag()}
}

// behindUs splits a route set of a phone behind the entries at its head that stand
// for us: without a user part, or with a token of the phone's own: its other contact's, by
// which the dialog may have begun. Those with another token are of another phone, and far
// from here as the route goes.
func (s *Server) behindUs(routes []string, b *binding) (rest []string, ours int) {
	for ours < len(routes) {
		u, err := uri.Parse(addressURI(routes[ours]))
		if err != nil || !s.core.IsSelf(u) || u.User != "" && u.User != b.token && !s.bindings.hasToken(b.impi, u.User) {
			break
		}
		ours++
	}
	return routes[ours:], ours
}
