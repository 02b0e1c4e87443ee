package scscf

import "time"

// endingPace says how many endings the HSS is told of at a time: one more with each round
// of answers, half as many when it had no time for one, and then none for a while, as TCP does
// (RFC 5681 3.1). It leaves the HSS to those who register.
type endingPace struct {
	open  int           // of which the HSS is being told
	most  int           // that may be open
	round int           // answers since most has grown
	rest  time.Duration // of the last pause, 0 for none since one was taken
	until time.Time     // of that pause
}

const (
	firstOpenEndings = 8
	maxOpenEndings   = 128
	maxEndingRest    = time.Minute
	undeliveredRest  = time.Second / 10
)

func newEndingPace() endingPace { return endingPace{most: firstOpenEndings} }

// wait is how long until there may be one more, unless there is room for it before.
func (p *endingPace) wait(now time.Time) time.Duration {
	if p.open >= p.most {
		return time.Hour
	}
	return p.until.Sub(now)
}

// taken notes an answer.
func (p *endingPace) taken() {
	p.rest = 0
	if p.round++; p.round >= p.most {
		p.most, p.round = min(p.most+1, maxOpenEndings), 0
	}
}

// failed notes one for which the HSS had no time. Those that were open with it say nothing more.
func (p *endingPace) failed(now time.Time) {
	if now.Before(p.until) {
		return
	}
	p.most, p.round = max(1, p.most/2), 0
	p.rest = min(max(2*p.rest, time.Second), maxEndingRest)
	p.until = now.Add(p.rest)
}

// undelivered notes one that has not come to the HSS, which says nothing of how much that
// has to do; but an agent on the way that refuses at once is not to be asked without end.
func (p *endingPace) undelivered(now time.Time) {
	if until := now.Add(undeliveredRest); until.After(p.until) {
		p.until = until
	}
}
