package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sample is one measurement of a work with a core.
type sample struct {
	Repeat     int               `json:"repeat"` // from 0
	CPU        float64           `json:"cpu_ms"` // of the services, an operation that succeeded
	Rate       float64           `json:"rate"`   // succeeded while the load lasted, a second
	P50        float64           `json:"p50_ms"`
	P99        float64           `json:"p99_ms"`
	Busy       float64           `json:"busy"`        // share of the services' processor that they took
	Rest       float64           `json:"rest"`        // the same, right before a low rate, when nothing was asked of them
	PhonesBusy float64           `json:"phones_busy"` // share of the other one that HSS and phones took
	Attempts   uint64            `json:"attempts"`
	Failed     uint64            `json:"failed"`
	Inadequate uint64            `json:"inadequate"` // failed, retransmitted, or over 2 s
	Skipped    uint64            `json:"skipped,omitempty"`
	Refused    uint64            `json:"refused,omitempty"` // 503
	RefusedP99 float64           `json:"refused_p99_ms,omitempty"`
	RefusedMax float64           `json:"refused_max_ms,omitempty"`
	NoRetry    uint64            `json:"refused_without_retry_after,omitempty"`
	Dropped    uint64            `json:"dropped,omitempty"` // datagrams that the phones' socket lost
	Causes     map[string]uint64 `json:"causes,omitempty"`
}

// results are all that was measured; its JSON is peers.json.
type results struct {
	Date    string   `json:"date"`
	Machine string   `json:"machine"`
	Commit  string   `json:"commit"`
	Command string   `json:"command"`
	Repeats int      `json:"repeats"`
	Cores   []string `json:"cores"`
	Seconds float64  `json:"seconds"`
	Form    string   `json:"form,omitempty"` // quick or check; empty for the full lengths
	// Samples are by core and work, in the order in which they were measured.
	Samples map[string]map[string][]sample `json:"samples"`
	Memory  map[string][]held              `json:"memory,omitempty"`
	// MemoryNote says where Memory is from if it is not of this run. Nothing here writes it:
	// whoever puts one run's memory beside another's works does.
	MemoryNote string `json:"memory_note,omitempty"`
	// Problems are what did not work out; the rest was measured.
	Problems []string `json:"problems,omitempty"`
	// Outside are the ratios that check found out of their bounds.
	Outside []string `json:"outside,omitempty"`

	began  time.Time
	repeat int // the one that runs
}

// The forms that are not the full lengths.
const (
	formQuick = "quick"
	formCheck = "check"
)

