package proxy

import (
	"hash/maphash"
	"slices"
	"strings"
	"testing"
)

// RFC 5393 5.3.3.
func TestSplit(t *testing.T) {
	for total := 0; total <= 9; total++ {
		for n := 1; n <= 10; n++ {
			sum := 0
			for i := range n {
				share, ok := split(total, n, i)
				if ok != (total >= n) {
					t.Fatalf("split(%d, %d, %d): ok = %v", total, n, i, ok)
				}
				if ok && share < 1 {
					t.Fatalf("split(%d, %d, %d) = %d", total, n, i, share)
				}
				sum += share
			}
			if total >= n && sum != total {
				t.Errorf("%d branches share %d of %d", n, sum, total)
			}
		}
	}
	if _, ok := split(5, 0, 0); ok {
		t.Error("split among no branches")
	}
}

// RFC 3261 16.7 step 6.
func TestBetter(t *testing.T) {
	for _, tt := range []struct {
		in   []int
		want int
	}{
		{[]int{404, 486}, 404},
		{[]int{486, 302}, 302},
		{[]int{302, 603, 500}, 603},
		{[]int{500, 408}, 408},
		{[]int{408, 486}, 486},
		{[]int{480, 430}, 480},
		{[]int{486, 401}, 401},
		{[]int{420, 407, 415}, 407},
		{[]int{486, 484}, 484},
		{[]int{503, 500}, 500},
		{[]int{503, 504}, 504},
		{[]int{487, 486}, 486},
		{[]int{487, 408}, 487},
		{[]int{603, 600}, 600},
	} {
		for range 2 {
			best := tt.in[0]
			for _, s := range tt.in[1:] {
				if better(s, best) {
					best = s
				}
			}
			if best != tt.want {
				t.Errorf("best of %v = %d, want %d", tt.in, best, tt.want)
			}
			slices.Reverse(tt.in)
		}
	}
}

func TestLoopHash(t *testing.T) {
	seed := maphash.MakeSeed()
	sum := func(fields ...string) loopHash {
		l := loopHasher{seed: seed}
		for _, f := range fields {
			l.add(f)
		}
		return l.sum()
	}
	a := sum("sip:b.test", "tag", "callid")
	if a != sum("sip:b.test", "tag", "callid") {
		t.Error("the same fields give another hash")
	}
	for _, other := range []loopHash{sum("sip:c.test", "tag", "callid"), sum("sip:b.testtag", "", "callid"), sum("tag", "sip:b.test", "callid"), sum()} {
		if a == other {
			t.Error("other fields give the same hash")
		}
		if a.mark() == other.mark() {
			t.Error("other hashes have the same mark")
		}
	}
	if m := a.mark(); m[0] != loopMark || strings.ContainsAny(string(m[1:]), "~;,= ") {
		t.Errorf("mark %q does not fit into a branch", m)
	}
}
