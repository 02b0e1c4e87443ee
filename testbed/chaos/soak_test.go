package chaos

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

// count makes a TrafficCount: REGISTERs begun, and answered 200 and 401.
func count(begun, ok, challenged uint64) load.TrafficCount {
	return load.TrafficCount{Requests: map[string]uint64{"REGISTER": begun}, Answers: map[string]uint64{"REGISTER 200": ok, "REGISTER 401": challenged}}
}

// core0 are the counters of services that agree with count.
func core0(begun, ok, challenged float64) map[string]series {
	return map[string]series{
		pcscf: {`gocscf_pcscf_registers_total{status="200"}`: ok, `gocscf_pcscf_registers_total{status="401"}`: challenged, `gocscf_pcscf_refused_total{cause="x"}`: min(3, ok)},
		scscf: {
			`gocscf_scscf_registers_total{status="200"}`: ok, `gocscf_scscf_registers_total{status="401"}`: challenged,
			`gocscf_cx_messages_total{command="SAR",direction="out"}`: ok, `gocscf_cx_messages_total{command="SAA",direction="in"}`: ok,
			`gocscf_cx_messages_total{command="MAR",direction="out"}`: challenged, `gocscf_cx_messages_total{command="MAA",direction="in"}`: challenged,
		},
		icscf: {`gocscf_cx_messages_total{command="UAR",direction="out"}`: begun, `gocscf_cx_messages_total{command="UAA",direction="in"}`: begun},
		hss: {
			`gocscf_hss_answers_total{command="UAR",result="experimental 2001"}`: begun, `gocscf_hss_answers_total{command="SAR",result="2001"}`: ok,
			`gocscf_hss_answers_total{command="MAR",result="2001"}`:   challenged,
			`gocscf_cx_messages_total{command="SAR",direction="in"}`:  ok,
			`gocscf_cx_messages_total{command="SAA",direction="out"}`: ok, `gocscf_cx_messages_total{command="MAR",direction="in"}`: challenged,
			`gocscf_cx_messages_total{command="MAA",direction="out"}`: challenged, `gocscf_cx_messages_total{command="UAR",direction="in"}`: begun,
			`gocscf_cx_messages_total{command="UAA",direction="out"}`: begun,
		},
	}
}

func alive(p int) map[string]int { return map[string]int{hss: 1, icscf: 1, scscf: 1, pcscf: p} }

