package admission

import (
	"testing"
	"time"
)

// A limit begins when a queue has stood in three windows in a row, and not where between
// them one request has found nothing before it.
func TestAQueueMustStand(t *testing.T) {
	const wait = 200 * time.Millisecond
	c, now := NewController(Config{}), int64(0)
	feed(c, &now, 1000, 250*time.Millisecond, wait, New)
	if c.State(now).Limiting {
		t.Error("limits behind two windows of a queue")
	}
	feed(c, &now, 1000, 150*time.Millisecond, wait, New)
	if !c.State(now).Limiting {
		t.Error("does not limit behind three")
	}

	c, now = NewController(Config{}), 0
	for range 20 {
		feed(c, &now, 1000, 150*time.Millisecond, wait, New)
		c.Began(now, New, 0)
	}
	if s := c.State(now); s.Limiting {
		t.Errorf("limits although a request finds nothing before it now and then: %+v", s)
	}
}

// Two refusals further on in a window may have other reasons than load.
func TestFewPenaltiesAreNoOverload(t *testing.T) {
	for penalties, limited := range map[int]bool{0: false, 2: false, 3: true} {
		c, now := NewController(Config{}), int64(0)
		for i := range 1000 {
			now += int64(time.Millisecond)
			c.Began(now, New, 0)
			c.Further(now, i%100 < penalties)
		}
		if s := c.State(now); s.Limiting != limited {
			t.Errorf("%d of 100 are refused further on: limiting %v", penalties, s.Limiting)
		}
	}
}

// However long the queue is, half of what is worked off is let in: with nothing it would
// be gone at once, and the processor idle.
func TestHalfIsLetIn(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	for range 30 {
		feed(c, &now, 2000, 100*time.Millisecond, 390*time.Millisecond, New)
		if c.limiting.Load() && c.rate < c.capacity/2 {
			t.Fatalf("%.0f a second are let in of a capacity of %.0f", c.rate, c.capacity)
		}
	}
	if s := c.State(now); !s.Limiting || s.Rate > 1200 {
		t.Errorf("%+v", s)
	}
}

// What was let in without a queue a moment ago, or most of it, is let in again as soon as nothing waits: a
// process that did not get the processor has lost nothing of its capacity.
func TestBackAtOnce(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	feed(c, &now, 2000, 3*time.Second, 0, New)
	feed(c, &now, 200, time.Second, 200*time.Millisecond, New)
	if s := c.State(now); !s.Limiting || s.Rate > 250 {
		t.Fatalf("not limited: %+v", s)
	}
	feed(c, &now, 2000, 300*time.Millisecond, 0, New)
	if in := feed(c, &now, 2000, 500*time.Millisecond, 0, New); in < 700 {
		t.Errorf("%d of 1000 let in after 0.3 s without a queue: %+v", in, c.State(now))
	}
}

// A bout knows nothing of what the one before it has found out.
func TestEachBoutLearnsAnew(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	feed(c, &now, 300, 2*time.Second, 100*time.Millisecond, New)
	if !c.State(now).Limiting {
		t.Fatal("no overload")
	}
	for c.State(now).Limiting {
		feed(c, &now, 50, 100*time.Millisecond, 0, New)
	}
	if c.capacity != 0 || c.growth != slowest {
		t.Errorf("the bucket is put away, and the capacity is still taken for %.0f, which grows by %.2f", c.capacity, c.growth)
	}
	feed(c, &now, 3000, 450*time.Millisecond, 100*time.Millisecond, New)
	if s := c.State(now); !s.Limiting || c.capacity < 2000 {
		t.Errorf("3000 a second are worked on, and the capacity is taken for %.0f: %+v", c.capacity, s)
	}
}

// The state says where the overload is that it was last limited for.
func TestWhereTheOverloadIs(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	for i := range 1000 {
		now += int64(time.Millisecond)
		if c.Admit(now, New) {
			c.Began(now, New, 0)
			c.Further(now, i%2 == 0)
		}
	}
	if !c.State(now).Downstream {
		t.Error("half is refused further on, and that is not said")
	}
	feed(c, &now, 1000, time.Second, 100*time.Millisecond, New)
	if s := c.State(now); s.Downstream || !s.Limiting {
		t.Errorf("a queue stands here, and is said to be further on: %+v", s)
	}
}
