package diameter

import (
	"errors"
	"math/rand/v2"
	"time"
)

var errWatchdog = errors.New("no answer to the watchdog (RFC 3539 3.4.1)")

// A watchdog is the state of RFC 3539 3.4.1 beside the connection's State. It is
// guarded by conn.mu.
type watchdog struct {
	timer    *time.Timer
	pending  bool // a DWR is unanswered
	answered int  // DWAs in Reopen; -1 after a silent interval
}

func (w *watchdog) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// interval is Tw with jitter, so that many connections do not beat together.
func (c *conn) interval() time.Duration {
	return c.n.cfg.Watchdog - watchdogJitter + rand.N(2*watchdogJitter)
}

func (c *conn) startWatchdogLocked() {
	c.watchdog.timer = time.AfterFunc(c.interval(), c.watchdogExpired)
	if c.state == Reopen {
		c.watchdog.pending = true
		_ = c.requestLocked(c.baseRequest(DeviceWatchdog)) // a fresh queue has room
	}
}

// watchdogHeard notes that a message arrived; dwa tells whether it was a DWA.
func (c *conn) watchdogHeard(dwa bool) {
	c.mu.Lock()
	before := c.state
	switch c.state {
	case Okay:
		if dwa {
			c.watchdog.pending = false
		}
		c.watchdog.timer.Reset(c.interval())
	case Suspect:
		if dwa {
			c.watchdog.pending = false
		}
		c.state = Okay // failback
		c.watchdog.timer.Reset(c.interval())
	case Reopen:
		if dwa {
			c.watchdog.pending = false
			if c.watchdog.answered = max(c.watchdog.answered, 0) + 1; c.watchdog.answered >= 3 {
				c.state = Okay
			}
		}
	}
	after := c.state
	c.mu.Unlock()
	if before != after {
		c.observe(after, nil)
		c.n.signal()
	}
}

func (c *conn) watchdogExpired() {
	var moved map[uint32]*call
	var down error
	suspect := false
	c.mu.Lock()
	w := &c.watchdog
	switch {
	case c.state == Okay && w.pending:
		c.state, suspect = Suspect, true
		moved = c.pending
		c.pending = make(map[uint32]*call)
	case c.state == Suspect, c.state == Reopen && w.pending && w.answered < 0:
		down = errWatchdog
	case c.state == Closing:
		down = errDPR // the peer got our DPA and did not close
	case c.state == Reopen && w.pending:
		w.answered = -1
	case c.state == Okay, c.state == Reopen:
		w.pending = true
		down = c.requestLocked(c.baseRequest(DeviceWatchdog))
	}
	if down == nil && c.err == nil {
		w.timer.Reset(c.interval())
	}
	c.mu.Unlock()
	if suspect {
		c.observe(Suspect, errWatchdog)
		c.n.signal()
	}
	if down != nil {
		c.fail(down)
	}
	for hop, k := range moved {
		k.suspect(c, hop)
	}
}
