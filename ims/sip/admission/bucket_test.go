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

// Who has used his share up leaves that of others.
func TestShares(t *testing.T) {
	s, now := NewShares(2, 8), int64(time.Hour)
	for _, step := range []struct {
		hash uint64
		want bool
	}{{3, true}, {3, true}, {3, false}, {11, false}, {4, true}} {
		if got := s.Allow(now, step.hash); got != step.want {
			t.Errorf("%d: %v, want %v", step.hash, got, step.want)
		}
	}
	if now += int64(time.Second / 2); !s.Allow(now, 11) || s.Allow(now, 3) {
		t.Error("half a second brings one more of two a second")
	}
}
