package admission

import (
	"slices"
	"time"
)

const (
	// leastOpen is how many requests may always be under way.
	leastOpen = 24
	// atOnce, and twice the bound, may be under way while answers have not been slow for
	// long: a process that has not had the processor for a moment is no overload.
	atOnce = 64
	// fewAnswers tell nothing of the pace.
	fewAnswers = 20
	// lasts is in how many windows in a row answers must have been slow for that.
	lasts = 2
	// floored is for how many windows in a row the bound must have been as low as it may
	// be, and answers slow all the same, until they are taken to be slow for other reasons.
	floored = 3
	// aboutLeast times the least bound is no more than that: it follows from a time that
	// varies.
	aboutLeast = 1.25
	// slack, times Config.Target, is how much longer than without a queue answers may
	// take. More makes for larger batches, which cost less a message, and keeps those
	// that are refused waiting.
	slack = 2.5
	// varies is the share by which answers may be longer that take long without a queue.
	varies = 0.25
	// grows is by how much the bound rises in a window in which some were refused and
	// answers were quick.
	grows = 2
	// longestAnswer bounds what is taken for the time of an answer.
	longestAnswer = 2 * time.Second
	// silence is how many times what usually lies between two answers none must have
	// come: where one in many destinations answers, there are pauses.
	silence = 8
	// sample is of how many answers of a window the times are kept.
	sample = 64
)

// Silence is how long a request of Calls counts as under way: a core that is there has said
// 100 long before, and who waits for one that is not there is no queue.
const Silence = 300 * time.Millisecond

// flight bounds how many requests are under way at once: let in, and not heard of from
// the elements further on. A rate has to be guessed, and what was guessed wrong adds up to
// a queue; a number does not add up: one comes in for each that is answered, at whatever
// rate that is. Which number follows from Little's law: what is answered in the time
// that an answer takes when nothing waits, and a little more, slack. While answers
// are as quick as that, nothing is refused, however many are under way.
//
// How long an answer takes is what a quarter of a window's answers took at most: a queue
// delays all of them, a slow destination its own.
type flight struct {
	slack  float64       // nanoseconds
	own    time.Duration // how long requests may wait unread without being counted
	least  float64       // answers a second with which nothing is refused
	open   int           // requests under way
	limit  float64       // of open, for New; Begun have twice that
	base   float64       // nanoseconds that an answer takes when nothing waits; 0: not known
	pace   float64       // answers a second, smoothed
	recent float64       // how long answers take, a moving average
	heard  int64         // when the last answer came, or the first of the open requests
	gap    float64       // nanoseconds between two answers, a moving average
	took   float64       // how long they took in the last window
	always *Bucket       // lets in as many a second as least, whatever is under way; nil: none
	lasted int           // windows in a row in which answers were slow, or something refused
	let    int64         // when something was let in
	acted  int64         // when something came or was answered
	back   int64         // when something did after a pause longer than slack

	// The window that is being measured.
	began    int64
	answered int             // in all
	done     int             // of those, not refused further on
	times    [sample]float64 // how long the last of those took
	first    float64         // the least that one took
	hit      bool            // something was refused
	low      int             // windows in a row in which a limit as low as may be has not helped
}

// enter takes a request in, or reports that it has to be refused. The time to its answer
// counts from since.
func (f *flight) enter(now int64, class Class, waited time.Duration) (since int64, ok bool) {
	f.acts(now)
	waited = max(0, waited-f.own)
	// While this process had nothing to do, or did not get the processor, what came has
	// waited for that, and not for others.
	since = max(now-int64(waited), f.back)
	few := f.always != nil && f.always.Allow(now) // those that are let in anyway count, too
	if class != Vital && !few && f.full(now, class, f.unread(now, waited, since)) {
		f.hit = true
		return since, false
	}
	f.let = now
	if f.open == 0 {
		f.heard = now
	}
	f.open++
	return since, true
}

