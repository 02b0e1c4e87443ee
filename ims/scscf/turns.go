package scscf

import "sync"

// turns lets the REGISTERs of one private identity tell the HSS one after the
// other: with two of them at once, what the HSS holds in the end could be another
// thing than what is registered here. Its methods may be called from any goroutine.
type turns struct {
	mu      sync.Mutex
	waiting map[string][]func() // by IMPI whose turn is taken
}

// maxWaiting bounds the REGISTERs of one private identity that wait. A phone sends
// one at a time (RFC 3261 10.2).
const maxWaiting = 8

func newTurns() *turns { return &turns{waiting: map[string][]func(){}} }

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
