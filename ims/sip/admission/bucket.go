package admission

import (
	"sync/atomic"
	"time"
)

// Bucket lets through so many events a second and as many at once. It is the generic
// cell rate algorithm: one number, the time at which the bucket would be full again.
// The zero value lets nothing through. Methods and times are like those of a Controller.
type Bucket struct {
	step int64
	next atomic.Int64
}

// NewBucket returns a full one.
func NewBucket(rate int) *Bucket { return &Bucket{step: int64(time.Second) / int64(rate)} }

// Allow reports whether one more event may be.
func (b *Bucket) Allow(now int64) bool {
	if b.step == 0 {
		return false
	}
	return allow(&b.next, b.step, now)
}

func allow(at *atomic.Int64, step, now int64) bool {
	for {
		old := at.Load()
		next := max(old, now) + step
		if next-now > int64(time.Second) {
			return false
		}
		if at.CompareAndSwap(old, next) {
			return true
		}
	}
}

// Shares are buckets of many, none of whom is known: who has the same hash shares one.
type Shares struct {
	step int64
	next []atomic.Int64
}

// NewShares returns n full buckets.
func NewShares(rate, n int) *Shares {
	return &Shares{step: int64(time.Second) / int64(rate), next: make([]atomic.Int64, n)}
}

// Allow reports whether one more event may be of whom the hash stands for.
func (s *Shares) Allow(now int64, hash uint64) bool {
	return allow(&s.next[hash%uint64(len(s.next))], s.step, now)
}