// unread is how many wait behind one that has waited so long, and are in nobody's count
// yet: as many as are answered in that time. They keep no more out than leaves the least
// pace, or it would never be learnt that they are fewer.
func (f *flight) unread(now int64, waited time.Duration, since int64) float64 {
	switch {
	case float64(now-f.let) >= 1e9/f.least:
		return 0
	case f.lasted < lasts:
		waited = time.Duration(now - since)
	}
	return f.pace * waited.Seconds()
}

// full reports whether there is no room for one more before which so many are unread.
func (f *flight) full(now int64, class Class, unread float64) bool {
	open, limit := float64(f.open)+unread, f.limit
	if class == Begun {
		limit *= 2
	}
	if f.lasted >= lasts {
		return open >= limit
	}
	slow := f.recent
	if f.always != nil { // calls have many destinations
		slow = min(slow, f.took)
	}
	return open >= max(atOnce, 2*limit) && f.base > 0 && (slow > f.most() || f.silent(now))
}

// silent reports whether no answer has come for longer than one takes, and longer than
// usual.
func (f *flight) silent(now int64) bool {
	return f.open > 0 && float64(now-f.heard) > max(f.most(), min(silence*f.gap, float64(longestAnswer)))
}

// most is how long an answer may take that is not slow. What takes long without a queue
// also varies by more.
func (f *flight) most() float64 { return f.base + max(f.slack, varies*f.base) }

func (f *flight) acts(now int64) {
	if float64(now-f.acted) > f.slack {
		f.back = now
	}
	f.acted = now
}

// answer takes into account how long the answer to a request has taken, and whether it
// was something else than a refusal for load.
func (f *flight) answer(now int64, took time.Duration, ok bool) {
	f.acts(now)
	f.gap += (float64(min(now-f.heard, int64(longestAnswer))) - f.gap) / 16
	f.heard = now
	f.answered++
	if ok { // a refusal is quick and says nothing of the others
		t := float64(min(max(took, 1), longestAnswer))
		f.recent += (t - f.recent) / 16
		if f.done == 0 || t < f.first {
			f.first = t
		}
		f.times[f.done%sample] = t
		f.done++
	}
	if d := time.Duration(now - f.began); d >= window && f.answered >= fewAnswers || d >= longest {
		f.adjust(d)
		f.began, f.answered, f.done, f.hit = now, 0, 0, false
	}
}

// quarter is how long a quarter of the window's answers took at most.
func (f *flight) quarter() float64 {
	t := f.times
	n := min(f.done, sample)
	slices.Sort(t[:n])
	return t[(n-1)/4]
}

// adjust ends a window of length d.
func (f *flight) adjust(d time.Duration) {
	if f.answered < fewAnswers || d > 2*longest {
		f.lasted, f.low = 0, 0
		return
	}
	took := f.base
	if f.done > 0 {
		took = f.quarter()
	}
	f.took = took
	slow := f.base > 0 && took > f.most()
	if f.lasted++; !slow && !f.hit {
		f.lasted = 0
	}
	// So many are under way with the least pace that is not to be refused.
	floor := max(leastOpen, f.least*took/1e9)
	low := f.limit <= aboutLeast*floor
	if !slow || !low {
		f.low = 0
	}
	switch {
	case f.done == 0:
	case f.base == 0:
		f.base = f.first
	case took < f.base:
		f.base += (took - f.base) / 2
	case slow && low:
		if f.low++; f.low >= floored { // then fewer under way would not help
			f.base, f.low, f.lasted = took, 0, 0
		}
	case !f.hit && took < f.base+f.slack/4: // it may be that everything has become slower
		f.base += (took - f.base) / 50
	}
	f.pace += smoothing * (float64(f.done)/d.Seconds() - f.pace)
	limit := max(floor, f.pace*f.most()/1e9)
	if f.hit && took < (f.base+f.most())/2 { // there is room, of which the pace cannot tell
		limit = max(limit, f.limit*grows)
	}
	f.limit = limit
}
