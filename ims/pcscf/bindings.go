package pcscf

import (
	"net/netip"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// sourceKey is from where requests come. UDP and TCP ports are mapped apart by a
// NAT: the same number may be two phones. With IPsec so may the same address, and
// our own port tells them apart. It is kept small: there is one for each phone.
type sourceKey struct {
	addr   netip.Addr
	port   uint16
	local  uint16 // the protected port, all of which are at one address; 0 for the open one
	stream bool
}

func sourceOf(f sip.Flow) sourceKey {
	k := sourceKey{addr: f.Remote.Addr(), port: f.Remote.Port(), stream: f.Proto.Stream()}
	if f.Role == sip.RoleProtectedServer || f.Role == sip.RoleProtectedClient {
		k.local = f.Local.Port()
	}
	return k
}

// bindings holds the registered contacts. Its methods may be called from any
// goroutine.
type bindings struct {
	max int
	// left is told of a private identity whose last contact is gone; it must not
	// call back.
	left func(impi string)

	mu       sync.RWMutex
	reserved int // places for contacts whose REGISTERs are under way
	byToken  map[string]*binding
	bySource map[sourceKey]*binding
	byAt     map[netip.AddrPort]*binding
	byIMPI   map[string]contacts
	byPhone  map[phoneKey]*binding // the latest of a phone with SA sets
}

func newBindings(limit int, left func(impi string)) *bindings {
	return &bindings{
		max: limit, left: left, byToken: map[string]*binding{}, bySource: map[sourceKey]*binding{},
		byAt: map[netip.AddrPort]*binding{}, byIMPI: map[string]contacts{},
		byPhone: map[phoneKey]*binding{},
	}
}

// full reports whether there is no room for another contact.
func (t *bindings) full() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byToken)+t.reserved >= t.max
}

// reserve keeps a place for another contact, for putReserved or release. It reports
// whether there was one.
func (t *bindings) reserve() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.byToken)+t.reserved >= t.max {
		return false
	}
	t.reserved++
	return true
}

// release gives a reserved place back.
func (t *bindings) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reserved--
}

// put stores b in place of whatever had its contact, its token, or the address
// that it sends from or is reached at: that address is now another phone's, which
// must not get the calls of the one before. It reports whether there was room.
func (t *bindings) put(b *binding) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.store(b)
}

// putReserved is put to a reserved place.
func (t *bindings) putReserved(b *binding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reserved--
	t.store(b)
}

func (t *bindings) store(b *binding) bool {
	var room [4]*binding
	gone := room[:0] // a list must not change while it is gone through
	for o := range t.byIMPI[b.impi].all {
		if o.isAt(b.contact) || b.takes(o) && isEmergency(o.contact) == isEmergency(b.contact) {
			gone = append(gone, o)
		}
	}
	for _, o := range gone {
		t.drop(o, b)
	}
	t.drop(t.byToken[b.token], b)
	source := sourceOf(b.flow)
	for o := t.bySource[source]; o != nil && o.impi != b.impi; o = t.bySource[source] {
		t.drop(o, b)
	}
	at := [2]netip.AddrPort{b.at}
	if b.phone == (phoneKey{}) {
		at[1] = b.source
	}
	for _, at := range at {
		for o := t.byAt[at]; o != nil && o.impi != b.impi; o = t.byAt[at] {
			t.drop(o, b)
		}
	}
	if of := t.byIMPI[b.impi]; of.len() >= maxContactsOfOne {
		t.drop(of.first, b) // the one that has not registered for longest
	}
	if len(t.byToken)+t.reserved >= t.max {
		return false
	}
	t.byToken[b.token] = b
	t.bySource[sourceOf(b.flow)] = b
	if b.at.IsValid() {
		t.byAt[b.at] = b
	}
	if b.phone != (phoneKey{}) {
		t.byPhone[b.phone] = b
	}
	t.byIMPI[b.impi] = t.byIMPI[b.impi].with(b)
	return true
}

// end ends the registration of the set of that name at a contact. The contact is
// reached for a while longer. It reports whether it was registered until now.
func (t *bindings) end(b *binding, name string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byToken[b.token] != b { // replaced meanwhile
		return false
	}
	ended, was := b.without(name, now)
	if was {
		t.replace(b, ended)
	}
	return was
}

// replace puts b where old was.
func (t *bindings) replace(old, b *binding) {
	t.byToken[b.token] = b
	if k := sourceOf(b.flow); t.bySource[k] == old {
		t.bySource[k] = b
	}
	if t.byAt[b.at] == old {
		t.byAt[b.at] = b
	}
	if t.byPhone[b.phone] == old {
		t.byPhone[b.phone] = b
	}
	t.byIMPI[b.impi] = t.byIMPI[b.impi].replaced(old, b)
}

// closed takes the connection away from the phone that registered over it: its
// address and port may be somebody else's soon. The phone is still reached, by
// its contact.
func (t *bindings) closed(f sip.Flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, at := t.bySource[sourceOf(f)], t.byAt[f.Remote]
	if b != nil && b.flow == f {
		delete(t.bySource, sourceOf(f))
	}
	for _, b := range [2]*binding{b, at} {
		if b != nil {
			letGo(t.byIMPI[b.impi], f) // whichever contact speaks for the phone
		}
	}
}

// letGo has contacts that dialled f for what does not fit a datagram have it no more.
func letGo(of contacts, f sip.Flow) {
	for o := range of.all {
		if open := o.stream.Load(); open != nil && *open == f {
			o.stream.CompareAndSwap(open, nil)
		}
	}
}

// drop takes b out. next, unless nil, is the contact that will be stored then.
func (t *bindings) drop(b, next *binding) {
	if b == nil || t.byToken[b.token] != b {
		return
	}
	delete(t.byToken, b.token)
	list := t.byIMPI[b.impi].without(b)
	again := next != nil && next.impi == b.impi
	if !again || next.flow != b.flow {
		letGo(list, b.flow) // nobody would find them when that has ended
	}
	if k := sourceOf(b.flow); t.bySource[k] == b {
		delete(t.bySource, k)
		for o := range list.all { // the phone's other contact at the same place
			if o.flow == b.flow {
				t.bySource[k] = o
			}
		}
	}
	if t.byAt[b.at] == b {
		delete(t.byAt, b.at)
		for o := range list.all {
			if o.at == b.at {
				t.byAt[b.at] = o
			}
		}
	}
	if t.byPhone[b.phone] == b {
		delete(t.byPhone, b.phone)
	}
	if list.first != nil {
		t.byIMPI[list.first.impi] = list // the key is a part of what is still there
		return
	}
	delete(t.byIMPI, b.impi)
	if !again {
		t.left(b.impi)
	}
}

// sweep drops what has run out and returns how many are left.
func (t *bindings) sweep(now time.Time) int {
	var out []*binding
	t.mu.RLock() // looking takes long, and must not keep others from looking
	for _, b := range t.byToken {
		if !b.alive(now) {
			out = append(out, b)
		}
	}
	t.mu.RUnlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range out {
		t.drop(b, nil)
	}
	return len(t.byToken)
}

// len returns how many contacts there are.
func (t *bindings) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byToken)
}

// newToken makes a user part that nobody can guess: 80 random bits.
func newToken() string { return sip.NewTag() }
