package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

var titles = map[string]string{kamailioCore: "Kamailio 5.6", gocscfCore: "gocscf", oneProcess: "testbed core", floorCore: "floor"}

// table is all of it in Markdown. It follows from peers.json alone, so that a test can hold
// the two against each other.
func (r *results) table() string {
	var b strings.Builder
	s := settings{quick: r.Form == formQuick, check: r.Form == formCheck} // of which the works follow
	fmt.Fprintf(&b, "# Beside Kamailio: the figures\nWritten by `%s`; [peers.md](peers.md) tells what they mean. %s, %s, commit %s, medians of %d (of ratios too, with the least and the most of one repeat), %.0f minutes.\n",
		r.Command, r.Date, r.Machine, r.Commit, r.Repeats, r.Seconds/60)
	switch {
	case s.check || s.quick:
		b.WriteString("\nA short form: too few and too short measurements to quote.\n")
	case r.Repeats < 3:
		fmt.Fprintf(&b, "\nThe full lengths, but %d repeats where three are usual.\n", r.Repeats)
	}

	cpu := func(x sample) float64 { return x.CPU }
	r.rows(&b, "Processor time of the services, ms an operation", "work", s.works(), func(w work) string { return w.String() }, cpu, "%.3f", true)

	var saturated []work
	for _, w := range s.works() {
		if w.rate == 0 {
			saturated = append(saturated, w)
		}
	}
	r.rows(&b, "Closed loop, operations a second", "work", saturated, func(w work) string { return w.String() }, func(x sample) float64 { return x.Rate }, "%.0f", false)
	r.rows(&b, "The same: share of their processor that the services took, %", "work", saturated, func(w work) string { return w.String() }, func(x sample) float64 { return 100 * x.Busy }, "%.0f", false)
	r.rows(&b, "The same: share of theirs that HSS and phones took, %", "work", saturated, func(w work) string { return w.String() }, func(x sample) float64 { return 100 * x.PhonesBusy }, "%.0f", false)

	var low []work
	for _, w := range s.works() {
		if w.rate > 0 {
			low = append(low, w)
		}
	}
	if len(low) > 0 {
		r.rows(&b, "Right before a low rate: share of their processor that the services took with nothing to do, %", "before", low, func(w work) string { return w.String() }, func(x sample) float64 { return 100 * x.Rest }, "%.1f", false)
	}

	if s.check {
		for _, p := range append(r.Problems, r.Outside...) {
			fmt.Fprintf(&b, "\nNot as it must be: %s.\n", p)
		}
		return b.String()
	}
	half := []string{"registration, half of capacity", "message, half of capacity", "call, half of capacity"}
	self := func(s string) string { return s }
	rowsOf(r, &b, "Latency at half of capacity, median in ms", "work", half, self, func(x sample) float64 { return x.P50 }, "%.1f", false)
	rowsOf(r, &b, "Latency at half of capacity, 99th percentile in ms", "work", half, self, func(x sample) float64 { return x.P99 }, "%.1f", false)

	rowsOf(r, &b, "Half of capacity: share of their processor that the services took, %", "work", half, self, func(x sample) float64 { return 100 * x.Busy }, "%.0f", false)

	_, over := s.ofCapacity()
	name := above.String
	rowsOf(r, &b, "Above capacity: operations completed a second", "offered", over, name, func(x sample) float64 { return x.Rate }, "%.0f", false)
	r.goodput(&b, over)
	rowsOf(r, &b, "Above capacity: median latency of those, ms", "offered", over, name, func(x sample) float64 { return x.P50 }, "%.0f", false)
	rowsOf(r, &b, "Above capacity: attempts that were answered 503 in time, %", "offered", over, name, func(x sample) float64 { return share(x.Refused, x.Attempts) }, "%.0f", false)
	rowsOf(r, &b, "Above capacity: attempts that failed otherwise, %", "offered", over, name, func(x sample) float64 { return share(x.Failed-min(x.Failed, x.Refused), x.Attempts) }, "%.1f", false)
	rowsOf(r, &b, "Above capacity: attempts that were due when no phone was free, %", "offered", over, name, func(x sample) float64 { return share(x.Skipped, x.Attempts+x.Skipped) }, "%.1f", false)
	ofRefusals := func(of func(sample) float64) func(sample) float64 {
		return func(x sample) float64 {
			if x.Refused == 0 {
				return math.NaN()
			}
			return of(x)
		}
	}
	rowsOf(r, &b, "Above capacity: 99th percentile of the 503s, ms", "offered", over, name, ofRefusals(func(x sample) float64 { return x.RefusedP99 }), "%.0f", false)
	rowsOf(r, &b, "Above capacity: the latest of the 503s, ms", "offered", over, name, ofRefusals(func(x sample) float64 { return x.RefusedMax }), "%.0f", false)
	r.memoryTable(&b)
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "\nNot measured: %s.\n", p)
	}
	return b.String()
}

