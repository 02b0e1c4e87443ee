package load

import (
	"math"
	"testing"
	"time"
)

// A Poisson process: as many as the rate says, and as irregular as it has to be.
func TestPoisson(t *testing.T) {
	p := newPoisson(Rate{From: 100, To: 100}, 7)
	var last time.Duration
	n, squares, sum := 0, 0.0, 0.0
	for {
		at := p.next()
		if at > 200*time.Second {
			break
		}
		gap := (at - last).Seconds()
		if gap < 0 {
			t.Fatalf("%v comes after %v", at, last)
		}
		last = at
		n++
		sum += gap
		squares += gap * gap
	}
	// 20000 with a deviation of 141; of exponential gaps the deviation is the mean.
	if n < 19400 || n > 20600 {
		t.Errorf("%d operations are due in 200 s at 100/s", n)
	}
	mean := sum / float64(n)
	if dev := math.Sqrt(squares/float64(n) - mean*mean); math.Abs(dev/mean-1) > 0.05 {
		t.Errorf("gaps have mean %g and deviation %g", mean, dev)
	}
}

func TestRamp(t *testing.T) {
	up := Rate{From: 0, To: 100, Over: 10 * time.Second} // 500 in the ramp
	down := Rate{From: 100, To: 0, Over: 10 * time.Second}
	tests := []struct {
		name string
		rate Rate
		area float64
		want time.Duration
	}{
		{"half of a ramp up", up, 125, 5 * time.Second},
		{"all of it", up, 500, 10 * time.Second},
		{"after it", up, 700, 12 * time.Second},
		{"half of a ramp down", down, 375, 5 * time.Second},
		{"what never comes", down, 501, -1},
		{"flat", Rate{From: 50, To: 50}, 100, 2 * time.Second},
		{"flat, with a length", Rate{From: 50, To: 50, Over: time.Second}, 100, 2 * time.Second},
		{"nothing", Rate{}, 1, -1},
	}
	for _, tt := range tests {
		if got := tt.rate.when(tt.area); got.Round(time.Microsecond) != tt.want.Round(time.Microsecond) || got < 0 != (tt.want < 0) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := up.at(5 * time.Second); got != 50 {
		t.Errorf("in the middle of the ramp the rate is %g", got)
	}
}

func TestParseRate(t *testing.T) {
	if r, err := ParseRate("100..400"); err != nil || r != (Rate{From: 100, To: 400}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{"", "x", "-1", "1..", "NaN", "Inf", "1..Inf"} {
		if r, err := ParseRate(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, r)
		}
	}
}

func TestSteps(t *testing.T) {
	if got, err := parseSteps("100..300/100"); err != nil || len(got) != 3 || got[2] != 300 {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"100..300", "100..300/0", "300..100/10", "0..5/1", "1..1e9/1"} {
		if got, err := parseSteps(bad); err == nil {
			t.Errorf("%q is read as %d steps", bad, len(got))
		}
	}
}
