package scscf

import (
	"errors"
	"sync"
)

// turns lets the REGISTERs of one private identity tell the HSS one after the
// other: with two of them at once, what the HSS holds in the end could be another
// thing than what is registered here. The end of a registration that is told, and a
// profile that the HSS pushes, have a turn as well. Its methods may be called from any
// goroutine.
type turns struct {
	mu      sync.Mutex
	waiting map[string][]func() // by IMPI whose turn is taken
	ended   map[string]error    // of them, those whose registration the HSS has ended since it was asked, and how
}

// maxWaiting bounds the REGISTERs of one private identity that wait. A phone sends
// one at a time (RFC 3261 10.2).
const maxWaiting = 8

func newTurns() *turns { return &turns{waiting: map[string][]func(){}, ended: map[string]error{}} }

// take runs f, at once or when those before have called done. f must not block,
// and must see to it that done is called. It is false when too many wait.
func (t *turns) take(impi string, f func()) bool {
	t.mu.Lock()
	list, taken := t.waiting[impi]
	switch {
	case !taken:
		t.waiting[impi] = nil
		t.mu.Unlock()
		f()
		return true
	case len(list) < maxWaiting:
		t.waiting[impi] = append(list, f)
		t.mu.Unlock()
		return true
	}
	t.mu.Unlock()
	return false
}

// done gives the turn to the next.
func (t *turns) done(impi string) {
	t.mu.Lock()
	delete(t.ended, impi)
	list := t.waiting[impi]
	if len(list) == 0 {
		delete(t.waiting, impi)
		t.mu.Unlock()
		return
	}
	next := list[0]
	t.waiting[impi] = list[1:]
	t.mu.Unlock()
	next()
}

// busy reports whether somebody has the turn.
func (t *turns) busy(impi string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, taken := t.waiting[impi]
	return taken
}

// What the HSS has done since it was asked.
var (
	errEnded     = errors.New("the HSS has ended the registration meanwhile")
	errElsewhere = errors.New("the HSS has given the registration to another S-CSCF meanwhile")
)

// end notes that the HSS ends the registrations of private identities, by one of the errors
// above: what it has been asked in their turns counts no more. Who is elsewhere stays there.
func (t *turns) end(how error, impis ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, impi := range impis {
		if _, taken := t.waiting[impi]; taken && !errors.Is(t.ended[impi], errElsewhere) {
			t.ended[impi] = how
		}
	}
}

// asks notes that who has the turn asks the HSS now.
func (t *turns) asks(impi string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.ended, impi)
}

// unlessEnded runs f, which must not block nor call turns, and returns the error of end where
// the HSS has ended the registration. An end that comes later finds what f has done.
func (t *turns) unlessEnded(impi string, f func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if how := t.ended[impi]; how != nil {
		return how
	}
	return f()
}
