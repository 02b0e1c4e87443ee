package attack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// held is a service at rest whose heap has so many octets that live, and some garbage until
// it has collected twice.
func held(name string, live uint64) Service {
	collected := 0
	return Service{
		Name: name,
		Collect: func(context.Context) error {
			collected++
			return nil
		},
		Read: func(context.Context) (map[string]float64, error) {
			garbage := uint64(0)
			if collected < 2 {
				garbage = 100 << 20
			}
			return map[string]float64{"go_memstats_heap_alloc_bytes": float64(live + garbage)}, nil
		},
	}
}

// TestLiveHeapAtRest: a run fails where, with no transaction left, more of a service's heap
// lives than what may be kept; garbage is not counted, and both figures are told.
func TestLiveHeapAtRest(t *testing.T) {
	const before = 5 << 20
	for _, tt := range []struct {
		name  string
		after uint64
		grown bool
	}{
		{"as before", before, false},
		{"less", before / 2, false},
		{"as much as may be", before + mostKept, false},
		{"an octet more", before + mostKept + 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &mutation{cfg: MutateConfig{Settle: time.Minute}, target: &Target{Services: []Service{held("icscf", before), held("scscf", tt.after)}}}
			rep := &MutateReport{LiveBefore: map[string]uint64{"icscf": before, "scscf": before}}
			err := m.settle(t.Context(), rep)
			if (err != nil) != tt.grown || tt.grown && !strings.Contains(err.Error(), "heap of scscf has grown by more than 16 MiB") {
				t.Errorf("%v", err)
			}
			if want := fmt.Sprintf("icscf 5.0 → 5.0 MiB, scscf 5.0 → %.1f MiB\n", float64(tt.after)/(1<<20)); !strings.HasSuffix(rep.summary(), want) {
				t.Errorf("the summary does not end with %q:\n%s", want, rep.summary())
			}
		})
	}
}

// TestLiveHeapIsAsked: of a service over HTTP, by its profile and its metrics; where one of
// them is missing that is an error, not nothing that lives.
func TestLiveHeapIsAsked(t *testing.T) {
	for _, tt := range []struct {
		name    string
		profile int // status
		metrics string
		want    uint64
		fails   string
	}{
		{"both", 200, "go_memstats_heap_alloc_bytes 1.5e+06\n", 1_500_000, ""},
		{"no profile", 403, "go_memstats_heap_alloc_bytes 1.5e+06\n", 0, "403"},
		{"no such metric", 200, "go_goroutines 7\n", 0, "no go_memstats_heap_alloc_bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			collected := 0
			at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.RequestURI() {
				case "/debug/pprof/heap?gc=1":
					collected++
					w.WriteHeader(tt.profile)
				case "/metrics":
					if collected < 2 {
						t.Errorf("read after %d collections", collected)
					}
					fmt.Fprint(w, tt.metrics)
				default:
					t.Errorf("%s is asked for", r.URL)
				}
			}))
			defer at.Close()
			got, err := Scraped("pcscf", at.URL).Live(t.Context())
			if got != tt.want || (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%d octets, %v", got, err)
			}
		})
	}
	s := held("pcscf", 1)
	s.Collect = func(context.Context) error { return errors.New("gone") }
	if _, err := s.Live(t.Context()); err == nil || !strings.Contains(err.Error(), "pcscf") {
		t.Errorf("a service that does not collect: %v", err)
	}
}
