package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// report is what benchpeers reads of a report of testbed load.
type report struct {
	Load      *phase `json:"load"`
	Generator struct {
		CPUSeconds float64 `json:"cpu_seconds"`
		Dropped    uint64  `json:"dropped"`
	} `json:"generator"`
	PreRegistration *phase `json:"pre_registration"`
	Registered      int    `json:"registered"` // in the end
}

type phase struct {
	Attempts   uint64            `json:"attempts"`
	Succeeded  uint64            `json:"succeeded"`
	Failed     uint64            `json:"failed"`
	Skipped    uint64            `json:"skipped"`
	Inadequate uint64            `json:"inadequate"`
	Causes     map[string]uint64 `json:"causes"`
	Seconds    float64           `json:"seconds"`
	Done       uint64            `json:"done"`         // operations that succeeded while processor time was measured
	Phones     float64           `json:"phones_cpu_s"` // processor time of the phones then
	Rate       float64           `json:"rate"`
	Latency    struct {
		P50 float64 `json:"p50_ms"`
		P99 float64 `json:"p99_ms"`
	} `json:"latency"`
	Refused *struct {
		NoRetryAfter uint64 `json:"without_retry_after"`
		Latency      struct {
			Count uint64  `json:"count"`
			P99   float64 `json:"p99_ms"`
		} `json:"latency"`
	} `json:"refused"`
	CPU []struct {
		Name    string  `json:"name"`
		Seconds float64 `json:"seconds"`
	} `json:"cpu"`
}

// services is the processor time of the services, in seconds; the HSS's is apart.
func (p *phase) services() (core, hss float64) {
	for _, c := range p.CPU {
		if c.Name == "hss" {
			hss += c.Seconds
		} else {
			core += c.Seconds
		}
	}
	return core, hss
}

// a work is one load that is measured.
type work struct {
	what string // registration, reregistration, message, call
	rate float64
}

// scenario is its name in testbed load.
func (w work) scenario() string {
	switch w.what {
	case "registration":
		return "register"
	case "reregistration":
		return "reregister"
	}
	return w.what
}

func (w work) String() string {
	if w.rate == 0 {
		return w.what + ", saturated"
	}
	return fmt.Sprintf("%s, %g/s", w.what, w.rate)
}

// busy is the closed loop's, as many as fill the processor.
func (w work) busy() int {
	if w.what == "registration" || w.what == "reregistration" {
		return 120 // most of them think, 20 ms
	}
	return 40
}

// works are all that there are; the short form leaves some out.
var works = []struct {
	work
	short bool
}{
	{work{"registration", 50}, true}, {work{"registration", 200}, true}, {work{"registration", 0}, true},
	{work{"reregistration", 50}, false}, {work{"reregistration", 200}, false}, {work{"reregistration", 0}, true},
	{work{"message", 50}, false}, {work{"message", 200}, true}, {work{"message", 0}, true},
	{work{"call", 20}, true}, {work{"call", 0}, true},
}

// works are those to do.
func (s *settings) works() (list []work) {
	for _, w := range works {
		switch {
		case s.check && w.rate != 0, s.quick && !w.short:
		default:
			list = append(list, w.work)
		}
	}
	return list
}

// length is how long a work is measured.
func (s *settings) length(w work) time.Duration {
	switch {
	case w.rate == 0:
		return s.full
	case w.rate >= 200:
		return s.rate
	}
	return s.low
}

// measure does all the works with one core, started anew. What does not work out is
// noted, and the rest goes on; its error is a core that does not run at all.
func (r *results) measure(ctx context.Context, s *settings, name string) error {
	if name == floorCore {
		r.measureFloor(ctx, s)
		return ctx.Err()
	}
	c, err := start(ctx, s, name, servicesCPU, 0)
	if err != nil {
		return err
	}
	next := 0 // phones that nobody has used
	capacity := map[string]float64{}
	// try measures a work and gives its rate, 0 if there is none.
	try := func(w work, row string, length time.Duration, phones int) float64 {
		args := []string{"--duration", length.String(), "--stir", s.stir.String()}
		if strings.HasSuffix(row, "times capacity") {
			args = append(args, "--patience", "12s")
		} else {
			args = append(args, "--patience", "20s")
		}
		if w.rate > 0 {
			args = append(args, "--rate", strconv.FormatFloat(w.rate, 'f', 1, 64))
		} else {
			args = append(args, "--busy", strconv.Itoa(w.busy()))
		}
		var problem error
		for range 3 {
			p, err := c.load(ctx, w.scenario(), next, phones, args...)
			if ctx.Err() != nil {
				return 0
			}
			if err == nil && w.what == "registration" {
				next += min(phones, p.Registered+int(p.Load.Failed)+500)
			}
			// Above capacity nothing may succeed, and that is what was to be seen. Otherwise
			// the machine had something else to do.
			if err == nil && (p.Load.Succeeded > 0 || strings.HasSuffix(row, "times capacity")) {
				r.add(name, row, p)
				return float64(p.Load.Done) / p.Load.Seconds
			}
			if problem = err; err == nil {
				problem = fmt.Errorf("nothing succeeded: %v", p.Load.Causes)
			}
		}
		r.problem("%s, %s: %v", name, row, problem)
		return 0
	}
	fresh := func(rate float64, length time.Duration) int { return int(rate*1.3*(s.stir+length).Seconds()) + 100 }
	for _, w := range s.works() {
		phones := 500
		if w.what == "registration" {
			if phones = fresh(w.rate, s.length(w)); w.rate == 0 {
				phones = int(7000 * (s.stir + s.length(w)).Seconds())
			}
		}
		if rate := try(w, w.String(), s.length(w), phones); w.rate == 0 {
			capacity[w.what] = rate
		}
	}
	var half []string
	var over []float64
	if !s.check {
		half, over = []string{"registration", "message", "call"}, []float64{1.5, 2}
	}
	for _, what := range half {
		w, phones := work{what, capacity[what] / 2}, 800
		if what == "registration" {
			phones = fresh(w.rate, s.half)
		}
		if w.rate > 0 {
			try(w, what+", half of capacity", s.half, phones)
		}
	}
	for _, times := range over {
		if w := (work{"registration", capacity["registration"] * times}); w.rate > 0 {
			try(w, fmt.Sprintf("registration, %g times capacity", times), s.flood, fresh(w.rate, s.flood))
		}
	}
	if err := c.stop(); err != nil {
		r.problem("%s: %v", name, err)
	}
	return ctx.Err()
}

