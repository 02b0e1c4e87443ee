package registrar

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"
)

// ErrConflict says that the registration was changed by somebody else since it
// was read: read it again, decide again.
var ErrConflict = errors.New("the registration has changed meanwhile")

// TakenError is an ErrConflict that reading again does not mend: an identity
// belongs to another set.
type TakenError struct {
	Key string        // of the identity
	By  *Registration // as it is now
}

func (e *TakenError) Error() string { return e.Key + " belongs to another implicit registration set" }

// Is makes it an ErrConflict.
func (e *TakenError) Is(target error) bool { return target == ErrConflict }

// ErrFull says that the store holds as many sets as it may, with bindings or without.
var ErrFull = errors.New("the registrar is full")

// Store keeps registrations in memory. Its methods may be called from any
// goroutine. Use New.
type Store struct {
	max     int
	changed func(old, now *Registration, why Cause)
	expired func(*Registration)
	wake    chan struct{}

	mu     sync.RWMutex
	byIMPU map[string]*slot
	byIMPI slots
	sets   int
	active int // of them with bindings
	timers timers
}

// slot is the place of a set in the store; the registration in it changes.
type slot struct {
	now   *Registration
	due   time.Time // when the timer fires, never after now.due()
	index int       // in timers, -1 when not there
}

// Config of a Store.
type Config struct {
	// Max is how many sets with bindings the store holds, 0 for one million. Beside
	// them it holds an eighth as many without, which whoever calls a user brings about:
	// no call keeps a phone from registering.
	Max int
	// Changed is called after each change with what was and what is, nil for
	// absent, and why bindings are gone; one change at a time and in order. It must
	// not call the store, nor block.
	Changed func(old, now *Registration, why Cause)
	// Expired is called by Run for each set of which a binding, or the set itself,
	// is over. It decides what follows and changes the store; until it does, it is
	// asked again after a second.
	Expired func(*Registration)
}

// New returns an empty store.
func New(c Config) *Store {
	if c.Max <= 0 {
		c.Max = 1_000_000
	}
	return &Store{
		max: c.Max, changed: c.Changed, expired: c.Expired,
		wake:   make(chan struct{}, 1),
		byIMPU: make(map[string]*slot), byIMPI: newSlots(),
	}
}

// Get returns the registration of the set that holds the identity with the
// given key, nil when there is none. A lookup by string(bytes) does not allocate.
func (s *Store) Get(key string) *Registration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if at := s.byIMPU[key]; at != nil {
		return at.now
	}
	return nil
}

// OfIMPI returns the registrations of a private identity: one for each implicit
// set of it that is known here.
func (s *Store) OfIMPI(impi string) []*Registration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*Registration
	for at := range s.byIMPI.all(impi) {
		out = append(out, at.now)
	}
	return out
}

// Len returns the number of sets.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sets
}

// Each calls yield for every registration until it returns false. It works on a
// copy of the list; the store may change meanwhile.
func (s *Store) Each(yield func(*Registration) bool) {
	s.mu.RLock()
	seen := make(map[*slot]struct{}, s.sets)
	all := make([]*Registration, 0, s.sets)
	for _, at := range s.byIMPU {
		if _, ok := seen[at]; !ok {
			seen[at] = struct{}{}
			all = append(all, at.now)
		}
	}
	s.mu.RUnlock()
	for _, r := range all {
		if !yield(r) {
			return
		}
	}
}

// Put puts now in the place of old, which is what Get returned, or nil for a new
// set. It returns ErrConflict if the store no longer holds old, a TakenError if an
// identity of now belongs to another set, ErrFull when there is no room.
func (s *Store) Put(old, now *Registration) error {
	if len(now.Identities) == 0 {
		return errors.New("putting a registration: it has no identity")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var at *slot
	if old != nil {
		if at = old.slot; at == nil || at.now != old {
			return ErrConflict
		}
	}
	for _, id := range now.Identities {
		if other := s.byIMPU[id.Key]; other != nil && other != at {
			return &TakenError{Key: id.Key, By: other.now}
		}
	}
	switch registered := now.Registered(); {
	case registered && !old.Registered() && s.active >= s.max,
		!registered && old == nil && s.sets-s.active >= max(1, s.max/8):
		return ErrFull
	}
	if at == nil {
		at = &slot{index: -1}
		s.sets++
	} else {
		s.unlink(at, old)
	}
	s.link(at, now)
	if s.changed != nil {
		s.changed(old, now, now.Cause)
	}
	return nil
}

// Remove takes old, which is what Get returned, out of the store.
func (s *Store) Remove(old *Registration) error { return s.RemoveFor(old, Unregistered) }

// RemoveFor is Remove with another cause than a REGISTER.
func (s *Store) RemoveFor(old *Registration, why Cause) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := old.slot
	if at == nil || at.now != old {
		return ErrConflict
	}
	s.unlink(at, old)
	at.now = nil
	s.sets--
	if at.index >= 0 {
		heap.Remove(&s.timers, at.index)
	}
	if s.changed != nil {
		s.changed(old, nil, why)
	}
	return nil
}

func (s *Store) link(at *slot, r *Registration) {
	r.slot = at
	at.now = r
	if r.Registered() {
		s.active++
	}
	for _, id := range r.Identities {
		s.byIMPU[id.Key] = at
	}
	for _, impi := range r.IMPIs {
		s.byIMPI.add(impi, at)
	}
	// A timer that fires early is set anew then: a refresh costs no heap move.
	due := r.due()
	switch {
	case at.index < 0:
		at.due = due
		heap.Push(&s.timers, at)
	case due.Before(at.due):
		at.due = due
		heap.Fix(&s.timers, at.index)
	default:
		return
	}
	if at.index == 0 {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *Store) unlink(at *slot, r *Registration) {
	if r.Registered() {
		s.active--
	}
	for _, id := range r.Identities {
		delete(s.byIMPU, id.Key)
	}
	for _, impi := range r.IMPIs {
		s.byIMPI.remove(impi, at)
	}
}

// retry is how long Expired has before it is asked again.
const retry = time.Second

// Run calls Expired as bindings run out, until ctx ends.
func (s *Store) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		over, wait := s.takeDue(time.Now())
		for _, r := range over {
			if s.expired != nil {
				s.expired(r)
			}
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
	}
}

// batch bounds what takeDue returns, so that the lock is held for short.
const batch = 256

// takeDue returns sets with something over at now and how long until the next.
func (s *Store) takeDue(now time.Time) (over []*Registration, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.timers) > 0 && len(over) < batch {
		at := s.timers[0]
		if at.due.After(now) {
			return over, at.due.Sub(now)
		}
		if due := at.now.due(); due.After(now) {
			at.due = due
		} else {
			over = append(over, at.now)
			at.due = now.Add(retry)
		}
		heap.Fix(&s.timers, 0)
	}
	if len(s.timers) == 0 {
		return over, time.Hour
	}
	return over, 0
}

// timers is a heap of slots by due time.
type timers []*slot

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}
func (t *timers) Push(x any) {
	at := x.(*slot)
	at.index = len(*t)
	*t = append(*t, at)
}
func (t *timers) Pop() any {
	old := *t
	at := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	at.index = -1
	return at
}
