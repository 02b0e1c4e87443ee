package admission

import "time"

// measure takes one wait into the window and ends that when it is due. The state it
// returns is worth telling.
func (c *Controller) measure(now int64, class Class, waited time.Duration) (tell *State) {
	if class != Vital {
		c.measured++
		c.waited += int64(max(waited, 0))
		if c.measured == 1 || waited < c.least {
			c.least = waited
		}
	}
	d := time.Duration(now - c.began)
	if d < window || d < longest && c.measured+c.penalties < enough {
		return nil
	}
	if d > 2*longest { // nothing came for a while: there is nothing to learn from it
		d = longest
	}
	return c.adjust(now, d)
}

// adjust ends a window of length d: it learns what the element can do, sets the rate
// so that the wait moves towards the target, and begins another window.
func (c *Controller) adjust(now int64, d time.Duration) (tell *State) {
	var wait time.Duration
	if c.measured > 0 {
		wait = time.Duration(c.waited / int64(c.measured))
	}
	c.latency.Store(int64(wait))
	// Where not even one request found nothing before it, a queue stands. Without that,
	// long waits are those of a burst, or of a process that did not get the processor
	// for a moment, and say nothing of what the element can do.
	standing := c.measured >= enough && c.least > c.cfg.Target/4
	if c.stood++; !standing {
		c.stood = 0
	}
	c.show(d, standing)
	c.estimate(wait, d, standing)
	if !c.limiting.Load() && (c.penalties >= few || c.stood >= stands && wait > c.cfg.Target) && float64(c.served) > c.cfg.MinRate*d.Seconds() {
		c.tokens, c.filled = c.cfg.MinRate/2, now
		c.bout, c.last, c.lost = now, now, 0
		c.limiting.Store(true)
	}
	if c.limiting.Load() {
		c.fill(now)
		room := (c.cfg.Target - wait).Seconds() / drain.Seconds()
		if n := c.penalties + c.passed; c.penalties > 0 {
			room = min(room, -float64(c.penalties)/float64(2*n))
		}
		c.rate = max(c.cfg.MinRate, c.capacity*max(0.5, 1+room))
	}
	if (c.limiting.Load() || c.lost > 0) && now-c.last > int64(quiet) {
		tell = c.relax(now)
	}
	c.began, c.measured, c.waited, c.served, c.passed, c.penalties, c.turned = now, 0, 0, 0, 0, 0, false
	return tell
}

// estimate brings the capacity up to date. While a queue stands, the rate at which it is
// worked on is the capacity; while some are refused and none waits, it is more than
// was thought. When an element further on refuses, what it does not refuse is the
// capacity of both.
func (c *Controller) estimate(wait, d time.Duration, standing bool) {
	limiting := c.limiting.Load()
	switch {
	case c.penalties > 0:
		c.further = true
		c.learn(float64(c.passed)/d.Seconds(), smoothing)
	case standing && (limiting || wait > c.cfg.Target):
		c.further = false
		c.learn(float64(c.served)/d.Seconds(), smoothing)
	case limiting && c.turned && c.capacity < c.shown:
		c.capacity += (c.shown - c.capacity) / 2
	case limiting && c.turned:
		c.capacity *= 1 + c.growth*min(d.Seconds()/window.Seconds(), 3)
		c.growth = min(c.growth*faster, fastest)
	}
}

// show keeps what the element has lately shown that it can do while no queue stood. A
// process that does not get the processor for a moment comes back to that at once.
func (c *Controller) show(d time.Duration, standing bool) {
	c.usual += smoothing * (float64(c.served)/d.Seconds() - c.usual)
	c.shown *= forgets
	if !standing {
		c.shown = max(c.shown, c.usual)
	}
}

// learn takes a rate into the capacity.
func (c *Controller) learn(rate, weight float64) {
	c.growth = slowest
	if c.capacity == 0 {
		c.capacity = max(rate, c.shown)
	}
	c.capacity = max(c.cfg.MinRate, c.capacity+weight*(rate-c.capacity))
}

// relax puts the bucket away.
func (c *Controller) relax(now int64) (tell *State) {
	c.limiting.Store(false)
	if c.lost > 0 {
		tell = c.state(now)
		tell.Refusing = false
	}
	c.lost, c.capacity, c.growth = 0, 0, slowest
	return tell
}
