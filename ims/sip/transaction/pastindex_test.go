package transaction

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// indexed is a past with so many records of nothing but their hashes, which end in the
// same upper halves now and then.
func indexed(hashes []uint64) *past {
	p := new(past)
	for len(p.chunks)*pastUnits/pastHeader*pastAlign < len(hashes)*2 || len(p.chunks)*(pastChunk/recordSize) < len(hashes) {
		p.chunks = append(p.chunks, make([]byte, pastChunk))
	}
	for i, hash := range hashes {
		place := placeOf(i)
		r := p.chunks[place/pastUnits][place%pastUnits*pastAlign:]
		binary.NativeEndian.PutUint32(r, recordSize)
		binary.NativeEndian.PutUint64(r[8:], hash)
	}
	return p
}

const recordSize = (pastHeader + pastAlign - 1) &^ (pastAlign - 1)

// placeOf is where the record i of indexed is.
func placeOf(i int) uint32 {
	const each = pastChunk / recordSize
	return uint32(i/each)*pastUnits + uint32(i%each)*recordSize/pastAlign
}

// TestPastIndex: the index finds what a map finds, while it grows, shrinks and is full of
// hashes that differ in the lower half alone, or want the same slot.
func TestPastIndex(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	hashes := make([]uint64, 5000)
	for i := range hashes {
		hashes[i] = random.Uint64()
		switch i % 4 {
		case 1: // the same upper half
			hashes[i] = hashes[i-1]>>32<<32 | random.Uint64()>>32
		case 2: // at the end, so that the search goes on at the beginning
			hashes[i] |= 0xffff << 48
		}
	}
	p, model := indexed(hashes), map[uint64]uint32{}
	check := func(step int) {
		if p.index.n != len(model) {
			t.Fatalf("step %d: %d hashes, want %d", step, p.index.n, len(model))
		}
		for i, hash := range hashes {
			if got := p.first(hash); got != model[hash] {
				t.Fatalf("step %d: record %d, hash %x: %d, want %d", step, i, hash, got, model[hash])
			}
		}
	}
	for step := range 60000 {
		i := random.IntN(len(hashes))
		few := step/20000 == 1 // the second third empties it
		hash := hashes[i]
		if at, place := p.lookup(hash); place != 0 && (few || random.IntN(3) == 0) {
			p.index.free(at)
			delete(model, hash)
		} else if !few {
			p.enter(hash, placeOf(i)+1)
			model[hash] = placeOf(i) + 1
		}
		if step%1500 == 0 {
			check(step)
		}
		if step%7000 == 0 {
			p.index.resize(p.index.n)
			check(step)
		}
	}
}

// BenchmarkPastIndex is what a transaction costs the index, which holds 200,000: that it
// is not there, is entered, and the oldest goes.
func BenchmarkPastIndex(b *testing.B) {
	const n, all = 200_000, 1 << 19
	hashes := make([]uint64, all)
	for i := range hashes {
		hashes[i] = rand.Uint64()
	}
	b.Run("slots", func(b *testing.B) {
		p := indexed(hashes)
		for i := range n {
			p.enter(hashes[i], placeOf(i)+1)
		}
		i := n
		for b.Loop() {
			if p.first(hashes[i%all]) != 0 {
				b.Fatal("found")
			}
			p.enter(hashes[i%all], placeOf(i%all)+1)
			at, _ := p.lookup(hashes[(i-n)%all])
			p.index.free(at)
			i++
		}
	})
	b.Run("map", func(b *testing.B) {
		m := map[uint64]uint32{}
		for i := range n {
			m[hashes[i]] = placeOf(i) + 1
		}
		i := n
		for b.Loop() {
			if m[hashes[i%all]] != 0 {
				b.Fatal("found")
			}
			m[hashes[i%all]] = placeOf(i%all) + 1
			if m[hashes[(i-n)%all]] != 0 {
				delete(m, hashes[(i-n)%all])
			}
			i++
		}
	})
}
