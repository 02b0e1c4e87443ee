package transaction

import "math/bits"

// pastMemory is where the chunks of past are. The first few are of the heap, so that a
// core with little to do takes no more than it needs. What is beyond stands in slabs
// beside it: it does not count as live there, of which the collector would let as much
// garbage again pile up, and a slab is one page of memory where the system has such large
// ones, which a page at a time is dear to get on virtual machines.
type pastMemory struct {
	heap  int // chunks that are of the heap
	slabs []*slab
	idle  *slab // one of them, without a chunk in use: whoever comes and goes need not map it anew
}

// slab is memory for slabChunks chunks that are not of the heap.
type slab struct {
	mem  []byte
	free uint32 // set of its chunks that nobody uses
}

const (
	heapChunks = 16
	slabSize   = 2 << 20 // of a large page on x86-64, and on ARM with pages of 4 KiB
	slabChunks = slabSize / pastChunk
	allFree    = 1<<slabChunks - 1
)

// take returns memory for a chunk, and the slab it is of; nil is the heap. It is not
// zeroed.
func (m *pastMemory) take() ([]byte, *slab) {
	for _, s := range m.slabs {
		if s.free != 0 {
			return m.cut(s), s
		}
	}
	if m.heap >= heapChunks {
		if mem, err := mapSlab(); err == nil { // else the system gives no more so, or never does
			s := &slab{mem: mem, free: allFree}
			m.slabs = append(m.slabs, s)
			return m.cut(s), s
		}
	}
	m.heap++
	return make([]byte, pastChunk), nil
}

func (m *pastMemory) cut(s *slab) []byte {
	if m.idle == s {
		m.idle = nil
	}
	n := bits.TrailingZeros32(s.free)
	s.free &^= 1 << n
	return s.mem[n*pastChunk : (n+1)*pastChunk : (n+1)*pastChunk]
}

// giveBack takes a chunk back. What it held must not be read any more: its memory may be
// gone.
func (m *pastMemory) giveBack(chunk []byte, s *slab) {
	if s == nil {
		m.heap--
		return
	}
	for n := range slabChunks {
		if &s.mem[n*pastChunk] == &chunk[0] {
			s.free |= 1 << n
		}
	}
	if s.free != allFree {
		return
	}
	if m.idle == nil {
		m.idle = s
		return
	}
	m.release(s)
}

// release gives a slab back to the system.
func (m *pastMemory) release(s *slab) {
	for i := range m.slabs {
		if m.slabs[i] == s {
			m.slabs = append(m.slabs[:i], m.slabs[i+1:]...)
			unmapSlab(s.mem)
			return
		}
	}
}

// rest gives back what was kept for whoever comes.
func (m *pastMemory) rest() {
	if m.idle != nil {
		m.release(m.idle)
		m.idle = nil
	}
}

// close gives back all, whatever it holds.
func (m *pastMemory) close() {
	for _, s := range m.slabs {
		unmapSlab(s.mem)
	}
	*m = pastMemory{}
}
