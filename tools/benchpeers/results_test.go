package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestGoodputIsOfTheMostInOneRepeat(t *testing.T) {
	full, once, twice := work{"registration", 0}.String(), above{"registration", 1.5}.String(), above{"registration", 2}.String()
	r := &results{Samples: map[string]map[string][]sample{gocscfCore: {
		full:                      {{Repeat: 0, Rate: 1000}, {Repeat: 1, Rate: 2000}, {Repeat: 2, Rate: 1500}},
		once:                      {{Repeat: 0, Rate: 700}, {Repeat: 1, Rate: 2500}, {Repeat: 2, Rate: 3000}},
		twice:                     {{Repeat: 0, Rate: 900}, {Repeat: 2, Rate: 1500}}, // the second was not measured
		above{"call", 2}.String(): {{Repeat: 0, Rate: 9000}},
	}}}
	if got, ok := r.ofMost(gocscfCore, "registration", twice); !ok || math.Abs(got-0.7) > 1e-9 {
		t.Errorf("the median of 0.9 and 0.5 is %g (%v)", got, ok)
	}
	if _, ok := r.ofMost(kamailioCore, "registration", twice); ok {
		t.Error("a core that was not measured has a part of its capacity")
	}
}

// A ratio is of what was measured in one repeat, not of medians.
func TestRatiosAreOfOneRepeat(t *testing.T) {
	const w = "call, saturated"
	r := &results{Cores: []string{kamailioCore, gocscfCore}, Repeats: 3, Samples: map[string]map[string][]sample{
		kamailioCore: {w: {{Repeat: 0, CPU: 4}, {Repeat: 1, CPU: 2}, {Repeat: 2, CPU: 3}}},
		gocscfCore:   {w: {{Repeat: 0, CPU: 1}, {Repeat: 1, CPU: 1}, {Repeat: 2, CPU: 2}}},
	}}
	if table := r.table(); !strings.Contains(table, "| "+w+" | 3.000 | 1.000 | 2.0 (1.5–4.0) |") {
		t.Errorf("the table says\n%s", table)
	}
}