// TestBook: what two hands count alike agrees; a count that is off is found, in the
// hand and the span that it is in, and one by what is under way is not.
func TestBook(t *testing.T) {
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	run := func(change func(core map[string]series, last *reading)) (bad []string) {
		var k book
		k.begin(reading{at: zero, metrics: core0(0, 0, 0), lives: alive(1)})
		// While the services are asked one more is answered, and two are under way.
		first := reading{at: zero.Add(time.Minute), before: count(202, 100, 100), after: count(203, 101, 100), metrics: core0(202, 101, 100), lives: alive(1)}
		k.calm(first)
		// The P-CSCF is killed, and two lose their answers.
		o := &Outcome{broken: count(210, 104, 103)}
		healed := reading{at: zero.Add(2 * time.Minute), before: count(240, 119, 118), after: count(240, 119, 118), metrics: core0(240, 119, 118), lives: alive(2)}
		healed.metrics[pcscf] = series{`gocscf_pcscf_registers_total{status="200"}`: 15, `gocscf_pcscf_registers_total{status="401"}`: 15}
		k.fault(Fault{Name: "pcscf-dies"}, o, healed)
		last := reading{at: zero.Add(3 * time.Minute), before: count(440, 219, 218), after: count(440, 219, 218), metrics: core0(440, 219, 218), lives: alive(2)}
		last.metrics[pcscf] = series{`gocscf_pcscf_registers_total{status="200"}`: 115, `gocscf_pcscf_registers_total{status="401"}`: 115}
		if change != nil {
			change(last.metrics, &last)
		}
		k.calm(last)
		k.end(last)
		for _, c := range k.checks() {
			for _, b := range c.Bad {
				bad = append(bad, c.What+": "+b)
			}
		}
		bad = append(bad, k.unread...)
		if k.refused != 3 { // of the first minute; afterwards none were added
			t.Errorf("%g refusals between faults, want 3", k.refused)
		}
		if len(k.between) != 1 || k.between[`pcscf: gocscf_pcscf_refused_total{cause="x"}`] != 3 {
			t.Errorf("told of what was refused: %v", k.between)
		}
		return bad
	}
	for name, tt := range map[string]struct {
		change func(core map[string]series, last *reading)
		want   []string
	}{
		"all agree": {nil, nil},
		"the P-CSCF has forgotten ten": {func(m map[string]series, _ *reading) { m[pcscf][`gocscf_pcscf_registers_total{status="200"}`] -= 10 },
			[]string{"200: phones, P-CSCF: in the end", "but for 503: phones, P-CSCF: in the end"}},
		// Three were without an answer when the P-CSCF was killed: it had answered some, whom
		// phones heard afterwards, or none, and they never had an answer.
		"three are heard late of the killed": {func(m map[string]series, _ *reading) { m[pcscf][`gocscf_pcscf_registers_total{status="200"}`] -= 3 }, nil},
		"four are heard late of the killed": {func(m map[string]series, _ *reading) { m[pcscf][`gocscf_pcscf_registers_total{status="200"}`] -= 4 },
			[]string{"200: phones, P-CSCF: in the end: counted 111, want 112 to 118", "but for 503: phones, P-CSCF: in the end"}},
		"three answers are lost": {func(m map[string]series, _ *reading) { m[pcscf][`gocscf_pcscf_registers_total{status="200"}`] += 3 }, nil},
		"four answers are lost": {func(m map[string]series, _ *reading) { m[pcscf][`gocscf_pcscf_registers_total{status="200"}`] += 4 },
			[]string{"200: phones, P-CSCF: in the end", "but for 503: phones, P-CSCF: in the end"}},
		"the S-CSCF registers whom nobody asked for": {func(m map[string]series, _ *reading) { m[scscf][`gocscf_scscf_registers_total{status="200"}`] += 10 },
			[]string{"200: phones, S-CSCF"}},
		"the HSS answers twice": {func(m map[string]series, _ *reading) {
			m[hss][`gocscf_hss_answers_total{command="MAR",result="2001"}`] += 10
		}, []string{"MARs answered by the HSS"}},
		"questions do not arrive": {func(m map[string]series, _ *reading) {
			m[hss][`gocscf_cx_messages_total{command="SAR",direction="in"}`] -= 10
		}, []string{"SAR over Cx"}},
		// Phones whose calls ring are no reason for a REGISTER's question to be missing.
		"questions do not arrive while phones ring": {func(m map[string]series, last *reading) {
			m[hss][`gocscf_cx_messages_total{command="SAR",direction="in"}`] -= 10
			last.before.Requests["INVITE"], last.after.Requests["INVITE"] = 100, 100
		}, []string{"SAR over Cx"}},
		"a service does not tell": {func(m map[string]series, last *reading) {
			delete(m, scscf)
			last.unread = []string{"scscf is silent"}
		}, []string{"scscf is silent", "scscf is silent"}}, // in the last calm, and in the end
	} {
		bad := run(tt.change)
		if len(bad) != len(tt.want) {
			t.Errorf("%s: %q", name, bad)
			continue
		}
		for i, w := range tt.want {
			if !strings.Contains(bad[i], w) {
				t.Errorf("%s: %q does not name %q", name, bad[i], w)
			}
		}
	}
}

// TestTally: who asks for any answer is told of all but 503, and what has any is not open.
func TestTally(t *testing.T) {
	c := count(20, 4, 3)
	c.Requests["INVITE"], c.Answers["INVITE 200"] = 5, 5
	c.Answers["REGISTER 503"] = 2
	for status, want := range map[string]float64{"": 7, "200": 4, "503": 2} {
		if n, open := tally(c, []string{"REGISTER"}, status); n != want || open != 11 {
			t.Errorf("%q: %g and %g open, want %g and 11", status, n, open, want)
		}
	}
	if low, high := bounds(c, c, account{requests: []string{"REGISTER", "INVITE"}, status: "200"}); low != 9 || high != 20 {
		t.Errorf("from %g to %g, want 9 to 20", low, high)
	}
}

// TestUnreadIsWrong: a reading that is missing is told in the end.
func TestUnreadIsWrong(t *testing.T) {
	s := &soaking{bench: &bench{}, rep: &SoakReport{}, sample: &sampler{}}
	s.book.begin(reading{unread: []string{"scscf is silent"}})
	s.finish()
	if !slices.Contains(s.rep.Wrong, "scscf is silent") {
		t.Errorf("%q", s.rep.Wrong)
	}
}

