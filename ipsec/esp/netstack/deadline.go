package netstack

import (
	"sync"
	"time"
)

// deadline wakes those who wait on a condition when a time has come. Its mutex is
// the condition's.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set changes the deadline. The caller holds cond.L.
func (d *deadline) set(t time.Time, cond *sync.Cond) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			cond.L.Lock()
			defer cond.L.Unlock()
			cond.Broadcast()
		})
	}
	cond.Broadcast()
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// connDeadline is that of a connection: a channel that closes at a time. It is made when
// somebody waits, or sets a time.
type connDeadline struct {
	passes func() // called when the time comes; nil for nobody

	mu    sync.Mutex
	ch    chan struct{}
	timer *time.Timer
}

func (d *connDeadline) expired() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ch == nil {
		d.ch = make(chan struct{})
	}
	return d.ch
}

func (d *connDeadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.ch:
		return true
	default: // or there is none
		return false
	}
}

func (d *connDeadline) set(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		d.ch = nil // its timer closes the old one
	}
	d.timer = nil
	select {
	case <-d.ch:
		d.ch = nil
	default:
	}
	if t.IsZero() {
		return nil
	}
	if d.ch == nil {
		d.ch = make(chan struct{})
	}
	ch := d.ch
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { d.pass(ch) })
	} else {
		d.pass(ch)
	}
	return nil
}

// pass may be called with d.mu held.
func (d *connDeadline) pass(ch chan struct{}) {
	close(ch)
	if d.passes != nil {
		d.passes()
	}
}
