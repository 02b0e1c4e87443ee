package admission

import (
	"testing"
	"time"
)

// feed gives a controller rate requests a second for d, each of which has waited so
// long when it is worked on, and returns how many were let in.
func feed(c *Controller, now *int64, rate float64, d, wait time.Duration, class Class) (in int) {
	for end := *now + int64(d); *now < end; *now += int64(1e9 / rate) {
		if c.Admit(*now, class) {
			if !c.Began(*now, class, wait) {
				in++
			}
		} else {
			c.Refused(*now, class, wait, Rate)
		}
	}
	return in
}

func TestNothingRefusedBelowTarget(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	if in := feed(c, &now, 5000, 5*time.Second, 19*time.Millisecond, New); in != 25000 {
		t.Errorf("%d of 25000 requests were let in although none waited longer than the target", in)
	}
	if s := c.State(now); s.Limiting || s.Latency != 19*time.Millisecond {
		t.Errorf("state %+v", s)
	}
}

func TestFewRequestsAreNoOverload(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	if in := feed(c, &now, 90, 10*time.Second, 600*time.Millisecond, New); in < 900 {
		t.Errorf("%d of 900 let in: fewer than min_rate are no overload, however long they wait", in)
	}
}

func TestClasses(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	feed(c, &now, 1000, time.Second, 200*time.Millisecond, New)
	if s := c.State(now); !s.Refusing {
		t.Fatalf("no overload after waits of 200 ms: %+v", s)
	}
	if in := feed(c, &now, 1000, time.Second, 200*time.Millisecond, Vital); in != 1000 {
		t.Errorf("%d of 1000 vital requests let in", in)
	}
	// Half of the rate is of requests that go on with something: they are all let in,
	// and new ones make room.
	rate := c.State(now).Rate
	begun, fresh := 0, 0
	for end := now + int64(time.Second); now < end; now += int64(1e9 / rate) {
		for i, class := range []Class{Begun, New, New} {
			if i == 0 && now/int64(1e9/rate)%2 == 0 {
				continue
			}
			if !c.Admit(now, class) {
				continue
			}
			if class == Begun {
				begun++
			} else {
				fresh++
			}
		}
	}
	if float64(begun) < 0.49*rate {
		t.Errorf("%d requests let in that go on with something, want half of %.0f", begun, rate)
	}
	if f := float64(fresh); f < 0.3*rate || f > 0.6*rate+50 {
		t.Errorf("%d new requests let in, want the other half of %.0f", fresh, rate)
	}
}

func TestBegunHasItsBound(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	feed(c, &now, 1000, time.Second, 100*time.Millisecond, New)
	rate := c.State(now).Rate
	in := 0
	for range 100000 { // at once
		if c.Admit(now, Begun) {
			in++
		}
	}
	if limit := 1.2 * rate * (debt + burst).Seconds(); float64(in) > limit {
		t.Errorf("%d requests let in at once, want %.0f at most: who can invent them would get in with all", in, limit)
	}
}

func TestAge(t *testing.T) {
	c, now := NewController(Config{MaxWait: 400 * time.Millisecond}), int64(0)
	if c.Began(now, New, time.Second) {
		t.Error("refused for its age without an overload")
	}
	feed(c, &now, 1000, time.Second, 100*time.Millisecond, New)
	before := c.Counts()
	for _, tt := range []struct {
		class  Class
		waited time.Duration
		stale  bool
	}{
		{New, 400 * time.Millisecond, false}, {New, 401 * time.Millisecond, true},
		{Begun, 401 * time.Millisecond, true}, {Vital, time.Minute, false},
	} {
		if got := c.Began(now, tt.class, tt.waited); got != tt.stale {
			t.Errorf("%v that has waited %v: stale %v", tt.class, tt.waited, got)
		}
	}
	if n := c.Counts(); n.Refused[Age] != 2 || n.Admitted[New] != before.Admitted[New]+1 || n.Admitted[Begun] != 0 || n.Admitted[Vital] != 1 {
		t.Errorf("counts %+v", n)
	}
}

