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
	for {
		old := b.next.Load()
		next := max(old, now) + b.step
		if next-now > int64(time.Second) {
			return false
		}
		if b.next.CompareAndSwap(old, next) {
			return true
		}
	}
}
