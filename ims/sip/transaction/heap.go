package transaction

// timer is a running or idle timer, part of what it belongs to. The zero value
// is idle.
type timer struct {
	pos  int32 // index in the heap plus 1; 0: idle
	what timerKind
	tx   *tx
	fn   func(arg any)
	arg  any
	use  uint32 // how often the record has been used before
}

type timerKind uint8

const (
	timerFunc timerKind = iota
	timerRetransmit
	timerEnd
	timerPast // a shard's, of what lingers
)

func (t *timer) running() bool { return t.pos != 0 }

// heap is a 4-ary heap of timers by time. Most timers here are set far ahead of
// the others (32 s, 64·T1) and stopped or left at the bottom, which costs a heap
// next to nothing; and unlike a wheel it is exact to the nanosecond.
type heap struct {
	entries  []entry
	reported int
}

type entry struct {
	when int64
	t    *timer
}

// unreported returns by how much the heap has grown since it was last asked.
func (h *heap) unreported() int {
	n := len(h.entries) - h.reported
	h.reported += n
	return n
}

func (h *heap) next() (when int64, ok bool) {
	if len(h.entries) == 0 {
		return 0, false
	}
	return h.entries[0].when, true
}

// set starts t, or moves it when it is running.
func (h *heap) set(t *timer, when int64) {
	if t.pos == 0 {
		h.entries = append(h.entries, entry{when, t})
		h.up(len(h.entries) - 1)
		return
	}
	i := int(t.pos - 1)
	earlier := when < h.entries[i].when
	h.entries[i].when = when
	if earlier {
		h.up(i)
	} else {
		h.down(i)
	}
}

// remove stops t; an idle timer stays as it is.
func (h *heap) remove(t *timer) {
	if t.pos == 0 {
		return
	}
	i := int(t.pos - 1)
	t.pos = 0
	last := len(h.entries) - 1
	moved := h.entries[last]
	h.entries[last] = entry{}
	h.entries = h.entries[:last]
	if i == last {
		return
	}
	h.entries[i] = moved
	if i > 0 && moved.when < h.entries[(i-1)/4].when {
		h.up(i)
	} else {
		h.down(i)
	}
}

// pop removes and returns the first timer due at now, nil when none is.
func (h *heap) pop(now int64) *timer {
	if len(h.entries) == 0 || h.entries[0].when > now {
		return nil
	}
	t := h.entries[0].t
	h.remove(t)
	return t
}

func (h *heap) up(i int) {
	e := h.entries[i]
	for i > 0 {
		p := (i - 1) / 4
		if h.entries[p].when <= e.when {
			break
		}
		h.place(i, h.entries[p])
		i = p
	}
	h.place(i, e)
}

func (h *heap) down(i int) {
	e := h.entries[i]
	for {
		first := 4*i + 1
		if first >= len(h.entries) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(h.entries)); c++ {
			if h.entries[c].when < h.entries[least].when {
				least = c
			}
		}
		if h.entries[least].when >= e.when {
			break
		}
		h.place(i, h.entries[least])
		i = least
	}
	h.place(i, e)
}

func (h *heap) place(i int, e entry) {
	h.entries[i] = e
	e.t.pos = int32(i + 1)
}