func TestPenalties(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	// 1000 a second are offered, nothing waits here, and somewhere behind us no more
	// than 600 are taken. What is let in has to come down to that.
	in, refusedBehind := 0, 0
	run := func(d time.Duration) {
		in, refusedBehind = 0, 0
		room := 0.0
		for end := now + int64(d); now < end; now += int64(time.Millisecond) {
			room = min(room+0.6, 20)
			if !c.Admit(now, New) {
				c.Refused(now, New, 0, Rate)
				continue
			}
			c.Began(now, New, 0)
			in++
			if room >= 1 {
				room--
				c.Further(now, false)
			} else {
				refusedBehind++
				c.Further(now, true)
			}
		}
	}
	run(2 * time.Second)
	run(10 * time.Second)
	if in < 5500 || in > 6600 {
		t.Errorf("%d let in within 10 s, want about 6000", in)
	}
	if refusedBehind > in/20 {
		t.Errorf("%d of %d were refused further on: they were let in for nothing", refusedBehind, in)
	}
	if !c.State(now).Downstream {
		t.Error("the state does not say that the overload is further on")
	}
}

func TestRecovery(t *testing.T) {
	for name, trouble := range map[string]func(c *Controller, now *int64){
		"everything refused further on": func(c *Controller, now *int64) {
			for end := *now + int64(5*time.Second); *now < end; *now += int64(time.Millisecond) {
				if c.Admit(*now, New) {
					c.Began(*now, New, 0)
					c.Further(*now, true)
				} else {
					c.Refused(*now, New, 0, Rate)
				}
			}
		},
		"the processor was away": func(c *Controller, now *int64) { feed(c, now, 200, 5*time.Second, 300*time.Millisecond, New) },
	} {
		t.Run(name, func(t *testing.T) {
			c, now := NewController(Config{}), int64(0)
			trouble(c, &now)
			if s := c.State(now); s.Rate > 110 {
				t.Fatalf("%.0f requests a second let in in trouble", s.Rate)
			}
			feed(c, &now, 1000, 5*time.Second, 0, New)
			if in := feed(c, &now, 1000, time.Second, 0, New); in < 1000 {
				t.Errorf("%d of 1000 requests let in 5 s after it", in)
			}
		})
	}
}

func TestIdleEndsIt(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	feed(c, &now, 1000, time.Second, 300*time.Millisecond, New)
	now += int64(10 * time.Second)
	if in := feed(c, &now, 1000, 2*time.Second, 0, New); in < 1990 {
		t.Errorf("%d of 2000 requests let in after ten quiet seconds", in)
	}
}

func TestChanged(t *testing.T) {
	var told []State
	c, now := NewController(Config{Changed: func(s State) { told = append(told, s) }}), int64(0)
	feed(c, &now, 1000, time.Second, 100*time.Millisecond, New)
	refused := c.Counts().Refused[Rate]
	feed(c, &now, 100, 3*time.Second, 0, New)
	if len(told) != 2 || !told[0].Refusing || told[1].Refusing || told[1].Refused < refused || refused == 0 {
		t.Errorf("told %+v, want one beginning and one end with %d refused", told, refused)
	}
}

func TestNoAllocations(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	one := func() {
		now += int64(time.Millisecond)
		if c.Admit(now, New) {
			c.Began(now, New, 50*time.Millisecond)
		} else {
			c.Refused(now, New, 50*time.Millisecond, Rate)
		}
		c.Further(now, false)
	}
	if n := testing.AllocsPerRun(1000, one); n > 0 {
		t.Errorf("%.1f allocations a request", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	c, now := NewController(Config{}), int64(0)
	for b.Loop() {
		now += 1000
		if c.Admit(now, New) {
			c.Began(now, New, time.Millisecond)
		}
	}
}

// A network returns and every phone renews its registration with the nonce that it
// has: nothing that comes is New.
func TestStormOfRenewals(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	in := feed(c, &now, 5000, 5*time.Second, 2*time.Second, Begun)
	if s := c.State(now); !s.Refusing || in > 5000 {
		t.Errorf("%d of 25000 let in although each has waited 2 s: %+v", in, s)
	}
}

// The queue is old when an overload is noticed: the first refusal is for age.
func TestToldOfTheBeginning(t *testing.T) {
	var told []State
	c, now := NewController(Config{Changed: func(s State) { told = append(told, s) }}), int64(0)
	for c.Counts().Refused[Age] == 0 {
		c.Began(now, New, time.Second)
		now += int64(time.Millisecond)
	}
	if n := c.Counts(); n.Refused[Rate] != 0 {
		t.Fatalf("refused before: %+v", n)
	}
	if len(told) != 1 || !told[0].Refusing {
		t.Errorf("told at the first refusal: %+v", told)
	}
}
