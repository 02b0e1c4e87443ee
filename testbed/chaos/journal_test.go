package chaos

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/testbed/load"
)

// TestSettle lays attempts to the windows of faults: what was under way when a fault
// came is the fault's, and what is due after a window has ended is nobody's.
func TestSettle(t *testing.T) {
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return zero.Add(time.Duration(s * float64(time.Second))) }
	windows := []window{
		{at(10), at(15), at(18), at(30), true},
		{at(30), at(31), at(31), at(40), false},
	}
	attempt := func(kind load.Scenario, from int, due, ended float64, cause string) load.Attempt {
		return load.Attempt{Scenario: kind, From: from, To: -1, Due: at(due), Ended: at(ended), Cause: cause}
	}
	call := func(due, answered, ended float64, cause string) load.Attempt {
		a := attempt(load.Call, 1, due, ended, cause)
		a.Answered = at(answered)
		return a
	}
	attempts := []load.Attempt{
		attempt(load.Message, 1, 5, 6, ""),
		call(8, 9.1, 12, "BYE: 481"), // established before the fault came
		attempt(load.Message, 1, 11, 12, "MESSAGE: 504"),
		attempt(load.Recover, 1, 12, 13, "REGISTER: 504"),
		attempt(load.Recover, 1, 16, 17, ""),
		attempt(load.Recover, 2, 16, 17, ""),
		attempt(load.Message, 3, 17.2, 18, "MESSAGE: 504"),
		attempt(load.Message, 3, 15.5, 33, "MESSAGE: no final answer"), // due in the first, over in the second
		attempt(load.Message, 3, 15.1, 32, "MESSAGE: 504"),
		call(25, 25.5, 27.5, ""),
		call(28, 28.5, 35, "BYE: 504"), // all was well when it was due
		call(32, 33, 36, ""),
		attempt(load.Subscribe, 4, 39, 39.5, "SUBSCRIBE: 403"), // its dialog went with the first fault
		attempt(load.Message, 3, 40, 41, "MESSAGE: 500"),
	}
	var g ledger
	g.settle(attempts[:4], windows[:1]) // what has ended before the next fault may be settled before
	g.settle(attempts[4:], windows)
	list, outside := g.list, g.outside
	want := []Losses{
		{Attempts: 10, Failed: 7, Late: 1, Subscriptions: 1, Calls: 2, CallsLost: 1, Again: 2, Recovery: 3,
			Causes: map[string]uint64{"call: BYE: 481": 1, "message: MESSAGE: 504": 3, "recover: REGISTER: 504": 1, "subscribe: SUBSCRIBE: 403": 1, "message: MESSAGE: no final answer": 1}},
		{Attempts: 2, Failed: 1, Calls: 2, CallsLost: 1, Causes: map[string]uint64{"call: BYE: 504": 1}},
	}
	if d := cmp.Diff(want, list); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Losses{Attempts: 2, Failed: 1, Causes: map[string]uint64{"message: MESSAGE: 500": 1}}, outside); d != "" {
		t.Error(d)
	}
}

// TestJournal: it keeps so many, counts those beyond, and knows of all when the last one
// failed, but for lost subscriptions.
func TestJournal(t *testing.T) {
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	j := journal{most: 3}
	for i, cause := range []string{"", "MESSAGE: 504", "", "MESSAGE: 500", ""} {
		j.note(load.Attempt{Scenario: load.Message, Due: zero.Add(time.Duration(i) * time.Second), Cause: cause})
	}
	j.note(load.Attempt{Scenario: load.Message, Due: zero, Cause: "MESSAGE: 504"}) // due before
	j.note(load.Attempt{Scenario: load.Subscribe, Due: zero.Add(time.Minute), Cause: "SUBSCRIBE: 481"})
	if kept, missed, failed := len(j.take()), j.missed(), j.lastFailed().Sub(zero); kept != 3 || missed != 4 || failed != 3*time.Second {
		t.Errorf("%d kept, %d not, the last one that failed was due at %v; want 3, 4 and 3s", kept, missed, failed)
	}
}

// forgotten is what a mild fault comes to in which calls go to phones that are not registered.
func forgotten(failed uint64, refused float64) *Outcome {
	return &Outcome{Fault: "hss-slow", Recovered: true, Losses: Losses{Failed: failed}, Unnamed: []string{"a metric"},
		Metrics: map[string]float64{`icscf: gocscf_icscf_refused_total{cause="not_registered"}`: refused}}
}

