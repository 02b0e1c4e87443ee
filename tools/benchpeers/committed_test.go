package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// committed is what the last measurement has left in the repository.
func committed(t *testing.T) *results {
	t.Helper()
	var r results
	if err := json.Unmarshal(read(t, "docs/performance/peers.json"), &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCommittedTable: the table that is committed is that of the JSON beside it.
func TestCommittedTable(t *testing.T) {
	want, got := committed(t).table(), string(read(t, "docs/performance/peers-table.md"))
	if want == got {
		return
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < min(len(w), len(g))-1 && w[i] == g[i] {
		i++
	}
	t.Errorf("peers-table.md:%d is\n%s\nand peers.json makes it\n%s", i+1, g[i], w[i])
}

// figure is what a cell of README's table says of a core; empty where there is nothing.
type figure func(r *results, core string) string

// grown is what a phone takes beyond those of the first.
var grown = ofMemory(func(list []held, last int) string { return fmt.Sprintf("%.1f", each(list, last)) })

// figures are the rows of README's table that are no processor time of a work.
var figures = map[string]figure{
	"registrations a second, closed loop":                        ofWork("registration, saturated", rate, whole),
	"the same, offered twice that":                               ofWork("registration, 2 times capacity", rate, whole),
	"registrations done a second when twice as many are offered": ofWork("registration, 2 times capacity", rate, whole),
	"registration at half of that rate, 99th percentile, ms":     ofWork("registration, half of capacity", p99, whole),
	"registration at half of capacity, 99th percentile, ms":      ofWork("registration, half of capacity", p99, whole),
	"MESSAGE at half of capacity, 99th percentile, ms":           ofWork("message, half of capacity", p99, whole),
	"call at half of capacity, 99th percentile, ms":              ofWork("call, half of capacity", p99, whole),
	"memory for each of 50,000 registered, KiB":                  grown,
	"memory for each subscriber more, from 1,000 to 50,000, KiB": grown,
	"50,000 registered phones at rest, % of a processor":         ofMemory(func(list []held, last int) string { return fmt.Sprintf("%.2f", list[last].Idle) }),
}

func rate(x sample) float64 { return x.Rate }
func p99(x sample) float64  { return x.P99 }
func cpu(x sample) float64  { return x.CPU }

func ofWork(work string, of func(sample) float64, write func(float64) string) figure {
	return func(r *results, core string) string {
		v, ok := r.median(core, work, of)
		if !ok {
			return ""
		}
		return write(v)
	}
}

// ofMemory is a figure of the most phones that were registered, 50,000.
func ofMemory(write func(list []held, last int) string) figure {
	return func(r *results, core string) string {
		list := r.Memory[core]
		if last := len(list) - 1; last > 0 && list[0].Phones == 1000 && list[last].Phones == 50_000 {
			return write(list, last)
		}
		return ""
	}
}

// whole writes 1917.7 as 1,918.
func whole(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// figureOf finds what a row of README's table shows, nil if that is nothing known.
func figureOf(r *results, row string) figure {
	if f := figures[row]; f != nil {
		return f
	}
	work := strings.NewReplacer("MESSAGE", "message", "re-registration", "reregistration").Replace(row)
	if len(r.Samples[kamailioCore][work]) == 0 {
		return nil
	}
	return ofWork(work, cpu, func(v float64) string { return fmt.Sprintf("%.2f", v) })
}

// TestReadmeFigures: each cell of README's table is the median in peers.json. The relay has
// cells in the rows of processor time alone, and one process none where it was not measured.
func TestReadmeFigures(t *testing.T) {
	r := committed(t)
	const head = "| work | Kamailio 5.6 | gocscf | `testbed core`, one process | bare relay |\n| --- | ---: | ---: | ---: | ---: |\n"
	_, rest, ok := strings.Cut(string(read(t, "README.md")), head)
	if !ok {
		t.Fatalf("README.md has no table with the head\n%s", head)
	}
	table, _, _ := strings.Cut(rest, "\n\n")
	rows := strings.Split(table, "\n")
	if len(rows) < 10 {
		t.Errorf("README's table has %d rows", len(rows))
	}
	columns := []string{kamailioCore, gocscfCore, oneProcess, floorCore}
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "|"), "|")
		name := strings.TrimSpace(cells[0])
		figure := figureOf(r, name)
		if figure == nil || len(cells) != 1+len(columns) {
			t.Errorf("what the row %q shows is not known here", row)
			continue
		}
		for i, core := range columns {
			got, want := strings.TrimSpace(cells[i+1]), figure(r, core)
			if got != want && !(got == "" && core == floorCore && figures[name] != nil) || got == "" && core != floorCore && core != oneProcess {
				t.Errorf("%s, %s: README says %q, peers.json %q", name, titles[core], got, want)
			}
		}
	}
}