func (r *results) rows(b *strings.Builder, title, head string, list []work, name func(work) string, of func(sample) float64, format string, ratios bool) {
	rowsOf(r, b, title, head, list, name, of, format, ratios)
}

// rowsOf writes one table: a row for each work, a column for each core.
func rowsOf[W any](r *results, b *strings.Builder, title, head string, list []W, name func(W) string, of func(sample) float64, format string, ratios bool) {
	fmt.Fprintf(b, "\n## %s\n| %s |", title, head)
	cores := r.Cores
	if !ratios {
		cores = slices.DeleteFunc(slices.Clone(cores), func(c string) bool { return c == floorCore && !strings.HasPrefix(title, "Closed") })
	}
	for _, c := range cores {
		fmt.Fprintf(b, " %s |", titles[c])
	}
	type pair struct{ of, to string }
	var pairs []pair
	if ratios {
		for _, p := range []pair{{kamailioCore, gocscfCore}, {kamailioCore, oneProcess}, {gocscfCore, floorCore}, {oneProcess, floorCore}} {
			if slices.Contains(cores, p.of) && slices.Contains(cores, p.to) {
				pairs = append(pairs, p)
				fmt.Fprintf(b, " %s : %s |", titles[p.of], titles[p.to])
			}
		}
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(cores)+len(pairs)) + "\n")
	for _, w := range list {
		fmt.Fprintf(b, "| %s |", name(w))
		for _, c := range cores {
			if v, ok := r.median(c, name(w), of); ok {
				fmt.Fprintf(b, " "+format+" |", v)
			} else {
				b.WriteString(" – |")
			}
		}
		for _, p := range pairs {
			list := r.ratios(p.of, p.to, name(w), of)
			if v, ok := medianOf(list); ok {
				fmt.Fprintf(b, " %.1f (%.1f–%.1f) |", v, list[0], list[len(list)-1])
			} else {
				b.WriteString(" – |")
			}
		}
		b.WriteString("\n")
	}
}

// share is a part in percent.
func share(part, of uint64) float64 { return 100 * float64(part) / float64(max(of, 1)) }

// goodput compares what is completed above capacity with the most that was.
func (r *results) goodput(b *strings.Builder, over []above) {
	b.WriteString("\nOf the most that was completed in the same repeat, in a closed loop or above capacity (then the median):")
	for _, c := range r.Cores {
		for _, x := range over {
			if v, ok := r.ofMost(c, x.what, x.String()); ok {
				fmt.Fprintf(b, " %s %.0f %% at %g times of %ss;", titles[c], 100*v, x.times, x.what)
			}
		}
	}
	b.WriteString("\n")
}

// memoryTable tells what registered phones take.
func (r *results) memoryTable(b *strings.Builder) {
	if len(r.Memory) == 0 {
		return
	}
	if r.MemoryNote != "" {
		fmt.Fprintf(b, "\n%s\n", r.MemoryNote)
	}
	b.WriteString("\n## Memory of the services (PSS), one run\n| registered |")
	var cores []string
	for _, c := range r.Cores {
		if len(r.Memory[c]) > 0 {
			cores = append(cores, c)
			fmt.Fprintf(b, " %s |", titles[c])
		}
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(cores)) + "\n")
	if len(cores) == 0 {
		return
	}
	for i, h := range r.Memory[cores[0]] {
		fmt.Fprintf(b, "| %d |", h.Phones)
		for _, c := range cores {
			if list := r.Memory[c]; i < len(list) {
				fmt.Fprintf(b, " %.1f MiB", list[i].KiB/1024)
				if i > 0 {
					fmt.Fprintf(b, " (%.1f KiB each beyond %d)", each(list, i), list[0].Phones)
				}
				b.WriteString(" |")
			} else {
				b.WriteString(" – |")
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "\n## Processor time at rest, percent of one\n| registered |")
	for _, c := range cores {
		fmt.Fprintf(b, " %s |", titles[c])
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(cores)) + "\n")
	for i, h := range r.Memory[cores[0]] {
		fmt.Fprintf(b, "| %d |", h.Phones)
		for _, c := range cores {
			if list := r.Memory[c]; i < len(list) {
				fmt.Fprintf(b, " %.3f |", list[i].Idle)
			} else {
				b.WriteString(" – |")
			}
		}
		b.WriteString("\n")
	}
}
