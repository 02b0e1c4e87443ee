package esp

import "sync"

// maxWarm is how many transforms have their keys expanded: those of more phones than
// send at a time, in some 3 MiB. Who comes anew has another expand his again with the
// next packet (BenchmarkExpand).
const maxWarm = 2048

// forgotten is the place of a transform whose set has ended.
const forgotten = -1

// warm is the transforms whose keys are expanded. The first to go is the oldest that
// was not used since it was last looked at. The zero warm is ready.
type warm struct {
	mu   sync.Mutex
	ring []*Transform // nil where one has left
	hand int          // where the search goes on
}

// add takes in a transform that has expanded its keys, in the place of another when
// there are too many. One whose set has ended has them for the packet in hand alone.
func (w *warm) add(t *Transform) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.place == forgotten {
		return
	}
	if len(w.ring) < maxWarm {
		t.place = len(w.ring)
		w.ring = append(w.ring, t)
		return
	}
	for range maxWarm { // few: each look takes away what a packet has given
		if o := w.ring[w.hand]; o == nil || !o.used.Swap(false) {
			break
		}
		w.hand = (w.hand + 1) % maxWarm
	}
	if o := w.ring[w.hand]; o != nil {
		o.ready.Store(nil)
	}
	w.ring[w.hand], t.place = t, w.hand
	w.hand = (w.hand + 1) % maxWarm
}

// forget lets go of a transform whose set has ended.
func (w *warm) forget(t *Transform) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.place != forgotten && t.place < len(w.ring) && w.ring[t.place] == t {
		w.ring[t.place] = nil
		t.ready.Store(nil)
	}
	t.place = forgotten
}
