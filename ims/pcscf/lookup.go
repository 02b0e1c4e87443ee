package pcscf

import (
	"slices"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// ofToken returns the binding of a Path or Record-Route entry, nil if there is none.
func (t *bindings) ofToken(token string, now time.Time) *binding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return living(t.byToken[token], now)
}

// ofFlow returns the binding of the phone that sends over f, nil if there is none:
// the one that registered from there, or whose contact that is.
func (t *bindings) ofFlow(f sip.Flow, now time.Time) *binding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	b := t.bySource[sourceOf(f)]
	if b != nil && b.flow.Conn != f.Conn {
		b = nil // its connection has ended: who has its port of a NAT now is somebody else
	}
	if b := t.there(b, now); b != nil {
		return b
	}
	return t.there(t.byAt[f.Remote], now)
}

// there returns b, or if it has a better one the contact of its private identity at the
// same place.
func (t *bindings) there(b *binding, now time.Time) *binding {
	if b == nil {
		return nil
	}
	return t.best(living(b, now), b.impi, now, b.samePlace)
}

// samePlace reports whether o is reached where b is.
func (b *binding) samePlace(o *binding) bool {
	return o.flow == b.flow || o.at.IsValid() && o.at == b.at
}

// ofPhone returns the binding of a phone that is known by its SA sets: of several
// contacts the best, and of those the latest.
func (t *bindings) ofPhone(k phoneKey, now time.Time) *binding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.best(living(t.byPhone[k], now), k.impi, now, func(o *binding) bool { return o.phone == k })
}

// best returns b, or the contact of a private identity here that speaks for the phone
// rather than b: one that is registered, and of those one that is not for emergencies. What
// is begun by it lasts when the emergency registration has run out. nil is none.
func (t *bindings) best(b *binding, impi string, now time.Time, here func(*binding) bool) *binding {
	rank := b.speaks(now)
	if rank == registeredAsUsual {
		return b
	}
	out := b
	for o := range t.byIMPI[impi].all {
		if r := o.speaks(now); o != b && r > notRegistered && here(o) && (r > rank || r == rank && out != b) {
			out, rank = o, r
		}
	}
	return out
}

// How well a contact speaks for its phone.
const (
	notRegistered = iota
	registeredForEmergencies
	registeredAsUsual
)

func (b *binding) speaks(now time.Time) int {
	switch {
	case b == nil || !b.registered(now):
		return notRegistered
	case isEmergency(b.contact):
		return registeredForEmergencies
	}
	return registeredAsUsual
}

// emergencyOf returns b if it is an emergency contact, else the latest one beside it that is
// registered, or b where there is none: an emergency call is its affair (TS 24.229
// 5.1.6.8.3).
func (t *bindings) emergencyOf(b *binding, now time.Time) *binding {
	if isEmergency(b.contact) {
		return b
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := b
	for o := range t.byIMPI[b.impi].all {
		if o.speaks(now) == registeredForEmergencies && (b.phone != phoneKey{} && o.phone == b.phone || b.phone == phoneKey{} && b.samePlace(o)) {
			out = o
		}
	}
	return out
}

// untilOfPhone is when the last of what is registered over a phone's SA sets runs out.
func (t *bindings) untilOfPhone(k phoneKey) (until time.Time) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for o := range t.byIMPI[k.impi].all {
		if u := o.until(); o.phone == k && u.After(until) {
			until = u
		}
	}
	return until
}

// ofContact returns the binding of a private identity's contact, however that is written.
func (t *bindings) ofContact(impi, contact string, now time.Time) *binding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return living(t.byIMPI[impi].find(contact), now)
}

// hasToken reports whether a token is of one of a private identity's contacts.
func (t *bindings) hasToken(impi, token string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	b := t.byToken[token]
	return b != nil && b.impi == impi
}

// of returns the bindings of a private identity.
func (t *bindings) of(impi string) []*binding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(t.byIMPI[impi].all)
}

// has reports whether a private identity has a contact, if only for a while yet.
func (t *bindings) has(impi string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byIMPI[impi].first != nil
}

func living(b *binding, now time.Time) *binding {
	if b == nil || !b.alive(now) {
		return nil
	}
	return b
}