// What makes a figure worth less is said.
func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name, core, row, report, want string
	}{
		{"all well", gocscfCore, "call, saturated", `{"load":{"attempts":1000,"failed":5}}`, ""},
		{"failures", gocscfCore, "call, saturated", `{"load":{"attempts":1000,"failed":11}}`, "11 of 1000 failed"},
		{"refusals are none", gocscfCore, "call, saturated", `{"load":{"attempts":1000,"failed":11,"refused":{"latency":{"count":11}}}}`, ""},
		{"above capacity they are meant", kamailioCore, "call, 2 times capacity", `{"load":{"attempts":1000,"failed":900,"skipped":3}}`, ""},
		{"too few phones", gocscfCore, "call, half of capacity", `{"load":{"attempts":1000,"skipped":3}}`, "3 were due when no phone was free"},
		{"the phones' fault", kamailioCore, "call, 20/s", `{"load":{"attempts":1000},"generator":{"dropped":2}}`, "lost 2 datagrams"},
		{"a bare refusal", gocscfCore, "call, 2 times capacity", `{"load":{"attempts":9,"failed":4,"refused":{"without_retry_after":1,"latency":{"count":4}}}}`, "1 of 4 refusals without Retry-After"},
		{"theirs have none", kamailioCore, "call, 2 times capacity", `{"load":{"attempts":9,"failed":4,"refused":{"without_retry_after":4,"latency":{"count":4}}}}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p report
			if err := json.Unmarshal([]byte(tt.report), &p); err != nil {
				t.Fatal(err)
			}
			r := &results{}
			r.judge(tt.core, tt.row, &p)
			if got := strings.Join(r.Problems, "; "); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("problems: %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMedianLeavesOutWhatSaysNothing(t *testing.T) {
	r := &results{Samples: map[string]map[string][]sample{kamailioCore: {"x": {{P99: 3}, {P99: math.NaN()}, {P99: 5}}, "y": {{P99: math.NaN()}}}}}
	p99 := func(x sample) float64 { return x.P99 }
	if v, ok := r.median(kamailioCore, "x", p99); !ok || v != 4 {
		t.Errorf("x: %g (%v), 4 is right", v, ok)
	}
	if _, ok := r.median(kamailioCore, "y", p99); ok {
		t.Error("y has a median of nothing")
	}
}

func TestEachIsOfThoseWhoRegistered(t *testing.T) {
	list := []held{{Phones: 1000, Registered: 1000, KiB: 10_000}, {Phones: 10_000, Registered: 9_900, KiB: 54_500}}
	if got := each(list, 1); got != 5 {
		t.Errorf("44,500 KiB for 8,900 phones are %g each", got)
	}
}

func TestCheck(t *testing.T) {
	s := &settings{check: true, cores: []string{kamailioCore, gocscfCore, oneProcess, floorCore}}
	good := map[string]float64{kamailioCore: 1, gocscfCore: 0.6, oneProcess: 0.5, floorCore: 0.1}
	for _, tt := range []struct {
		name string
		core string
		what string
		x    sample
		want string // of what is outside, empty: nothing
	}{
		{"good", gocscfCore, "registration", sample{CPU: 0.6, Attempts: 1000}, ""},
		{"three quarters of Kamailio", gocscfCore, "registration", sample{CPU: 0.75, Attempts: 1000}, ""},
		{"more than that", gocscfCore, "registration", sample{CPU: 0.76, Attempts: 1000}, "gocscf 0.760 ms and kamailio 1.000 ms"},
		{"re-registrations too", gocscfCore, "reregistration", sample{CPU: 0.76, Attempts: 1000}, "gocscf 0.760 ms and kamailio 1.000 ms"},
		{"calls may be as dear", gocscfCore, "call", sample{CPU: 1, Attempts: 1000}, ""},
		{"and no dearer", gocscfCore, "call", sample{CPU: 1.01, Attempts: 1000}, "gocscf 1.010 ms and kamailio 1.000 ms"},
		{"messages", gocscfCore, "message", sample{CPU: 0.76, Attempts: 1000}, "gocscf 0.760 ms and kamailio 1.000 ms"},
		{"one process is somewhat dearer than three", oneProcess, "registration", sample{CPU: 0.75, Attempts: 1000}, ""},
		{"one process is dearer than three", oneProcess, "registration", sample{CPU: 0.76, Attempts: 1000}, "core 0.760 ms and gocscf 0.600 ms"},
		{"no processor time", gocscfCore, "registration", sample{Attempts: 1000}, "no processor time was seen"},
		{"below the floor", oneProcess, "registration", sample{CPU: 0.05, Attempts: 1000}, "floor 0.100 ms and core 0.050 ms"},
		{"three below the floor", gocscfCore, "call", sample{CPU: 0.09, Attempts: 1000}, "floor 0.100 ms and gocscf 0.090 ms"},
		{"as many failures as may be", gocscfCore, "registration", sample{CPU: 0.6, Attempts: 1000, Failed: 10}, ""},
		{"failures", gocscfCore, "registration", sample{CPU: 0.6, Attempts: 1000, Failed: 11}, "11 of 1000 failed"},
		{"failures beside refusals", gocscfCore, "registration", sample{CPU: 0.6, Attempts: 1000, Failed: 22, Refused: 11}, "22 of 1000 failed"},
		{"refusals", gocscfCore, "registration", sample{CPU: 0.6, Attempts: 1000, Failed: 11, Refused: 11}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &results{Cores: s.cores, Samples: map[string]map[string][]sample{}}
			for core, cpu := range good {
				r.Samples[core] = map[string][]sample{}
				for _, w := range s.works() {
					r.Samples[core][w.String()] = []sample{{CPU: cpu, Attempts: 1000}}
				}
			}
			r.Samples[tt.core][work{tt.what, 0}.String()] = []sample{tt.x}
			r.check(s)
			if got := strings.Join(r.Outside, "; "); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("outside: %q, want %q", got, tt.want)
			}
		})
	}
}

// What a table says of refusals is nothing where there were none: 0 would be the best of
// all values.
func TestNoRefusalsAreNoTime(t *testing.T) {
	row := "registration, 2 times capacity"
	r := &results{Cores: []string{kamailioCore, gocscfCore}, Samples: map[string]map[string][]sample{
		kamailioCore: {row: {{Attempts: 100, Failed: 50}}}, gocscfCore: {row: {{Attempts: 100, Failed: 50, Refused: 50, RefusedP99: 61}}},
	}}
	_, rest, _ := strings.Cut(r.table(), "99th percentile of the 503s")
	if !strings.Contains(rest, "| "+row+" | – | 61 |") {
		t.Errorf("the table says\n%s", rest)
	}
}
