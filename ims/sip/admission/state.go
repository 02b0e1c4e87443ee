package admission

import "time"

// State is what a Controller sees and does at one moment.
type State struct {
	Limiting   bool          // the bucket decides
	Refusing   bool          // and has refused in this bout of overload
	Rate       float64       // requests a second that the bucket lets in; 0 when it does not decide
	Latency    time.Duration // wait of new requests, in the last window
	Refused    uint64        // in this bout, or in the one that has just ended
	For        time.Duration // how long this bout has lasted
	Downstream bool          // the last cut was because of refusals further on
}

// Reason says why a request was refused. Its text is fit for a metric label.
type Reason uint8

const (
	// Rate: the bucket was empty.
	Rate Reason = iota
	// Age: it had waited longer than Config.MaxWait.
	Age

	reasons = 2
)

var reasonNames = [reasons]string{Rate: "rate", Age: "age"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

func (c *Controller) state(now int64) *State {
	s := &State{Limiting: c.limiting.Load(), Latency: time.Duration(c.latency.Load()), Refused: c.lost, Refusing: c.lost > 0, Downstream: c.further}
	if s.Limiting {
		s.Rate = c.rate
	}
	s.For = time.Duration(now - c.bout)
	return s
}

// Now returns the rate at which requests are let in, 0 while all are, and how long new
// ones waited in the last window.
func (c *Controller) Now() (rate float64, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limiting.Load() {
		rate = c.rate
	}
	return rate, time.Duration(c.latency.Load())
}

// State returns what holds now.
func (c *Controller) State(now int64) State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.state(now)
}

// Counts are the totals since the start.
type Counts struct {
	Admitted [classes]uint64 // by Class
	Refused  [reasons]uint64 // by Reason
}

// Counts returns the totals.
func (c *Controller) Counts() (n Counts) {
	for i := range n.Admitted {
		n.Admitted[i] = c.admitted[i].Load()
	}
	for i := range n.Refused {
		n.Refused[i] = c.refused[i].Load()
	}
	return n
}
