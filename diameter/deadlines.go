package diameter

import (
	"sync"
	"time"
)

// deadlines ends calls whose time is over. Nearly all requests of a node have the
// same time-out, so its calls are a list in the order of their deadlines, and one
// runtime timer watches its head: beginning and ending a call costs no timer of the
// runtime's heap.
type deadlines struct {
	mu          sync.Mutex
	first, last *call
	timer       *time.Timer
	at          time.Time // when timer fires, zero when it does not
}

// maxSearch is how many calls are passed to find a place in the list. A call that
// belongs farther away has a timer of its own.
const maxSearch = 32

// add sees to it that k.expired is called at k.deadline, on a goroutine of its own,
// unless remove is called before.
func (d *deadlines) add(k *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := d.last
	for passed := 0; after != nil && after.deadline.After(k.deadline); passed++ {
		if passed == maxSearch {
			k.timer = time.AfterFunc(time.Until(k.deadline), k.expired)
			return
		}
		after = after.before
	}
	k.listed, k.before = true, after
	if after == nil {
		k.after, d.first = d.first, k
	} else {
		k.after, after.after = after.after, k
	}
	if k.after == nil {
		d.last = k
	} else {
		k.after.before = k
	}
	if d.at.IsZero() || k.deadline.Before(d.at) {
		d.arm(k.deadline)
	}
}

func (d *deadlines) arm(at time.Time) {
	d.at = at
	if wait := time.Until(at); d.timer == nil {
		d.timer = time.AfterFunc(wait, d.fire)
	} else {
		d.timer.Reset(wait)
	}
}

// remove forgets a call. The timer stays as it is: when it fires too early it is
// set again.
func (d *deadlines) remove(k *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
	}
	d.unlink(k)
}

func (d *deadlines) unlink(k *call) {
	if !k.listed {
		return
	}
	if k.before == nil {
		d.first = k.after
	} else {
		k.before.after = k.after
	}
	if k.after == nil {
		d.last = k.before
	} else {
		k.after.before = k.before
	}
	k.listed, k.before, k.after = false, nil, nil
}

// fire ends the calls whose time is over.
func (d *deadlines) fire() {
	var over []*call
	d.mu.Lock()
	now := time.Now()
	for k := d.first; k != nil && !k.deadline.After(now); k = d.first {
		d.unlink(k)
		over = append(over, k)
	}
	d.at = time.Time{}
	if d.first != nil {
		d.arm(d.first.deadline)
	}
	d.mu.Unlock()
	for _, k := range over {
		k.expired()
	}
}
