package load

import "time"

// recorder counts what attempts of a phase come to.
type recorder struct {
	tallies      [scenarios]tally
	refused      histogram // 503, from when the request that is refused was due
	noRetryAfter uint64
}

// tally is of one scenario.
type tally struct {
	attempts, ok, failed  uint64
	skipped               uint64 // due, but no phone could begin
	retrans               uint64 // messages sent again
	repeated, late, wrong uint64 // attempts with such, over the limit, and inadequate
	causes                map[string]uint64
	latency               histogram // of those that succeeded
}

// maxCauses bounds the causes told apart: a core may write any status.
const maxCauses = 64

func (r *recorder) note(kind Scenario, cause string, latency time.Duration, retrans int, limit time.Duration) {
	t := &r.tallies[kind]
	t.retrans += uint64(retrans)
	late := latency > limit
	if retrans > 0 {
		t.repeated++
	}
	if late {
		t.late++
	}
	if cause != "" || late || retrans > 0 {
		t.wrong++
	}
	if cause == "" {
		t.ok++
		t.latency.add(latency)
		return
	}
	t.failed++
	if t.causes == nil {
		t.causes = make(map[string]uint64)
	}
	if _, known := t.causes[cause]; !known && len(t.causes) >= maxCauses {
		cause = "other"
	}
	t.causes[cause]++
}

func (t *tally) merge(o *tally) {
	t.attempts, t.ok, t.failed, t.skipped = t.attempts+o.attempts, t.ok+o.ok, t.failed+o.failed, t.skipped+o.skipped
	t.retrans, t.repeated, t.late, t.wrong = t.retrans+o.retrans, t.repeated+o.repeated, t.late+o.late, t.wrong+o.wrong
	for cause, n := range o.causes {
		if t.causes == nil {
			t.causes = make(map[string]uint64)
		}
		t.causes[cause] += n
	}
	t.latency.merge(&o.latency)
}

func (r *recorder) sum() (t tally) {
	for i := range r.tallies {
		t.merge(&r.tallies[i])
	}
	return t
}
