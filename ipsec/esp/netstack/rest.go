package netstack

import (
	"sync"

	"gvisor.dev/gvisor/pkg/waiter"
)

// rest is a connection's while nobody reads it. Its entry stands in the endpoint's queue,
// which calls with the queue locked, and perhaps the endpoint: nothing of either may be
// used there, nor while mu is held.
type rest struct {
	entry waiter.Entry

	mu    sync.Mutex
	ready func() // to be called; nil while the connection does not rest
}

// NotifyEvent is gVisor's call when something can be read, and at the end.
func (r *rest) NotifyEvent(waiter.EventMask) { r.over() }

// over ends the rest, if there is one.
func (r *rest) over() {
	if ready := r.take(); ready != nil {
		ready()
	}
}

func (r *rest) take() func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	ready := r.ready
	r.ready = nil
	return ready
}

// WhenReadable leaves the connection alone until Read would not wait: ready is then
// called, once. It is false, and ready is not called, where Read would not wait now.
func (c *conn) WhenReadable(ready func()) bool {
	r := &c.rest
	r.mu.Lock()
	r.ready = ready
	r.mu.Unlock()
	// What comes from here on calls; what came before is seen here.
	if !c.readable() {
		return true
	}
	return r.take() == nil // or it has been called meanwhile
}

func (c *conn) readable() bool {
	select {
	case <-c.done:
		return true
	default:
		return c.read.passed() || c.ep.Readiness(waiter.ReadableEvents) != 0
	}
}
