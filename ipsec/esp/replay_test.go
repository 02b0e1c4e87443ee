package esp

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestWindow(t *testing.T) {
	type step struct {
		seq  uint32
		want bool
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"0 is never sent", []step{{0, false}}},
		{"the first may be any", []step{{77, true}, {77, false}}},
		{"late, in any order", []step{{5, true}, {3, true}, {4, true}, {3, false}, {5, false}, {1, true}}},
		{"the first word's, behind it", []step{{5, true}, {100, true}, {5, false}, {6, true}, {6, false}}},
		{"the second word's first", []step{{64, true}, {64, false}, {63, true}, {63, false}}},
		{"oldest that is taken", []step{{windowSize + 9, true}, {10, true}, {9, false}, {10, false}}},
		{"far ahead", []step{{1, true}, {1 << 20, true}, {1<<20 - windowSize + 1, true}, {1<<20 - windowSize, false}, {1, false}}},
		{"ahead by a whole ring", []step{{64, true}, {64 + windowWords*64, true}, {64 + windowWords*64 - 1, true}}},
		{"the last number", []step{{math.MaxUint32, true}, {math.MaxUint32, false}, {math.MaxUint32 - 1, true}, {1, false}}},
	} {
		var w window
		for i, s := range c.steps {
			got := w.check(s.seq)
			if got {
				w.accept(s.seq)
			}
			if got != s.want {
				t.Errorf("%s: step %d, number %d: accepted %v", c.name, i, s.seq, got)
			}
		}
	}
}

// The ring does what a set of all numbers ever accepted would do.
func TestWindowAgreesWithASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		seen := make(map[uint32]bool)
		top := uint32(rapid.SampledFrom([]int{1, 1000, math.MaxUint32 - 3000}).Draw(t, "start"))
		for range rapid.IntRange(1, 300).Draw(t, "packets") {
			seq := uint32(int64(top) + int64(rapid.OneOf(rapid.IntRange(-windowSize-70, 70), rapid.IntRange(0, 1200)).Draw(t, "step")))
			want := seq != 0 && !seen[seq] && int64(seq) > int64(w.top)-windowSize
			if got := w.check(seq); got != want {
				t.Fatalf("number %d with %d on top: accepted %v", seq, w.top, got)
			}
			if want {
				if newest := w.accept(seq); newest != (seq >= w.top) {
					t.Fatalf("number %d: the newest %v", seq, newest)
				}
				seen[seq] = true
				top = max(top, seq)
			}
		}
	})
}
