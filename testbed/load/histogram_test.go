package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Percentiles are those of the sorted list, to one bucket's width.
func TestQuantiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h, half histogram
	var all []time.Duration
	for i := range 20000 {
		d := time.Duration(r.ExpFloat64() * float64(5*time.Millisecond))
		all = append(all, d)
		if i%2 == 0 {
			h.add(d)
		} else {
			half.add(d)
		}
	}
	h.merge(&half)
	slices.Sort(all)
	for _, q := range []float64{0.5, 0.95, 0.99, 0.999, 1} {
		want := all[int(q*float64(len(all)))-1]
		got := h.quantile(q)
		if got < want-time.Microsecond || float64(got) > float64(want)*1.017+1000 {
			t.Errorf("quantile %g is %v, want %v", q, got, want)
		}
	}
	if l := h.latency(); l.Count != 20000 || l.Max != ms(all[len(all)-1]) || l.Mean < 4.8 || l.Mean > 5.2 {
		t.Errorf("latency %+v", l)
	}
	h.reset()
	if h.quantile(0.5) != 0 || h.latency() != (Latency{}) {
		t.Error("a histogram of nothing tells something")
	}
}

func TestBuckets(t *testing.T) {
	last := -1
	for _, d := range []time.Duration{-time.Second, 0, time.Microsecond, 63 * time.Microsecond, 64 * time.Microsecond, 65 * time.Microsecond, 127 * time.Microsecond, 128 * time.Microsecond, time.Second, time.Hour, 1000 * time.Hour} {
		b := bucket(d)
		if b < last || b >= (octaves+1)*subBuckets {
			t.Errorf("%v is in bucket %d after %d", d, b, last)
		}
		if d >= 0 && d <= time.Hour && (upper(b) < d || float64(upper(b)) > float64(d)*1.017+1000) {
			t.Errorf("bucket %d of %v ends at %v", b, d, upper(b))
		}
		last = b
	}
}
