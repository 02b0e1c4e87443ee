package transaction

import (
	"runtime"
	"testing"
)

// TestPastMemory has chunks come and go, a few and so many that they need slabs.
func TestPastMemory(t *testing.T) {
	const most = 4 * slabSize
	type chunk struct {
		mem  []byte
		home *slab
	}
	before := heapChunks
	heapChunks = 16
	defer func() { heapChunks = before }()
	var m pastMemory
	defer m.close()
	take := func(n int) (all []chunk) {
		for i := range n {
			c := chunk{}
			c.mem, c.home = m.take(most)
			if len(c.mem) != pastChunk || cap(c.mem) != pastChunk {
				t.Fatalf("a chunk of %d octets, room for %d", len(c.mem), cap(c.mem))
			}
			c.mem[0], c.mem[pastChunk-1] = byte(i), byte(i)
			all = append(all, c)
		}
		return all
	}
	give := func(all []chunk) {
		for _, c := range all {
			m.giveBack(c.mem, c.home)
		}
	}
	few := take(heapChunks)
	if m.heap != heapChunks || len(m.slabs) != 0 {
		t.Fatalf("%d chunks are %d of the heap and %d slabs", heapChunks, m.heap, len(m.slabs))
	}
	if runtime.GOOS != "linux" {
		if more := take(slabChunks); m.heap != heapChunks+slabChunks || more[0].home != nil {
			t.Fatal("slabs where there are none")
		}
		return
	}
	many := take(2*slabChunks + 1)
	if m.heap != heapChunks || len(m.slabs) != 3 {
		t.Fatalf("so many more are %d chunks of the heap and %d slabs, want 3", m.heap, len(m.slabs))
	}
	for i, c := range append(few, many...) {
		if want := byte(i % heapChunks); i < heapChunks && c.mem[0] != want {
			t.Fatalf("chunk %d has %d in front, want %d: two share memory", i, c.mem[0], want)
		}
		if want := byte(i - heapChunks); i >= heapChunks && (c.mem[0] != want || c.mem[pastChunk-1] != want) {
			t.Fatalf("chunk %d has %d and %d at its ends, want %d: two share memory", i, c.mem[0], c.mem[pastChunk-1], want)
		}
	}
	if want := int64(heapChunks*pastChunk + 3*slabSize); m.octets.Load() != want {
		t.Fatalf("%d octets are counted, want %d", m.octets.Load(), want)
	}
	give(few)
	give(many[3:5])
	if again := take(2); again[0].home != many[3].home || m.heap != 0 || m.octets.Load() != 3*slabSize {
		t.Fatalf("a slab that has room was not used: %d octets are counted", m.octets.Load())
	}
	many = append(many[:3], many[5:]...) // those two are in use for good
	give(many)
	if len(m.slabs) != 2 || m.idle == nil {
		t.Fatalf("all but two given back: %d slabs, want one in use and one kept", len(m.slabs))
	}
	kept := m.idle
	if next := take(slabChunks - 1); next[slabChunks-2].home != kept || m.idle != nil {
		t.Fatal("the slab that was kept was not used")
	} else {
		give(next)
	}
	m.rest()
	if len(m.slabs) != 2 || m.idle != kept {
		t.Fatalf("%d slabs, want the one in use and the one that is kept as long as there is such a one", len(m.slabs))
	}
	m.close()
	if len(m.slabs) != 0 || m.octets.Load() != int64(m.heap*pastChunk) {
		t.Fatalf("closed, and %d slabs left, %d octets counted", len(m.slabs), m.octets.Load())
	}
}

// TestPastMemoryRests: where nothing lingers, nothing is kept for it.
func TestPastMemoryRests(t *testing.T) {
	var m pastMemory
	defer m.close()
	for range 3 {
		c, home := m.take(slabSize)
		c[0] = 1
		m.giveBack(c, home)
		if m.spare == nil && m.idle == nil {
			t.Error("nothing is kept for whoever comes")
		}
	}
	if m.rest(); m.octets.Load() != 0 || len(m.slabs) != 0 || m.spare != nil {
		t.Errorf("%d octets in %d slabs are kept for nobody", m.octets.Load(), len(m.slabs))
	}
}

// TestPastMemoryIsBounded: no more is taken than is allowed, slabs as they are mapped.
func TestPastMemoryIsBounded(t *testing.T) {
	for _, most := range []int64{0, pastChunk - 1, pastChunk, 5 * pastChunk, slabSize, slabSize + 3*pastChunk} {
		var m pastMemory
		n := int64(0)
		for ; n < 1000; n++ {
			if c, _ := m.take(most); c == nil {
				break
			}
		}
		if n != most/pastChunk || m.octets.Load() > most {
			t.Errorf("of %d octets %d chunks were taken, which count as %d", most, n, m.octets.Load())
		}
		m.close()
	}
}
