package load

import (
	"context"
	"time"
)

// runner goes through the phases of a Run.
type runner struct {
	*engine
	report *Report
	phase  string
}

func (r *runner) run(ctx context.Context) error {
	procs, err := watch(r.cfg.Processes)
	if err != nil {
		return err
	}
	r.report.memory(procs, 0)
	if r.cfg.Registered > 0 && ctx.Err() == nil {
		r.report.PreRegistration = r.offer(ctx, "pre-registration", procs, part{mix: Only(Register), busy: r.cfg.RegisterBusy, count: r.cfg.Registered})
	}
	r.report.memory(procs, 1)
	p := part{mix: r.cfg.Mix, busy: r.cfg.Busy, rate: r.cfg.Rate, stir: r.cfg.Stir, duration: r.cfg.Duration, count: r.cfg.Count}
	switch {
	case ctx.Err() != nil:
	case len(r.cfg.Steps) > 0:
		r.steps(ctx, procs, p)
	case r.cfg.Duration > 0 || r.cfg.Count > 0 || r.cfg.End != nil:
		r.report.Load = r.offer(ctx, "load", procs, p)
	}
	if r.cfg.Leave && ctx.Err() == nil {
		r.lock()
		n := r.on.size
		r.unlock()
		if n > 0 {
			r.report.Leave = r.offer(ctx, "leave", procs, part{mix: Only(Deregister), busy: r.cfg.RegisterBusy, count: n, anyway: true})
		}
	}
	r.report.memory(procs, 2)
	return nil
}

// part is one load to offer.
type part struct {
	mix            Mix
	busy           int
	rate           Rate
	stir, duration time.Duration
	count          int
	anyway         bool // Config.End does not end it
}

// offer offers a load: the stir phase, what counts, and the rest of what is under way.
func (r *runner) offer(ctx context.Context, name string, procs processes, p part) *Phase {
	rec := &recorder{}
	o := r.newOffer(p.mix, p.busy, -1, rec)
	if p.rate != (Rate{}) {
		o.arrivals = newPoisson(p.rate, r.cfg.Seed)
	}
	if p.stir > 0 {
		r.phase = "stir"
		o.rec = &recorder{}
		r.begin(o)
		r.last(ctx, o, p.stir, r.cfg.End)
		r.lock()
		o.rec = rec
		if p.count > 0 {
			o.left = p.count
		}
		r.unlock()
	}
	r.phase = name
	from := r.mark(procs)
	if p.stir == 0 {
		if p.count > 0 {
			o.left = p.count
		}
		r.begin(o)
		from.at = o.start
	}
	end := r.cfg.End
	if p.anyway {
		end = nil
	}
	r.last(ctx, o, p.duration, end)
	to := r.mark(procs)
	r.end(o)
	r.drain(ctx, o)
	out := rec.phase(to.at-from.at, to.done-from.done)
	if p.count > 0 { // what was under way when the last began is a part of what was asked for
		out.Rate = rateOf(out.Succeeded, to.at-from.at)
	}
	out.CPU, out.Phones = procs.used(from.cpu, to.cpu, out.Done), (to.self - from.self).Seconds()
	return out
}

// mark is what has been done and used by a moment.
type mark struct {
	at   time.Duration // of the engine's clock
	done uint64        // operations that have succeeded
	cpu  map[string]stat
	self time.Duration // this process's processor time
}

// mark reads all of that. To read the processor time of many processes takes some
// milliseconds, in which the load goes on: what is done belongs to the middle of them.
func (r *runner) mark(p processes) mark {
	m := mark{self: ownCPU()}
	done, at := r.soFar()
	m.cpu = p.cpu()
	after, to := r.soFar()
	m.done, m.at = done+(after-done)/2, at+(to-at)/2
	return m
}

// soFar is how many operations have succeeded, and the time.
func (r *runner) soFar() (uint64, time.Duration) {
	r.lock()
	defer r.unlock()
	return r.succeeded, r.now
}

// last waits until a time is over, 0 for none, or the offer or ctx, or end is closed.
func (r *runner) last(ctx context.Context, o *offer, length time.Duration, end <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var timer <-chan time.Time
	if length > 0 {
		t := time.NewTimer(length)
		defer t.Stop()
		timer = t.C
	}
	for {
		select {
		case <-tick.C:
			r.tickSecond()
		case <-timer:
			return
		case <-o.over:
			return
		case <-end:
			return
		case <-ctx.Done():
			return
		}
	}
}

// drain waits for what is under way; the end of ctx ends it at once.
func (r *runner) drain(ctx context.Context, o *offer) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.tickSecond()
		case <-ctx.Done():
			r.lock()
			for a := range r.active {
				r.fail(a, "interrupted")
			}
			r.unlock()
			<-o.done
			return
		case <-o.done:
			return
		}
	}
}

// Second is what happened in one second.
type Second struct {
	Phase string `json:"phase"`
	// Seconds are since the beginning of all.
	Seconds   float64 `json:"t"`
	Due       uint64  `json:"due"` // operations that were due
	Succeeded uint64  `json:"ok"`
	Failed    uint64  `json:"failed"`
	Repeated  uint64  `json:"retransmissions"` // messages of those that ended
	Active    int     `json:"active"`          // operations under way
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
}

// tickSecond closes a second of the series.
func (r *runner) tickSecond() {
	r.lock()
	t := r.second.sum()
	s := Second{
		Phase: r.phase, Seconds: float64(r.now.Round(10*time.Millisecond)) / float64(time.Second), Due: t.attempts, Succeeded: t.ok, Failed: t.failed,
		Repeated: t.retrans, Active: len(r.active), P50: ms(t.latency.quantile(0.5)), P99: ms(t.latency.quantile(0.99)),
	}
	r.second = recorder{}
	r.unlock()
	if len(r.report.Series) < maxSeries {
		r.report.Series = append(r.report.Series, s)
	}
	if r.cfg.Progress != nil {
		r.cfg.Progress(s)
	}
}

// maxSeries bounds the report: a day.
const maxSeries = 24 * 3600

// adequate is the share of inadequately handled attempts that a load may have (ETSI TS
// 186 008-1: the design objective capacity).
const adequate = 0.001

// steps tries one load after the other until one is not handled adequately.
func (r *runner) steps(ctx context.Context, procs processes, p part) {
	for _, rate := range r.cfg.Steps {
		if ctx.Err() != nil {
			return
		}
		p.rate = Rate{From: rate, To: rate}
		s := Step{Offered: rate, Phase: r.offer(ctx, "step", procs, p)}
		r.report.Steps = append(r.report.Steps, s)
		if !s.adequate() {
			return
		}
		r.report.DOC = rate
	}
}

// adequate reports whether a load was handled so, and was what it should have been.
func (p *Phase) adequate() bool {
	return p.Attempts > 0 && p.InadequateShare <= adequate && p.Skipped == 0
}