// TestFaulty: what a fault may not cost is said, what it may is not.
func TestFaulty(t *testing.T) {
	report := func(change func(*Report)) *Report {
		r := &Report{Outcomes: []*Outcome{{Fault: "icscf-dies", Phones: 10, Recovered: true}, {Fault: "scscf-dies", Phones: 10, PhonesLost: 10, Recovered: true}}}
		for _, o := range r.Outcomes {
			o.Named = []string{"a line"}
		}
		r.Outcomes[1].CallsLost = 3
		r.Outside.Attempts = 9
		change(r)
		if r.All.Attempts == 0 { // the phones count the same
			r.All = load.Counts{Attempts: r.Outside.Attempts, Failed: r.Outside.Failed}
			for _, o := range r.Outcomes {
				r.All.Attempts, r.All.Failed = r.All.Attempts+o.Attempts, r.All.Failed+o.Failed
			}
			r.All.Succeeded = r.All.Attempts - r.All.Failed
		}
		return r
	}
	for name, tt := range map[string]struct {
		change func(*Report)
		want   int
	}{
		"what is held in memory alone":      {func(*Report) {}, 0},
		"a phone is lost":                   {func(r *Report) { r.Outcomes[0].PhonesLost = 1 }, 1},
		"a call is lost":                    {func(r *Report) { r.Outcomes[0].CallsLost = 1 }, 1},
		"it does not recover":               {func(r *Report) { r.Outcomes[1].Recovered = false }, 1},
		"nothing names the cause":           {func(r *Report) { r.Outcomes[0].Named, r.Outcomes[0].Unnamed = nil, []string{"a line"} }, 1},
		"a failure without a fault":         {func(r *Report) { r.Outside.Failed = 1 }, 1},
		"attempts that are neither":         {func(r *Report) { r.All.Attempts, r.All.Succeeded = 9, 8 }, 1},
		"attempts that the journal has not": {func(r *Report) { r.All.Attempts, r.All.Succeeded = 10, 10 }, 1},
		"attempts that the phones have not": {func(r *Report) { r.All.Attempts, r.All.Succeeded = 8, 8 }, 1},
		"failures that the journal has not": {func(r *Report) { r.All.Attempts, r.All.Succeeded, r.All.Failed = 9, 8, 1 }, 1},
		"attempts that found no room":       {func(r *Report) { r.Missed = 1 }, 1},
		"a failure that nothing names": {func(r *Report) {
			r.Outcomes[0].Named, r.Outcomes[0].Failed = nil, 1
			r.All.Succeeded, r.All.Failed = 4, 1
		}, 1},
		"a mild fault that costs nothing": {func(r *Report) {
			r.Outcomes[0].Fault, r.Outcomes[0].Named, r.Outcomes[0].Unnamed = "hss-slow", nil, []string{"a metric"}
		}, 0},
		"a mild fault that nothing names": {func(r *Report) {
			r.Outcomes[0].Fault, r.Outcomes[0].Failed, r.Outcomes[0].Named, r.Outcomes[0].Unnamed = "hss-slow", 1, nil, []string{"a metric"}
		}, 1},
		"a mild fault that is named":    {func(r *Report) { r.Outcomes[0].Fault, r.Outcomes[0].Failed = "hss-slow", 1 }, 0},
		"a fault that may cost nothing": {func(r *Report) { r.Outcomes[0].Fault, r.Outcomes[0].Failed, r.Outcomes[0].Named = "gm-loses", 1, nil }, 1},
		"what an earlier fault has left": {func(r *Report) {
			r.Outcomes[0].Fault, r.Outcomes[1] = "hss-dies", forgotten(2, 2)
		}, 0},
		"more than an earlier fault has left": {func(r *Report) {
			r.Outcomes[0].Fault, r.Outcomes[1] = "hss-dies", forgotten(3, 2)
		}, 1},
		"what no earlier fault has left": {func(r *Report) { r.Outcomes[1] = forgotten(2, 2) }, 1},
		"a fault that there is not":      {func(r *Report) { r.Outcomes[0].Fault = "rain" }, 1},
	} {
		if got := report(tt.change).Faulty(); len(got) != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
