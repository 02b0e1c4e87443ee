package admission

import (
	"sync"
	"sync/atomic"
	"time"
)

// Config configures a Controller. What is zero has the default named.
type Config struct {
	// Target is how long requests, all but Vital ones, may wait for their turn on average before some
	// are refused. Default 20 ms.
	Target time.Duration
	// MinRate is how many requests a second are let in however bad it looks, and half as
	// many at once: the end of an overload must be noticed, and where few requests wait
	// long, the machine has other troubles than them. Default 100.
	MinRate float64
	// MaxWait is how old a request may be, in an overload, when work on it begins; an
	// older one is refused whatever the rate: its sender repeats it already, or has left.
	// Default 400 ms, less than T1 between core nodes.
	MaxWait time.Duration
	// Changed, if not nil, is told when requests begin to be refused and when that is
	// over. It is called on any goroutine, may not block and not call back.
	Changed func(State)
}

const (
	// window is how long is measured before the rate is set anew.
	window = 100 * time.Millisecond
	// longest ends a window that has seen few requests.
	longest = time.Second
	// enough requests tell an average from an accident.
	enough = 10
	// stands is in how many windows in a row a queue must have stood.
	stands = 3
	// forgets is what is left of Controller.shown after a window.
	forgets = 0.98
	// few refusals of one window further on may have other reasons than load.
	few = 3
	// drain is the time in which what waits beyond the target is to be worked off. It
	// must be longer than what is let in now needs to show in the waits, or the rate
	// swings.
	drain = 500 * time.Millisecond
	// burst is the depth of the bucket, and debt how far Begun requests may overdraw
	// it, both in time at its rate.
	burst, debt = 50 * time.Millisecond, time.Second
	// quiet is for how long nothing must have been refused before the bucket is put
	// away.
	quiet = time.Second
	// smoothing is the weight of a new measurement of the capacity.
	smoothing = 0.3
	// The capacity is raised by slowest in a window in which requests were refused and
	// none had to wait, by faster times that in the next, up to fastest.
	slowest, faster, fastest = 0.02, 1.2, 0.3
)

// Controller decides about the requests of one element. Its methods may be called
// from any goroutine; now is a time in nanoseconds from any origin, the same for all
// calls, that never goes back.
type Controller struct {
	cfg      Config
	limiting atomic.Bool
	latency  atomic.Int64

	admitted [classes]atomic.Uint64
	refused  [reasons]atomic.Uint64

	mu       sync.Mutex
	capacity float64 // requests a second that the element seems to be able to do
	growth   float64 // of that, in the next window without waiting
	usual    float64 // requests a second, lately
	shown    float64 // the most of that without a queue, slowly forgotten
	stood    int     // windows in a row in which a queue stood
	rate     float64 // requests a second into the bucket
	tokens   float64 // in the bucket; below 0: overdrawn
	filled   int64   // when tokens was right

	// The window that is being measured.
	began     int64
	measured  int   // requests, all but Vital ones, whose wait is in waited
	waited    int64 // nanoseconds in all
	least     time.Duration
	served    int  // requests let in on which work has begun
	passed    int  // requests that elements further on have not refused
	penalties int  // and that they have
	turned    bool // something was refused here

	flights [lanes]flight

	further bool   // the last cut came from downstream
	crowded Lane   // the last refusal was because of those under way
	bout    int64  // when this overload began
	last    int64  // when something was refused last
	lost    uint64 // refused in this bout
}

// NewController returns a Controller that takes everything until it has seen otherwise.
func NewController(cfg Config) *Controller {
	if cfg.Target <= 0 {
		cfg.Target = 20 * time.Millisecond
	}
	if cfg.MinRate <= 0 {
		cfg.MinRate = 100
	}
	if cfg.MaxWait <= 0 {
		cfg.MaxWait = 400 * time.Millisecond
	}
	c := &Controller{cfg: cfg, growth: slowest, last: -int64(quiet)}
	for i := range c.flights {
		c.flights[i] = flight{slack: slack * float64(cfg.Target), own: cfg.Target, least: cfg.MinRate, limit: leastOpen}
	}
	c.flights[Calls].always = NewBucket(max(1, int(cfg.MinRate)))
	return c
}

// Admit reports whether a request that arrives may be worked on. A request that is
// refused here may turn out to be the repetition of one that was let in.
func (c *Controller) Admit(now int64, class Class) bool {
	if class == Vital || !c.limiting.Load() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take(now, class)
}

