package load

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets whose width is at most 1/64 of their value,
// so that a percentile is exact to 1.6 %. Its size does not depend on the count.
type histogram struct {
	buckets []uint32
	count   uint64
	sum     time.Duration
	max     time.Duration
}

const (
	subBits    = 6
	subBuckets = 1 << subBits
	// octaves above the linear part: 2^36 µs is 19 hours.
	octaves = 30
)

// bucket numbers a duration, which counts in microseconds.
func bucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < subBuckets {
		return int(us)
	}
	shift := bits.Len64(us) - 1 - subBits
	if shift >= octaves {
		return (octaves+1)*subBuckets - 1
	}
	return (shift+1)<<subBits + int(us>>shift) - subBuckets
}

// upper is the greatest duration of a bucket.
func upper(b int) time.Duration {
	if b < subBuckets {
		return time.Duration(b) * time.Microsecond
	}
	shift := b>>subBits - 1
	return time.Duration((uint64(b&(subBuckets-1)+subBuckets)+1)<<shift-1) * time.Microsecond
}

func (h *histogram) add(d time.Duration) {
	if h.buckets == nil {
		h.buckets = make([]uint32, (octaves+1)*subBuckets)
	}
	h.buckets[bucket(d)]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	if o.count == 0 {
		return
	}
	if h.buckets == nil {
		h.buckets = make([]uint32, (octaves+1)*subBuckets)
	}
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.count, h.sum, h.max = h.count+o.count, h.sum+o.sum, max(h.max, o.max)
}

func (h *histogram) reset() {
	clear(h.buckets)
	h.count, h.sum, h.max = 0, 0, 0
}

// quantile returns the duration that a share q of all do not exceed, 0 of none.
func (h *histogram) quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(q * float64(h.count))
	if float64(rank) < q*float64(h.count) {
		rank++
	}
	rank = max(rank, 1)
	var seen uint64
	for b, n := range h.buckets {
		if seen += uint64(n); seen >= rank {
			return min(upper(b), h.max)
		}
	}
	return h.max
}

// Latency tells durations in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
}

func ms(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

func (h *histogram) latency() Latency {
	l := Latency{
		Count: h.count, P50: ms(h.quantile(0.5)), P95: ms(h.quantile(0.95)), P99: ms(h.quantile(0.99)),
		P999: ms(h.quantile(0.999)), Max: ms(h.max),
	}
	if h.count > 0 {
		l.Mean = ms(h.sum / time.Duration(h.count))
	}
	return l
}