// TestLevels: a level with noise is flat, a leak in the noise is not, and what grows
// when a service has just started, or in a fault, does not count.
func TestLevels(t *testing.T) {
	calm := func(s float64) bool { return math.Mod(s, 300) > 60 && (s < 1500 || math.Mod(s, 300) > 220) }
	make := func(leak float64) (list []Sample) {
		for s := 0.0; s <= 2700; s += 5 {
			for _, name := range services {
				x := Sample{Seconds: s, Service: name, Life: 1, Calm: calm(s), PSS: 80000 + 3000*math.Mod(s/5, 4), Goroutines: 20 + math.Mod(s/5, 3)}
				if name == scscf && s >= 300 { // it has been restarted
					x.Life, x.born = 2, 300
				}
				if name == icscf && s >= 2400 {
					x.Life, x.born = 2, 2400
				}
				x.PSS -= 40000 * math.Exp(-(s-x.born)/30)
				if !x.Calm {
					x.PSS *= 2
				}
				if name == scscf {
					x.PSS += leak * s
				}
				list = append(list, x)
			}
		}
		return list
	}
	for _, l := range levels(make(0), 3*time.Minute) {
		if !l.Flat || l.Samples < 100 {
			t.Errorf("%s: %s: %s", l.Service, l.Of, l.String())
		}
		if l.Service == scscf && l.From < 480 {
			t.Errorf("the S-CSCF is judged from %g s on: it has started at 300", l.From)
		}
		if l.Service == icscf && l.To >= 2400 {
			t.Errorf("the I-CSCF is judged until %g s: it has started again at 2400", l.To)
		}
	}
	short := slices.DeleteFunc(make(0), func(x Sample) bool { return x.Seconds < 480 || x.Seconds > 480+memoryNeeds.Seconds()-10 })
	for _, l := range levels(short, 0) {
		if known := l.Of != memory; known != (l.Samples > 0) {
			t.Errorf("of four minutes, nearly, in %d samples: %s: %s: %s", len(short), l.Service, l.Of, l.String())
		}
	}
	for _, l := range levels(make(5), 3*time.Minute) { // 5 KiB a second
		if leaks := l.Service == scscf && l.Of == memory; l.Flat == leaks {
			t.Errorf("%s: %s: %s", l.Service, l.Of, l.String())
		}
	}
	if got := minutes(make(0), time.Minute); len(got) != 4*46 || got[1].Seconds != 60 || got[1].Calm {
		t.Errorf("%d minutes, the second is %+v", len(got), got[1])
	}
}