func newResults(ctx context.Context, s *settings) *results {
	now := time.Now()
	commit, err := exec.CommandContext(ctx, "git", "-C", s.root, "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	command, form := "make bench-peers", ""
	switch {
	case s.check:
		command, form = "make bench-peers CHECK=1", formCheck
	case s.quick:
		command, form = "make bench-peers QUICK=1", formQuick
	}
	if s.part {
		command = strings.Join(append([]string{"bin/benchpeers"}, os.Args[1:]...), " ")
	}
	return &results{
		Date: now.UTC().Format("2006-01-02 15:04 UTC"), Machine: machine(), Commit: strings.TrimSpace(string(commit)), Command: command,
		Repeats: s.repeats, Cores: s.cores, Form: form, Samples: map[string]map[string][]sample{}, Memory: map[string][]held{}, began: now,
	}
}

// machine says what this is measured on.
func machine() string {
	model, release := "unknown processor", ""
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		release = strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%d × %s, Linux %s, %s", runtime.NumCPU(), model, release, runtime.Version())
}

func (r *results) add(core, work string, rest float64, p *report) {
	l := p.Load
	x := sample{
		Rest: rest, P50: l.Latency.P50, P99: l.Latency.P99, Attempts: l.Attempts, Failed: l.Failed, Inadequate: l.Inadequate,
		Skipped: l.Skipped, Dropped: p.Generator.Dropped, Causes: l.Causes,
	}
	services, hss := l.services()
	if l.Seconds > 0 {
		x.Rate = float64(l.Done) / l.Seconds
		x.Busy, x.PhonesBusy = services/l.Seconds, hss/l.Seconds+l.Phones/l.Seconds
	}
	if l.Done > 0 {
		x.CPU = services * 1000 / float64(l.Done)
	}
	if l.Refused != nil {
		x.Refused, x.RefusedP99, x.RefusedMax, x.NoRetry = l.Refused.Latency.Count, l.Refused.Latency.P99, l.Refused.Latency.Max, l.Refused.NoRetryAfter
	}
	r.put(core, work, x)
}

func (r *results) put(core, work string, x sample) {
	if r.Samples[core] == nil {
		r.Samples[core] = map[string][]sample{}
	}
	x.Repeat = r.repeat
	r.Samples[core][work] = append(r.Samples[core][work], x)
	fmt.Fprintf(os.Stderr, "%5.0f s  %-9s %-34s %7.3f ms CPU, %7.1f/s, p50 %.1f, p99 %.1f ms, %d of %d failed; services %.0f %% (before %.1f), HSS and phones %.0f %%\n",
		time.Since(r.began).Seconds(), core, work, x.CPU, x.Rate, x.P50, x.P99, x.Failed, x.Attempts, x.Busy*100, x.Rest*100, x.PhonesBusy*100)
}

// median is of one figure of the samples of a work; false if there are none.
func (r *results) median(core, work string, of func(sample) float64) (float64, bool) {
	var list []float64
	for _, x := range r.Samples[core][work] {
		if v := of(x); !math.IsNaN(v) { // not a number: it says nothing of that
			list = append(list, v)
		}
	}
	return medianOf(list)
}

// medianOf is false for an empty list.
func medianOf(list []float64) (float64, bool) {
	n := len(list)
	if n == 0 {
		return 0, false
	}
	list = slices.Sorted(slices.Values(list))
	return (list[(n-1)/2] + list[n/2]) / 2, true
}

// ofMost is the median of a work's rates, each by the highest rate that was seen of what it
// is of in the same repeat, in a closed loop or above its capacity: a closed loop may leave
// a core waiting for its phones.
func (r *results) ofMost(core, what, row string) (float64, bool) {
	most := map[int]float64{}
	for name, list := range r.Samples[core] {
		if name == (work{what, 0}).String() || strings.HasPrefix(name, what+", ") && strings.HasSuffix(name, "times capacity") {
			for _, x := range list {
				most[x.Repeat] = max(most[x.Repeat], x.Rate)
			}
		}
	}
	var list []float64
	for _, x := range r.Samples[core][row] {
		if m := most[x.Repeat]; m > 0 {
			list = append(list, x.Rate/m)
		}
	}
	return medianOf(list)
}

// ratios are those of two cores' figures of a work, each of one repeat, in order of size.
func (r *results) ratios(core, to, work string, of func(sample) float64) (list []float64) {
	for _, x := range r.Samples[core][work] {
		for _, y := range r.Samples[to][work] {
			if a, b := of(x), of(y); x.Repeat == y.Repeat && a > 0 && b > 0 {
				list = append(list, a/b)
			}
		}
	}
	slices.Sort(list)
	return list
}

// problem notes what did not work out.
func (r *results) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintln(os.Stderr, "benchpeers:", text)
	r.Problems = append(r.Problems, text)
}

// measureFloor does what there is of the works with the bare relays.
func (r *results) measureFloor(ctx context.Context, s *settings) {
	for _, w := range s.works() {
		x, err := floor(ctx, s, w, r.repeat+1)
		if err != nil {
			r.problem("floor, %v: %v", w, err)
			continue
		}
		r.put(floorCore, w.String(), x)
	}
}

func floor(ctx context.Context, s *settings, w work, seed int) (sample, error) {
	args := []string{"bench", "--what", w.what, "--seconds", seconds(s.length(w)), "--warm", seconds(s.stir), "--json", "--services-cpu", servicesCPU, "--driver-cpu", phonesCPU}
	if w.rate > 0 {
		args = append(args, "--rate", strconv.FormatFloat(w.rate, 'g', -1, 64), "--seed", strconv.Itoa(seed))
	} else {
		args = append(args, "--busy", strconv.Itoa(w.busy()))
	}
	out, err := exec.CommandContext(ctx, s.bin("floor"), args...).Output()
	if err != nil {
		return sample{}, err
	}
	var got struct {
		CPU struct {
			Total float64 `json:"total"`
		} `json:"cpu_us_per_operation"`
		Rate float64 `json:"operations_per_second"`
		P50  float64 `json:"p50_ms"`
		P99  float64 `json:"p99_ms"`
		Done uint64  `json:"operations"`
		Lost uint64  `json:"lost"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return sample{}, fmt.Errorf("reading what it says: %w: %.300s", err, out)
	}
	return sample{CPU: got.CPU.Total / 1000, Rate: got.Rate, P50: got.P50, P99: got.P99, Attempts: got.Done + got.Lost, Failed: got.Lost, Busy: got.CPU.Total * got.Rate / 1e6}, nil
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'g', -1, 64) }

// write writes peers.json and peers-table.md, and prints the latter.
func (r *results) write(s *settings) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	text := r.table()
	err = os.MkdirAll(s.out, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(s.out, "peers.json"), append(b, '\n'), 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.out, "peers-table.md"), []byte(text), 0o644)
	}
	fmt.Print(text)
	switch {
	case err != nil:
	case len(r.Problems) > 0:
		err = fmt.Errorf("not all of it was measured: %s", strings.Join(r.Problems, "; "))
	case len(r.Outside) > 0:
		err = fmt.Errorf("out of bounds: %s", strings.Join(r.Outside, "; "))
	}
	return err
}
