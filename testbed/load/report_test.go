package load

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// What phases report adds up, and is said to people and to scripts.
func TestReport(t *testing.T) {
	rec := &recorder{}
	for i := range 100 {
		rec.tallies[Call].attempts++
		rec.note(Call, "", time.Duration(i+1)*time.Millisecond, 0, time.Second)
	}
	rec.tallies[Message].attempts += 3
	rec.note(Message, "", 2*time.Second, 0, time.Second)    // late
	rec.note(Message, "", time.Millisecond, 1, time.Second) // sent again
	rec.note(Message, "MESSAGE: 503", time.Second/2, 0, time.Second)
	rec.refused.add(time.Second / 2)
	rec.noRetryAfter++
	p := rec.phase(10*time.Second, 80) // 22 succeed when the load is over
	if p.Attempts != 103 || p.Succeeded != 102 || p.Failed != 1 || p.Inadequate != 3 || p.Causes["MESSAGE: 503"] != 1 || p.Rate != 8 || p.Done != 80 || p.OverLimit != 1 || p.Retransmissions != 1 {
		t.Errorf("%+v", p)
	}
	if c := p.Scenarios["call"]; c.Attempts != 100 || c.Latency.P50 < 50 || c.Latency.P50 > 51 || c.Latency.P99 < 99 || c.Latency.P99 > 101 || c.InadequateShare != 0 {
		t.Errorf("calls: %+v", c)
	}
	p.CPU = []CPU{{Name: "pcscf", Total: 1, PerOperation: 10}, {Name: "scscf", Total: 1, PerOperation: 5}}
	r := &Report{
		Mix: "call=1", Loop: "open", Rate: Rate{From: 1, To: 2}, Load: p, Steps: []Step{{100, p}}, PreRegistration: &Phase{Counts: Counts{Succeeded: 100}},
		Memory: []Memory{{Name: "pcscf", Before: 1024, Registered: 2048}}, Series: []Second{{Seconds: 1, Due: 7, Succeeded: 5, P99: 3}, {Seconds: 2, Failed: 2}},
	}
	r.perSubscriber()
	var text strings.Builder
	if err := r.Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"103 attempts, 102 succeeded, 1 failed", "MESSAGE: 503", "15.000 ms an operation", "without Retry-After", "10.24 KiB a subscriber", "1/s to 2/s offered", "100/s offered"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, &text)
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Load struct {
			Attempts uint64            `json:"attempts"`
			Causes   map[string]uint64 `json:"causes"`
		} `json:"load"`
	}
	if err := json.Unmarshal(b, &back); err != nil || back.Load.Attempts != 103 || back.Load.Causes["MESSAGE: 503"] != 1 {
		t.Errorf("%+v, %v", back, err)
	}
	if got := r.outcome(); !errors.Is(got, errFailed) {
		t.Errorf("a report with a failure is %v", got)
	}
}

// A load of which nothing was begun has not succeeded.
func TestOutcome(t *testing.T) {
	some, none := &Phase{Counts: Counts{Attempts: 3, Succeeded: 3}}, &Phase{Counts: Counts{Skipped: 9}}
	failed := &Phase{Counts: Counts{Attempts: 3, Succeeded: 2, Failed: 1}}
	for name, tt := range map[string]struct {
		r    Report
		want error
	}{
		"registered":              {Report{PreRegistration: some}, nil},
		"some":                    {Report{PreRegistration: some, Load: some}, nil},
		"nobody could":            {Report{PreRegistration: some, Load: none}, errNothing},
		"a failure":               {Report{Load: failed}, errFailed},
		"of the pre-registration": {Report{PreRegistration: failed, Load: none}, errFailed},
		"a step is there to fail": {Report{Steps: []Step{{100, failed}}}, nil},
	} {
		if got := tt.r.outcome(); !errors.Is(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// A load is handled adequately with at most one in a thousand attempts that is not, and
// where each that was due was made.
func TestAdequate(t *testing.T) {
	for _, tt := range []struct {
		attempts, failed, late, again, skipped int
		want                                   bool
	}{
		{1000, 0, 0, 0, 0, true}, {1000, 1, 0, 0, 0, true}, {1000, 0, 1, 0, 0, true}, {1000, 0, 0, 1, 0, true},
		{1000, 2, 0, 0, 0, false}, {1000, 1, 1, 0, 0, false}, {1000, 0, 1, 1, 0, false}, {999, 1, 0, 0, 0, false},
		{1000, 0, 0, 0, 1, false}, {0, 0, 0, 0, 0, false},
	} {
		rec := &recorder{}
		rec.tallies[Call].attempts, rec.tallies[Call].skipped = uint64(tt.attempts), uint64(tt.skipped)
		for i := range tt.attempts {
			cause, took, again := "", time.Millisecond, 0
			switch {
			case i < tt.failed:
				cause = "INVITE: 500"
			case i < tt.failed+tt.late:
				took = 2 * time.Second
			case i < tt.failed+tt.late+tt.again:
				again = 1
			}
			rec.note(Call, cause, took, again, time.Second)
		}
		if p := rec.phase(time.Second, uint64(tt.attempts)); p.adequate() != tt.want {
			t.Errorf("%+v: %+v", tt, p.Counts)
		}
	}
}

// The plot is XML, and each curve has a point a second.
func TestPlot(t *testing.T) {
	for _, series := range [][]Second{nil, {{Seconds: 1, Due: 10, Succeeded: 9, Failed: 1, P50: 2, P99: 700}, {Seconds: 2}, {Seconds: 3, Due: 1}}} {
		d := xml.NewDecoder(strings.NewReader(string((&Report{Series: series}).Plot())))
		curves := 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			e, ok := token.(xml.StartElement)
			if !ok || e.Name.Local != "polyline" {
				continue
			}
			curves++
			for _, a := range e.Attr {
				if a.Name.Local == "points" && len(strings.Fields(a.Value)) != len(series) {
					t.Errorf("a curve of %d seconds has the points %q", len(series), a.Value)
				}
			}
		}
		if curves != 5 {
			t.Errorf("%d curves", curves)
		}
	}
	for v, want := range map[float64]float64{1: 1, 3: 5, 11: 20, 700: 1000, 0.3: 0.5} {
		if got := nice(v); got < want*0.999 || got > want*1.001 {
			t.Errorf("nice(%g) is %g", v, got)
		}
	}
}