// TestSoakJudges: what nothing explains makes a run a failed one, and is said.
func TestSoakJudges(t *testing.T) {
	good := func() *SoakReport {
		r := &SoakReport{Planned: 1, Refusals: []float64{5, 9}, Overloads: 2, Seconds: 2700}
		r.Outcomes = []*Outcome{{Fault: "icscf-dies", Recovered: true, Named: []string{"a line"}, Losses: Losses{Attempts: 10, Failed: 5, Causes: map[string]uint64{"call: INVITE: 504": 5}},
			Metrics: map[string]float64{`pcscf: gocscf_pcscf_refused_total{cause="home_silent"}`: 5}}}
		r.Outside = Losses{Attempts: 90, Failed: 2, Causes: map[string]uint64{"message: MESSAGE: 503": 2}}
		r.All = load.Counts{Attempts: 100, Succeeded: 93, Failed: 7}
		var k book
		k.begin(reading{})
		for _, c := range k.checks() {
			c.Phones, c.Service, c.Spans = 100, 100, r.spans(c.What)
			r.Checks = append(r.Checks, c)
		}
		r.Levels = []Level{{Service: pcscf, Of: memory, Samples: 100, Flat: true}}
		return r
	}
	calm := func(r *SoakReport, overloads float64) {
		r.Outcomes[0].Fault, r.Outcomes[0].Named, r.Outcomes[0].Causes = "gm-loses", nil, map[string]uint64{"reregister: REGISTER: 503": 5}
		r.Outcomes[0].Metrics = map[string]float64{`pcscf: gocscf_overload_refused_total{reason="under_way"}`: overloads, `pcscf: gocscf_sip_rejected_total{status="503"}`: 5}
	}
	for name, tt := range map[string]struct {
		change func(*SoakReport)
		want   string
	}{
		"all is explained":             {func(*SoakReport) {}, ""},
		"a failure without a fault":    {func(r *SoakReport) { r.Outside.Causes = map[string]uint64{"message: MESSAGE: 404": 2} }, "without a fault"},
		"503s that nobody has counted": {func(r *SoakReport) { r.Overloads = 1 }, "1 attempts failed without a fault"},
		"500s while much is refused":   {func(r *SoakReport) { r.Outside.Causes = map[string]uint64{"message: MESSAGE: 500": 2} }, "2 attempts failed without a fault"},
		"refusals that nobody counted": {func(r *SoakReport) {
			r.Outcomes[0].Causes["call: INVITE: 504"], r.Outcomes[0].Failed, r.All.Failed, r.All.Succeeded = 11, 11, 13, 87
		}, "11 attempts were refused, and the services count 5"},
		"silence":                        {func(r *SoakReport) { r.Outcomes[0].Causes = map[string]uint64{"call: INVITE: no final answer": 5} }, "had no answer"},
		"attempts that nobody has seen":  {func(r *SoakReport) { r.All.Attempts, r.All.Succeeded = 101, 94 }, "their journal has 100"},
		"counters that do not agree":     {func(r *SoakReport) { r.Checks[0].add("then", 5, 5, 6, 7); r.Checks[0].Spans-- }, "phones, P-CSCF: then: counted 5, want 6 to 7"},
		"a check that holds nothing":     {func(r *SoakReport) { r.Checks[3].Spans = 0 }, "in 0 stretches of time, want some in 2"},
		"a stretch that nobody has read": {func(r *SoakReport) { r.Checks[16].Spans = 1 }, "in 1 stretches of time, want some in 2"},
		"a number that is always zero":   {func(r *SoakReport) { r.Checks[8].Phones = 0 }, "LIRs answered by the HSS: 0 were held"},
		"an empty book":                  {func(r *SoakReport) { r.Checks = nil }, "0 numbers were counted twice, want 17"},
		"a life that nobody has read": {func(r *SoakReport) {
			r.Outcomes[0].Fault, r.Outcomes[0].Metrics = "pcscf-dies", map[string]float64{`pcscf: gocscf_pcscf_refused_total{cause="not_registered"}`: 5}
			r.Checks[1].Spans, r.Checks[2].Spans = 2, 2
		}, "REGISTERs answered 200: phones, P-CSCF: 100 were held against the other hand's count in 1 stretches of time, want some in 2"},
		"a leak":                          {func(r *SoakReport) { r.Levels[0].Flat = false }, "is not flat"},
		"nobody knows":                    {func(r *SoakReport) { r.Levels[0] = Level{} }, "too few"},
		"something stays":                 {func(r *SoakReport) { r.Left = map[string]int{"pcscf: dialogs": 3} }, "dialogs is 3"},
		"nobody tells what stays":         {func(r *SoakReport) { r.Left = map[string]int{"pcscf: dialogs": untold} }, "nobody tells pcscf: dialogs"},
		"a fault that had not come":       {func(r *SoakReport) { r.Planned = 2 }, "only 1 of 2"},
		"a fault that loses phones":       {func(r *SoakReport) { r.Outcomes[0].PhonesLost = 1 }, "phones were lost"},
		"503s in a fault that costs none": {func(r *SoakReport) { calm(r, 5) }, ""},
		"more than was refused for load":  {func(r *SoakReport) { calm(r, 4) }, "1 attempts failed, and it may cost none"},
		"a short run, and nobody knows":   {func(r *SoakReport) { r.Seconds, r.Levels[0] = 30, Level{} }, ""},
		"a short run, and the level has":  {func(r *SoakReport) { r.Seconds, r.Levels[0].Flat = 30, false }, "is not flat"},
	} {
		r := good()
		tt.change(r)
		got := r.judge()
		if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestSettled: in the end nothing is held when each service has said so.
func TestSettled(t *testing.T) {
	for name, tt := range map[string]struct {
		says func(after time.Duration) string
		want map[string]int
	}{
		"at once":         {func(time.Duration) string { return "{} 0\n" }, map[string]int{}},
		"after a time":    {func(after time.Duration) string { return fmt.Sprintf("{} %d\n", max(0, 4-int(after.Seconds()))) }, map[string]int{}},
		"never":           {func(time.Duration) string { return "{} 2\n" }, map[string]int{"scscf: gocscf_scscf_watchers": 2}},
		"by another name": {func(time.Duration) string { return "_now{} 0\n" }, map[string]int{"scscf: gocscf_scscf_watchers": untold}},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			c := coreOf(func(string) (string, error) {
				return "gocscf_overload_under_way{request=\"register\"} 0\ngocscf_overload_under_way{request=\"invite\"} 0\ngocscf_sip_transactions{state=\"open\"} 0\ngocscf_cx_open 0\ngocscf_scscf_registered_sets 0\ngocscf_scscf_watchers" + tt.says(time.Since(began)), nil
			})
			s := &soaking{bench: &bench{core: c}, cfg: SoakConfig{Settle: 10 * time.Second}, rep: &SoakReport{}}
			s.settled(t.Context())
			if !maps.Equal(s.rep.Left, tt.want) {
				t.Errorf("%s: %v is left, want %v", name, s.rep.Left, tt.want)
			}
		})
	}
}

