package esp

// window is the anti-replay window of an association (RFC 4303 3.4.3), in the form
// of RFC 6479: a ring of words in which the window slides by clearing words, never
// by shifting bits. The zero window is ready.
type window struct {
	top uint32 // the highest sequence number accepted
	// first is the ring's first word while all numbers are below 64, which is all
	// that a phone sends that registers and rests; ring is nil as long.
	first uint64
	ring  *[windowWords]uint64
}

const (
	windowWords = 8
	// windowSize is one word less than the ring: the word that top stands in may
	// be new and hold next to nothing.
	windowSize = (windowWords - 1) * 64
)

// check reports whether seq is neither used nor too old. Number 0 is never sent.
func (w *window) check(seq uint32) bool {
	switch {
	case seq == 0:
		return false
	case seq > w.top:
		return true
	case w.top-seq >= windowSize:
		return false
	case w.ring == nil:
		return w.first&(1<<seq) == 0
	}
	return w.ring[seq/64%windowWords]&(1<<(seq%64)) == 0
}

// accept marks seq, which check allowed and whose packet proved authentic. It
// reports whether seq is the highest so far.
func (w *window) accept(seq uint32) bool {
	newest := seq > w.top
	if w.ring == nil {
		if seq < 64 {
			w.first |= 1 << seq
			w.top = max(w.top, seq)
			return newest
		}
		w.ring = &[windowWords]uint64{w.first}
	}
	if newest {
		last := w.top / 64
		for i := range min(seq/64-last, windowWords) {
			w.ring[(last+1+i)%windowWords] = 0
		}
		w.top = seq
	}
	w.ring[seq/64%windowWords] |= 1 << (seq % 64)
	return newest
}
