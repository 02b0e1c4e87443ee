package admission

import (
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	b, now := NewBucket(10), int64(0)
	count := func() (n int) {
		for b.Allow(now) {
			n++
		}
		return n
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 10}, {500 * time.Millisecond, 5}, {time.Hour, 10}} {
		now += int64(step.after)
		if n := count(); n != step.want {
			t.Errorf("%d after %v, not %d", n, step.after, step.want)
		}
	}
	if new(Bucket).Allow(now) {
		t.Error("the zero value lets something through")
	}
}
