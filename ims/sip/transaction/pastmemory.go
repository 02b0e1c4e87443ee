package transaction

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
)

// pastMemory is where the shards of a layer have the chunks of their past from. The first
// few are of the heap, so that a core with little to do takes no more than it needs. What
// is beyond stands in slabs beside it: it does not count as live there, of which the
// collector would let as much garbage again pile up, and a slab is one page of memory where
// the system has such large ones, which a page at a time is dear to get on virtual machines.
type pastMemory struct {
	octets atomic.Int64 // of chunks of the heap that are in use, and of all slabs

	mu    sync.Mutex
	heap  int    // chunks of the heap that are in use
	spare []byte // another one
	slabs []*slab
	idle  *slab // one of them, without a chunk in use: whoever comes and goes need not map it anew
}

// slab is memory for slabChunks chunks that are not of the heap.
type slab struct {
	mem  []byte
	free uint32 // set of its chunks that nobody uses
}

const (
	slabSize   = 2 << 20 // of a large page on x86-64, and on ARM with pages of 4 KiB
	slabChunks = slabSize / pastChunk
	allFree    = 1<<slabChunks - 1
)

// heapChunks is how many chunks are of the heap before there are slabs.
var heapChunks = 16

// guard, unless nil, is told of each chunk of a slab whether it is free: tests have the
// system end whoever touches one that is.
var guard func(chunk []byte, free bool)

// take returns memory for a chunk, and the slab that it is of; nil is the heap. It is not
// zeroed. There is none, nil, where all would take more than so many octets.
func (m *pastMemory) take(most int64) ([]byte, *slab) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.slabs {
		if s.free != 0 && s != m.idle {
			return m.cut(s), s
		}
	}
	if s := m.idle; s != nil {
		m.idle = nil
		return m.cut(s), s
	}
	if m.heap >= heapChunks && m.octets.Load()+slabSize <= most {
		if mem, err := mapSlab(); err == nil { // else the system gives no more so, or never does
			s := &slab{mem: mem, free: allFree}
			m.slabs = append(m.slabs, s)
			m.octets.Add(slabSize)
			return m.cut(s), s
		}
	}
	if m.octets.Load()+pastChunk > most {
		return nil, nil
	}
	m.heap++
	m.octets.Add(pastChunk)
	c := m.spare
	if m.spare = nil; c == nil {
		c = make([]byte, pastChunk)
	}
	return c, nil
}

func (m *pastMemory) cut(s *slab) []byte {
	n := bits.TrailingZeros32(s.free)
	s.free &^= 1 << n
	c := s.mem[n*pastChunk : (n+1)*pastChunk : (n+1)*pastChunk]
	if guard != nil {
		guard(c, false)
	}
	return c
}

// giveBack takes a chunk back. What it held must not be read any more: its memory may be
// gone.
func (m *pastMemory) giveBack(chunk []byte, s *slab) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s == nil {
		m.heap--
		m.octets.Add(-pastChunk)
		m.spare = chunk
		return
	}
	for n := range slabChunks {
		if &s.mem[n*pastChunk] == &chunk[0] {
			s.free |= 1 << n
		}
	}
	if guard != nil {
		guard(chunk, true)
	}
	switch {
	case s.free != allFree:
	case m.idle == nil:
		m.idle = s
	default:
		m.release(s)
	}
}

// release gives a slab back to the system.
func (m *pastMemory) release(s *slab) {
	i := slices.Index(m.slabs, s)
	m.slabs = slices.Delete(m.slabs, i, i+1)
	m.octets.Add(-slabSize)
	unmapSlab(s.mem)
	s.mem = nil
}

// rest is for a shard that has no chunk any more: where no other has one of a slab, none
// is kept for whoever comes.
func (m *pastMemory) rest() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.idle != nil && len(m.slabs) == 1 {
		m.release(m.idle)
		m.idle = nil
	}
	m.spare = nil
}

// close gives back all, whatever it holds.
func (m *pastMemory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.slabs) > 0 {
		m.release(m.slabs[0])
	}
	m.idle, m.spare = nil, nil
}
