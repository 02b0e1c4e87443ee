package main

import "fmt"

// bounds are what every change has to hold: by how much the services may be dearer than
// Kamailio's on the same work, at saturation. They leave room for the noise of a shared
// machine, of runs of two seconds, of which two differ by a fifth, and of machines, of which
// one had 0.41 for registrations and 0.74 for calls where another had 0.17 and 0.40. What is
// reached is in docs/performance/peers-table.md.
var bounds = map[string]float64{"registration": 0.75, "reregistration": 0.75, "message": 0.75, "call": 1}

// dearest is how many times as much one process may take as three. It should take less, and
// is not held to it for the same noise.
const dearest = 1.25

// mostFailed is the share of operations that may fail in a closed loop. What was refused
// for load is apart: another process on the processor makes an overload of a full one.
const mostFailed = 0.01

// check holds the ratios of processor time against their bounds: ours to Kamailio's, one
// process to three, and the bare relay below all.
func (r *results) check(s *settings) {
	cpu := func(x sample) float64 { return x.CPU }
	for _, w := range s.works() {
		of := map[string]float64{}
		for _, core := range r.Cores {
			v, ok := r.median(core, w.String(), cpu)
			if !ok {
				continue // a problem already
			}
			if v <= 0 {
				r.outside("%s, %v: no processor time was seen", core, w)
				continue
			}
			of[core] = v
			for _, x := range r.Samples[core][w.String()] {
				if float64(x.Failed)-float64(x.Refused) > mostFailed*float64(x.Attempts) {
					r.outside("%s, %v: %d of %d failed: %v", core, w, x.Failed, x.Attempts, x.Causes)
				}
			}
		}
		r.atMost(w, of, gocscfCore, kamailioCore, bounds[w.what])
		r.atMost(w, of, oneProcess, gocscfCore, dearest)
		r.atMost(w, of, floorCore, gocscfCore, 1)
		r.atMost(w, of, floorCore, oneProcess, 1)
	}
}

// atMost wants a core's processor time to be at most so many times another's.
func (r *results) atMost(w work, of map[string]float64, core, other string, times float64) {
	if x, y := of[core], of[other]; x > 0 && y > 0 && x > times*y {
		r.outside("%v takes %s %.3f ms and %s %.3f ms: more than %g times as much", w, core, x, other, y, times)
	}
}

func (r *results) outside(format string, args ...any) {
	r.Outside = append(r.Outside, fmt.Sprintf(format, args...))
}
