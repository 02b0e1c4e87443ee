package transaction

import (
	"runtime"
	"testing"
)

// TestPastMemory has chunks come and go, a few and so many that they need slabs.
func TestPastMemory(t *testing.T) {
	type chunk struct {
		mem  []byte
		home *slab
	}
	var m pastMemory
	defer m.close()
	take := func(n int) (all []chunk) {
		for i := range n {
			c := chunk{}
			c.mem, c.home = m.take()
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
	give(few)
	give(many[3:5])
	if again := take(2); again[0].home != many[3].home || m.heap != 0 {
		t.Fatal("a slab that has room was not used")
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
	if len(m.slabs) != 1 || m.idle != nil {
		t.Fatalf("%d slabs when nothing is kept, want the one in use", len(m.slabs))
	}
	m.close()
	if len(m.slabs) != 0 {
		t.Fatal("closed, and slabs left")
	}
}
