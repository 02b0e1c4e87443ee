package admission

import "time"

// State is what a Controller sees and does at one moment.
type State struct {
	Limiting   bool          // the bucket decides
	Refusing   bool          // and has refused in this bout of overload
	Rate       float64       // requests a second that the bucket lets in; 0 when it does not decide
	Latency    time.Duration // wait of requests, all but Vital ones, in the last window
	Refused    uint64        // in this bout, or in the one that has just ended
	For        time.Duration // how long this bout has lasted
	Downstream bool          // the last cut was because of refusals further on
	Crowded    Lane          // the last refusal was because of those under way, of this lane

	UnderWay [lanes]Under // by Lane
}

// Under is what a Controller sees of the requests of one lane.
type Under struct {
	Open   int           // under way: let in by Controller.Enter, and not answered
	Most   int           // how many of them may be while answers are slow
	Answer time.Duration // how long their answers take, a moving average
}

// Reason says why a request was refused. Its text is fit for a metric label.
type Reason uint8

const (
	// Rate: the bucket was empty.
	Rate Reason = iota
	// Age: it had waited longer than Config.MaxWait.
	Age
	// Crowd: as many were under way as are answered in time.
	Crowd

	reasons = 3
)

var reasonNames = [reasons]string{Rate: "rate", Age: "age", Crowd: "under_way"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

func (c *Controller) state(now int64) *State {
	s := &State{Limiting: c.limiting.Load(), Latency: time.Duration(c.latency.Load()), Refused: c.lost, Refusing: c.lost > 0, Downstream: c.further, Crowded: c.crowded}
	for i := range s.UnderWay {
		s.UnderWay[i] = c.flights[i].under()
	}
	if s.Limiting {
		s.Rate = c.rate
	}
	s.For = time.Duration(now - c.bout)
	return s
}

// Now returns the rate at which requests are let in, 0 while all are, and how long
// requests waited in the last window.
func (c *Controller) Now() (rate float64, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limiting.Load() {
		rate = c.rate
	}
	return rate, time.Duration(c.latency.Load())
}

func (f *flight) under() Under { return Under{f.open, int(f.limit), time.Duration(f.recent)} }

// UnderWay returns what there is to see of the requests of one lane.
func (c *Controller) UnderWay(lane Lane) Under {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flights[lane].under()
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
