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
