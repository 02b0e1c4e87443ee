package chaos

import (
	"maps"
	"testing"
)

// TestRefusals: a request that several hands count is one.
func TestRefusals(t *testing.T) {
	grown := map[string]float64{
		`pcscf: gocscf_overload_refused_total{reason="rate"}`:              10,
		`pcscf: gocscf_overload_refused_total{reason="under_way"}`:         2,
		`pcscf: gocscf_sip_rejected_total{status="503"}`:                   15, // three because it stops
		`pcscf: gocscf_pcscf_refused_total{cause="home_overloaded"}`:       4,
		`pcscf: gocscf_pcscf_refused_total{cause="not_in_dialog"}`:         7,
		`icscf: gocscf_cx_refused_total`:                                   3,
		`icscf: gocscf_icscf_refused_total{cause="hss_slow"}`:              3,
		`icscf: gocscf_icscf_refused_total{cause="scscf_overloaded"}`:      1,
		`scscf: gocscf_overload_refused_total{reason="rate"}`:              1,
		`scscf: gocscf_scscf_refused_total{cause="icscf_overloaded"}`:      3,
		`scscf: gocscf_scscf_refused_total{cause="as_skipped"}`:            9,
		`scscf: gocscf_scscf_registers_total{status="503"}`:                8,
		`hss: gocscf_sip_dropped_total{reason="a thing that is no cause"}`: 8,
	}
	if n := refusals(grown); n != 15+7+3+1 {
		t.Errorf("%g refusals, want 26", n)
	}
	if n := refusals(grown, refreshed); n != 15+3+1 {
		t.Errorf("%g refusals but for subscriptions, want 19", n)
	}
	if n := overloads(grown); n != 12+3+1 {
		t.Errorf("%g refusals for overload, want 16", n)
	}
}

// TestUnanswered: an answer is no silence.
func TestUnanswered(t *testing.T) {
	for cause, want := range map[string]bool{"call: INVITE: no final answer": true, "call: INVITE: given up": true, "call: INVITE: 500": false} {
		l := Losses{Failed: 2, Causes: map[string]uint64{"message: MESSAGE: no final answer": 1, cause: 1}}
		if got := l.Unanswered(); got != want {
			t.Errorf("%s: %v", cause, got)
		}
	}
}

// TestRefused: attempts and refusals are as many. A few may differ where a service has
// begun anew, or where a request may have been sent twice.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		fault       string
		answered    uint64
		change      func(*Outcome)
		metric      string
		counted     float64
		short, over float64
	}{
		"as many":                        {"hss-slow", 1000, nil, `icscf: gocscf_icscf_refused_total{cause="hss_slow"}`, 1000, 0, 0},
		"one that nobody has refused":    {"hss-slow", 1001, nil, `icscf: gocscf_icscf_refused_total{cause="hss_slow"}`, 1000, 1, 0},
		"one that was answered late":     {"hss-slow", 1001, func(o *Outcome) { o.Late = 1 }, `icscf: gocscf_icscf_refused_total{cause="hss_slow"}`, 1000, 0, 0},
		"refusals that nobody has heard": {"hss-slow", 1000, nil, `icscf: gocscf_icscf_refused_total{cause="hss_slow"}`, 1060, 0, 10},
		"a stalled service refuses what others have given up": {"icscf-stalls", 700, func(o *Outcome) {
			maps.Copy(o.Metrics, map[string]float64{`scscf: gocscf_scscf_refused_total{cause="next_hop_silent"}`: 600, `pcscf: gocscf_pcscf_refused_total{cause="home_silent"}`: 100})
		}, `icscf: gocscf_icscf_refused_total{cause="hss_slow"}`, 700, 0, 0},
		"more than that": {"icscf-stalls", 500, func(o *Outcome) {
			o.Metrics[`scscf: gocscf_scscf_refused_total{cause="next_hop_silent"}`] = 100
		}, `icscf: gocscf_icscf_refused_total{cause="hss_slow"}`, 600, 0, 700 - 500 - 25 - 100},
		"what the stalled one gives up": {"icscf-stalls", 500, func(o *Outcome) {
			o.Metrics[`icscf: gocscf_icscf_refused_total{cause="scscf_silent"}`] = 100
		}, `icscf: gocscf_icscf_refused_total{cause="hss_slow"}`, 600, 0, 700 - 500 - 25},
		"nobody has stalled": {"hss-slow", 700, func(o *Outcome) {
			o.Metrics[`scscf: gocscf_scscf_refused_total{cause="next_hop_silent"}`] = 600
		}, `icscf: gocscf_icscf_refused_total{cause="hss_slow"}`, 700, 0, 1300 - 700 - 35},
		"some have given up":                     {"hss-slow", 1000, func(o *Outcome) { o.Causes["call: INVITE: no final answer"] = 10 }, `icscf: gocscf_icscf_refused_total{cause="hss_slow"}`, 1060, 0, 0},
		"who was killed took some along":         {"scscf-dies", 1010, nil, `icscf: gocscf_icscf_refused_total{cause="no_scscf"}`, 1000, 0, 0},
		"who was killed took too many along":     {"scscf-dies", 1020, nil, `icscf: gocscf_icscf_refused_total{cause="no_scscf"}`, 1000, 20 - 10.2, 0},
		"NOTIFYs that are no attempts":           {"pcscf-dies", 1000, nil, `pcscf: gocscf_pcscf_refused_total{cause="no_binding"}`, 2000, 0, 0},
		"strangers":                              {"phone-stalls", 0, nil, `pcscf: gocscf_pcscf_refused_total{cause="not_registered"}`, 1049, 0, 0},
		"strangers are no reason":                {"phone-stalls", 1, nil, `pcscf: gocscf_pcscf_refused_total{cause="not_registered"}`, 1049, 1, 0},
		"an application server's":                {"as-stalls", 0, nil, `scscf: gocscf_scscf_refused_total{cause="unknown_odi"}`, 500, 0, 0},
		"subscriptions that ended with a fault":  {"gm-loses", 0, nil, `pcscf: gocscf_pcscf_refused_total{cause="not_in_dialog"}`, 30, 0, 0},
		"subscriptions that are no other's fail": {"gm-loses", 1, nil, `pcscf: gocscf_pcscf_refused_total{cause="not_in_dialog"}`, 30, 1, 0},
	} {
		f, err := byName([]string{tt.fault})
		if err != nil {
			t.Fatal(err)
		}
		o := &Outcome{Fault: tt.fault, Losses: Losses{Causes: map[string]uint64{"call: INVITE: 503": tt.answered}}, Metrics: map[string]float64{tt.metric: tt.counted}}
		if tt.change != nil {
			tt.change(o)
		}
		if _, _, short, over := o.refused(&f[0]); short-tt.short > 1e-6 || tt.short-short > 1e-6 || over != tt.over {
			t.Errorf("%s: %g short and %g over, want %g and %g", name, short, over, tt.short, tt.over)
		}
	}
}