// load runs testbed load on the phones' processor. Some phones may fail, and that is in
// the report.
func (c *core) load(ctx context.Context, mix string, first, phones int, args ...string) (*report, error) {
	if first+phones > c.s.subscribers {
		first = max(0, c.s.subscribers-phones) // the last ones again
		phones = min(phones, c.s.subscribers)
	}
	file := c.file("report.json")
	_ = os.Remove(file)
	all := append([]string{"-c", phonesCPU, c.s.bin("testbed"), "load", "--pcscf", c.pcscf, "--domain", domain, "--k", keyK, "--opc", keyOPc,
		"--first", fmt.Sprintf("%015d", firstIMSI+first), "--from", address(first), "--phones", strconv.Itoa(phones), "--mix", mix, "--json", file,
		"--cpu", strings.Join(append(c.watch, "hss="+c.file("hss.pid")), ",")}, args...)
	cmd := exec.CommandContext(ctx, "taskset", all...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscallTerm) }
	out, runErr := cmd.CombinedOutput()
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("testbed load: %w: %s", errors.Join(runErr, err), tail(out))
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("reading the report of testbed load: %w", err)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case r.Load == nil:
		return nil, fmt.Errorf("nothing was measured: %s", tail(out))
	}
	return &r, nil
}

// tail is the end of what a program has said.
func tail(out []byte) []byte { return out[max(0, len(out)-1500):] }

// address is the first of phones that nobody has used: a phone keeps its own, as
// Kamailio's P-CSCF finds it by that.
func address(first int) string {
	return fmt.Sprintf("127.%d.%d.%d", 16+first/62500, first/250%250, 1+first%250)
}

// memory has all cores hold more and more registered phones, all at the same time, as
// it is no time that is measured.
func (r *results) memory(ctx context.Context, s *settings) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for _, name := range s.cores {
		if name == floorCore {
			continue
		}
		n++
		wg.Add(1)
		go func(n int) {
			defer wg.Done()
			list, err := hold(ctx, s, name, n)
			mu.Lock()
			defer mu.Unlock()
			r.Memory[name] = list
			if err != nil {
				r.problem("memory of %s: %v", name, err)
			}
		}(n)
	}
	wg.Wait()
	return ctx.Err()
}

// held is the proportional set size of the services, in KiB, with so many registered.
type held struct {
	Phones int     `json:"phones"`
	KiB    float64 `json:"kib"`
	Idle   float64 `json:"idle_cpu_percent"` // of a processor, in the second half of the rest
}

func hold(ctx context.Context, s *settings, name string, n int) (list []held, err error) {
	// All at once are too much for one processor, and memory is not the worse for it.
	cpu := phonesCPU
	if name == kamailioCore {
		cpu = servicesCPU
	}
	c, err := start(ctx, s, name, cpu, n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	have := 0
	for _, size := range s.populations {
		// A Poisson process at the pace, not a burst: that would be another question.
		length := time.Duration(float64(size-have) / float64(s.pace) * float64(time.Second))
		if _, err := c.load(ctx, "register", have, size-have, "--count", strconv.Itoa(size-have), "--duration", (2*length + time.Minute).String(), "--rate", strconv.Itoa(s.pace)); err != nil {
			return list, err
		}
		have = size
		idle, err := c.idle(ctx, s.rest/2)
		if err != nil {
			return list, err
		}
		kib, err := c.pss()
		if err != nil {
			return list, err
		}
		list = append(list, held{size, kib, idle})
		fmt.Fprintf(os.Stderr, "%-9s %d registered: %.1f MiB, %.2f %% of a processor at rest\n", name, size, kib/1024, idle)
	}
	return list, nil
}

// idle waits twice so long, and is what the services took in the second half, in percent
// of a processor.
func (c *core) idle(ctx context.Context, half time.Duration) (percent float64, err error) {
	var before float64
	for i := range 2 {
		select {
		case <-time.After(half):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		now, err := c.ticks()
		if err != nil {
			return 0, err
		}
		if i == 1 {
			percent = (now - before) / half.Seconds()
		}
		before = now
	}
	return percent, nil
}