// take takes a token out of the bucket, if there is one for a request of this class.
func (c *Controller) take(now int64, class Class) bool {
	c.fill(now)
	floor := 1.0
	if class == Begun {
		floor = 1 - c.rate*debt.Seconds()
	}
	if c.tokens < floor {
		return false
	}
	c.tokens--
	return true
}

// Enter is Admit for a request that goes on to others, of which Left tells when they
// answer: how many of its lane are under way decides, and where those others refuse, their
// pace; waited is how long it has been here unread. It says why the request may not be
// worked on.
func (c *Controller) Enter(now int64, lane Lane, class Class, waited time.Duration) (e Entry, why Reason, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &c.flights[lane]
	if e.Since, ok = f.enter(now, class, waited); !ok {
		c.crowded = lane
		return e, Crowd, false
	}
	if class != Vital && c.limiting.Load() {
		if e.Token = c.take(now, class); !e.Token && c.further {
			f.open--
			return e, Rate, false
		}
	}
	return e, 0, true
}

// Entry is what Enter tells of a request that it has let in.
type Entry struct {
	Since int64 // when its time began, for Heard
	Token bool  // it has taken one out of the bucket, for GiveBack
}

// Heard notes the first answer to a request that Enter has let in, whose time began at
// since; ok is whether it is not a refusal for load. Left follows.
func (c *Controller) Heard(now int64, lane Lane, since int64, ok bool) {
	c.mu.Lock()
	c.flights[lane].answer(now, time.Duration(now-since), ok)
	c.mu.Unlock()
}

// Left notes that a request which Enter has let in is under way no more.
func (c *Controller) Left(lane Lane) {
	c.mu.Lock()
	c.flights[lane].open--
	c.mu.Unlock()
}

// GiveBack takes back that Admit has let a request in, or Enter with a token, on which
// nobody has worked: the repetition of one that is known, or one that is none.
func (c *Controller) GiveBack(class Class) {
	if class == Vital || !c.limiting.Load() {
		return
	}
	c.mu.Lock()
	c.tokens++ // fill sees to the depth of the bucket
	c.mu.Unlock()
}

// fill puts in what has come together since it was last called.
func (c *Controller) fill(now int64) {
	if d := now - c.filled; d > 0 {
		c.tokens = min(c.tokens+c.rate*float64(d)/1e9, max(c.cfg.MinRate/2, c.rate*burst.Seconds()))
		c.filled = now
	}
}

// Began notes that work on a request begins, one that Admit has let in, and how long
// it has waited since it arrived. It reports whether that is too long.
func (c *Controller) Began(now int64, class Class, waited time.Duration) (stale bool) {
	if class == Vital {
		c.admitted[Vital].Add(1)
		return false
	}
	if stale = waited > c.cfg.MaxWait && c.limiting.Load(); !stale {
		c.admitted[class].Add(1)
	}
	c.mu.Lock()
	first := false
	if stale {
		first = c.turnedAway(now, Age)
	} else {
		c.served++
	}
	tell := c.measure(now, class, waited)
	if tell == nil && first {
		tell = c.state(now)
	}
	c.mu.Unlock()
	c.tell(tell)
	return stale
}

// Refused notes that a request was turned away that Admit or Enter had not let in, why,
// and how long it had waited for that.
func (c *Controller) Refused(now int64, class Class, waited time.Duration, why Reason) {
	c.mu.Lock()
	first := c.turnedAway(now, why)
	tell := c.measure(now, class, waited)
	if tell == nil && first {
		tell = c.state(now)
	}
	c.mu.Unlock()
	c.tell(tell)
}

// Further notes what an element further on has made of a request that was let in here:
// whether it has refused it with 503.
func (c *Controller) Further(now int64, refused bool) {
	c.mu.Lock()
	if refused {
		c.penalties++
	} else {
		c.passed++
	}
	tell := c.measure(now, Vital, 0)
	c.mu.Unlock()
	c.tell(tell)
}

// turnedAway notes a refusal, and reports whether it is the first of this bout.
func (c *Controller) turnedAway(now int64, r Reason) (first bool) {
	c.refused[r].Add(1)
	c.turned, c.last = true, now
	if c.lost++; c.lost == 1 && !c.limiting.Load() {
		c.bout = now
	}
	if r != Crowd {
		c.crowded = NoLane
	}
	return c.lost == 1
}

func (c *Controller) tell(s *State) {
	if s != nil && c.cfg.Changed != nil {
		c.cfg.Changed(*s)
	}
}