// TestSettledLong: where there is time for it, what outlives its registration is waited for.
func TestSettledLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := coreOf(func(service string) (string, error) {
			octets := 0
			if service == scscf {
				octets = 65536
			}
			var all strings.Builder
			for _, g := range slices.Concat(heldNow, heldLong) {
				fmt.Fprintf(&all, "%s{%s} %d\n", g.metric, g.label, map[bool]int{true: octets}[g.metric == "gocscf_sip_lingering_octets"])
			}
			return all.String(), nil
		})
		s := &soaking{bench: &bench{core: c}, cfg: SoakConfig{Settle: afterlife}, rep: &SoakReport{}}
		s.settled(t.Context())
		if want := map[string]int{"scscf: gocscf_sip_lingering_octets": 65536}; !maps.Equal(s.rep.Left, want) {
			t.Errorf("%v is left, want %v", s.rep.Left, want)
		}
	})
}

// TestCommittedSoak: what docs/performance/soak.md tells stands under the rules of today.
// What the report does not hold of the run is not asked.
func TestCommittedSoak(t *testing.T) {
	b, err := os.ReadFile("../../docs/performance/soak.json")
	if err != nil {
		t.Fatal(err)
	}
	r := &SoakReport{}
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	for _, o := range r.Outcomes {
		list, err := byName([]string{o.Fault})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list[0].Signs { // some had none then
			if s.shown(o.Metrics) > 0 && !slices.Contains(o.Named, s.String()) {
				o.Named = append(o.Named, s.String())
			}
		}
	}
	for _, w := range r.judge() {
		t.Error(w)
	}
	var table strings.Builder
	for i, o := range r.Outcomes {
		r.Refusals[i] = refusals(o.Metrics)
		table.WriteString(r.refusedLine(o.Fault, &o.Losses, i))
	}
	doc, err := os.ReadFile("../../docs/performance/soak.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), table.String()) {
		t.Errorf("docs/performance/soak.md does not hold\n%s", table.String())
	}
}

// TestSoakPlot: the plot is XML, with a line for each service that has something.
func TestSoakPlot(t *testing.T) {
	r := &SoakReport{}
	for _, name := range services {
		for s := range 1000 {
			r.Samples = append(r.Samples, Sample{Seconds: float64(s), Service: name, PSS: 1000, Goroutines: 20})
		}
	}
	svg := r.Plot()
	d := xml.NewDecoder(bytes.NewReader(svg))
	lines := 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != 2*len(services) || len(svg) > 64<<10 {
		t.Errorf("%d lines, want %d; %d octets", lines, 2*len(services), len(svg))
	}
}

// TestOverloadInTheBook: a request that is refused for overload need not have reached
// who counts behind, or have been let in there when it was sent again on the way; at the
// P-CSCF it counts as let in only where its phone has heard so, late.
func TestOverloadInTheBook(t *testing.T) {
	from, to := count(100, 50, 50), count(200, 95, 95)
	to.Answers["REGISTER 503"], to.Answers["REGISTER 500"], to.Answers["REGISTER 504"] = 8, 2, 1
	to.Late = map[string]uint64{"REGISTER 401": 3, "REGISTER 503": 7}
	for _, tt := range []struct {
		a          account
		less, more float64
	}{
		{account{requests: []string{"REGISTER"}, status: "200", life: pcscf}, 0, 0},
		{account{requests: []string{"REGISTER"}, status: "401", life: pcscf}, 0, 3},
		{account{requests: []string{"REGISTER"}, life: pcscf}, 0, 3},
		{account{requests: []string{"REGISTER"}}, 10, 9},
		{account{requests: []string{"REGISTER"}, status: "401"}, 0, 9},
		{account{requests: []string{"MESSAGE"}}, 0, 0},
	} {
		if less, more := overload(from, to, tt.a); less != tt.less || more != tt.more {
			t.Errorf("%+v: %g less, %g more, want %g and %g", tt.a, less, more, tt.less, tt.more)
		}
	}
	m := map[string]series{pcscf: {`gocscf_pcscf_registers_total{status="200"}`: 5, `gocscf_pcscf_registers_total{status="503"}`: 4}}
	if n := answeredElse(m); n != 5 {
		t.Errorf("%g answers are none of 503, want 5", n)
	}
}
