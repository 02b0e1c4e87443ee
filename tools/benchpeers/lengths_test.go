package main

import (
	"testing"
	"time"
)

// TestTakes holds what peers.md promises of how long a measurement takes, by the lengths
// that are chosen; what stands beside them is in constants of their own.
func TestTakes(t *testing.T) {
	all := []string{kamailioCore, gocscfCore, oneProcess, floorCore}
	for _, tt := range []struct {
		name        string
		s           settings
		least, most time.Duration
	}{
		{"all of it", settings{}, 25 * time.Minute, 29 * time.Minute}, // of 30: some is slower now and then
		{"QUICK=1", settings{quick: true}, 4 * time.Minute, 5 * time.Minute},
		{"CHECK=1", settings{check: true}, 3 * time.Minute, 4 * time.Minute},
	} {
		s := tt.s
		s.cores = all
		s.lengths()
		if got := s.takes(true, true); got <= tt.least || got >= tt.most {
			t.Errorf("%s takes %v, want between %v and %v", tt.name, got, tt.least, tt.most)
		}
	}
}

// TestHolding: of two cores on one processor the second waits for the first's last phones.
func TestHolding(t *testing.T) {
	s := settings{populations: []int{10, 30}, pace: 1, rest: 100 * time.Second}
	alone := 10*time.Second + 20*time.Second + 2*aside + 2*s.rest
	for _, tt := range []struct {
		cores []string
		want  time.Duration
	}{
		{[]string{gocscfCore, floorCore}, alone + anew},
		{[]string{kamailioCore, gocscfCore}, alone + 2*anew},
		{[]string{kamailioCore, gocscfCore, oneProcess}, alone + 3*anew + 20*time.Second + aside},
		{[]string{floorCore}, alone},
	} {
		s.cores = tt.cores
		if got := s.holding(); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.cores, got, tt.want)
		}
	}
}
