package transport

import "sync"

// Hold has datagrams wait for Release, so that what belongs together leaves in one
// call, on the goroutine of who called. Each Hold needs its Release, before long:
// other senders' datagrams wait as well.
func (t *Transport) Hold() {
	t.held.mu.Lock()
	t.held.holders++
	t.held.mu.Unlock()
}

// Release writes what has waited, also what was sent under the Hold of others. It
// does not wait for a socket that cannot write.
func (t *Transport) Release() {
	h := &t.held
	h.mu.Lock()
	h.holders--
	if len(h.sockets) == 0 {
		h.mu.Unlock()
		return
	}
	sockets := h.sockets
	h.sockets = h.spare[:0]
	h.spare = nil
	h.mu.Unlock()
	for i, s := range sockets {
		sockets[i] = nil
		s.flushNow()
	}
	h.mu.Lock()
	h.spare = sockets[:0]
	h.mu.Unlock()
}

// held are the sockets that have something to write when they are released. Its lock
// is taken within a socket's.
type held struct {
	mu      sync.Mutex
	holders int
	sockets []*socket // each once: its writing is true
	spare   []*socket
}

// add enters a socket, or reports false when nobody holds.
func (h *held) add(s *socket) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holders == 0 {
		return false
	}
	h.sockets = append(h.sockets, s)
	return true
}
