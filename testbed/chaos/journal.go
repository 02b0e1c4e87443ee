package chaos

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

// maxJournal bounds the attempts that are kept until they are settled: a day at 20 a
// second.
const maxJournal = 2_000_000

// journal keeps what became of each attempt.
type journal struct {
	mu       sync.Mutex
	attempts []load.Attempt
	most     int       // that are kept, maxJournal but in tests
	left     int       // attempts that found no room
	failed   time.Time // when the last one that failed was due
}

func (j *journal) note(a load.Attempt) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if a.Cause != "" && !lostSubscription(&a) && due(&a).After(j.failed) {
		j.failed = due(&a)
	}
	if len(j.attempts) >= cmp.Or(j.most, maxJournal) {
		j.left++
		return
	}
	j.attempts = append(j.attempts, a)
}

// take gives what is over by now, and forgets it.
func (j *journal) take() (over []load.Attempt) {
	j.mu.Lock()
	defer j.mu.Unlock()
	over, j.attempts = j.attempts, nil
	return over
}

// missed is how many attempts found no room.
func (j *journal) missed() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.left
}

// lastFailed is when the last one that failed was due, zero if none has.
func (j *journal) lastFailed() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// window is the time of one fault: it came at began and was gone at mended; from calm on
// nothing that was due failed, and the window ended when that had lasted for a while.
type window struct {
	began, mended, calm, ended time.Time
	dialogs                    bool // the fault ended dialogs
}

// windowOf finds the window that an attempt belongs to, -1 for none: the first one that
// it touches, but the next one if it was due when all was well again and had not ended
// when the next fault came. A lost subscription is the last fault's that ended dialogs.
func windowOf(windows []window, a *load.Attempt) int {
	at := -1
	if lostSubscription(a) {
		for i, w := range windows {
			if w.dialogs && w.began.Before(a.Ended) {
				at = i
			}
		}
		if at >= 0 {
			return at
		}
	}
	for i, w := range windows {
		if a.Ended.Before(w.began) || !due(a).Before(w.ended) {
			continue
		}
		if at < 0 || due(a).After(windows[at].calm) {
			at = i
		}
	}
	return at
}

// due is when the request was due that decides how an attempt ends: of an established
// call the BYE.
func due(a *load.Attempt) time.Time {
	if a.Answered.IsZero() {
		return a.Due
	}
	return a.Answered.Add(hold)
}

// lostSubscription reports whether a phone has heard that its subscription is not known
// any more. That comes when it refreshes it, long after the fault that ended it.
func lostSubscription(a *load.Attempt) bool {
	return a.Scenario == load.Subscribe && (a.Cause == "SUBSCRIBE: 403" || a.Cause == "SUBSCRIBE: 481")
}

// Losses are what a fault has cost.
type Losses struct {
	Attempts uint64            `json:"attempts"`
	Failed   uint64            `json:"failed"`
	Causes   map[string]uint64 `json:"causes,omitempty"`
	// Calls were established when the fault came or became so within its window;
	// CallsLost of them could not be ended in order.
	Calls     uint64 `json:"calls"`
	CallsLost uint64 `json:"calls_lost"`
	// Subscriptions are those of failed that were refreshed and not known any more. They
	// do not count in Recovery.
	Subscriptions uint64 `json:"subscriptions_lost"`
	// Late are those of failed that were answered when the window had ended.
	Late uint64 `json:"late,omitempty"`
	// Again are the phones that registered anew because of an answer.
	Again int `json:"phones_registered_anew"`
	// Recovery is the time from the end of the fault to the first second from which on
	// everything that became due succeeded.
	Recovery float64 `json:"recovery_s"`
}

// ledger is what each window has cost so far, and what lies outside of all.
type ledger struct {
	list    []Losses // as many as there are windows
	again   []map[int]bool
	outside Losses
	samples []string // of failures outside, the first few
}

// settle lays each attempt to a window, and counts what none explains. It may be
// called again and again: an attempt that has ended belongs to no window that is yet to
// come.
func (g *ledger) settle(attempts []load.Attempt, windows []window) {
	for len(g.list) < len(windows) {
		g.list, g.again = append(g.list, Losses{}), append(g.again, map[int]bool{})
	}
	for i := range attempts {
		a := &attempts[i]
		at := windowOf(windows, a)
		if at < 0 {
			g.outside.add(a)
			if a.Cause != "" && len(g.samples) < 20 {
				g.samples = append(g.samples, fmt.Sprintf("%s of phone %d, due %s: %s", a.Scenario, a.From, a.Due.Format("15:04:05.000"), a.Cause))
			}
			continue
		}
		l := &g.list[at]
		l.add(a)
		if a.Scenario == load.Recover {
			g.again[at][a.From] = true
			l.Again = len(g.again[at])
		}
		if lostSubscription(a) {
			continue
		}
		if status(a.Cause) > 0 && a.Ended.After(windows[at].ended) {
			l.Late++
		}
		if late := due(a).Sub(windows[at].mended); a.Cause != "" && late > 0 {
			l.Recovery = max(l.Recovery, float64(late/time.Second+1))
		}
	}
}

func (l *Losses) add(a *load.Attempt) {
	l.Attempts++
	established := !a.Answered.IsZero()
	if established {
		l.Calls++
	}
	if a.Cause == "" {
		return
	}
	l.Failed++
	if lostSubscription(a) {
		l.Subscriptions++
	}
	if established {
		l.CallsLost++
	}
	if l.Causes == nil {
		l.Causes = map[string]uint64{}
	}
	l.Causes[a.Scenario.String()+": "+a.Cause]++
}
