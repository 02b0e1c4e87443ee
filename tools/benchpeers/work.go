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
	"syscall"
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
			Max   float64 `json:"max_ms"`
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
		return 160 // some of them think, 20 ms
	}
	return 40
}

// works are all that there are; the short form leaves some out. Low rates come before
// saturation: Kamailio goes on working on what that has left, some of a processor for
// longer than a measurement, which would be counted as the next one's.
var works = []struct {
	work
	short bool
}{
	{work{"registration", 50}, true}, {work{"registration", 200}, true},
	{work{"reregistration", 50}, false}, {work{"reregistration", 200}, false},
	{work{"message", 50}, false}, {work{"message", 200}, true},
	{work{"call", 20}, true},
	{work{"registration", 0}, true}, {work{"reregistration", 0}, true}, {work{"message", 0}, true}, {work{"call", 0}, true},
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
	next := 0                          // phones that nobody has used
	seed := strconv.Itoa(r.repeat + 1) // operations are due at the same times for all cores
	capacity := map[string]float64{}
	// try measures a work and gives its rate, 0 if there is none.
	try := func(w work, row string, length time.Duration, phones int) float64 {
		args := []string{"--duration", length.String(), "--stir", s.stir.String(), "--seed", seed}
		if strings.HasSuffix(row, "times capacity") {
			args = append(args, "--patience", patience.String())
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
			rest := 0.0
			if w.rate > 0 && row == w.String() {
				var err error
				if rest, err = c.idle(ctx, s.before); err != nil {
					r.problem("%s, %s: at rest before it: %v", name, row, err)
				}
			}
			p, err := c.load(ctx, w.scenario(), next, phones, args...)
			if ctx.Err() != nil {
				return 0
			}
			switch {
			case err != nil:
			case w.what == "registration":
				next += min(phones, p.Registered+int(p.Load.Failed)+500)
			default:
				next += phones // they are registered, and a registration is of one that is not
			}
			// Above capacity nothing may succeed, and that is what was to be seen. Otherwise
			// the machine had something else to do.
			if err == nil && (p.Load.Succeeded > 0 || strings.HasSuffix(row, "times capacity")) {
				r.add(name, row, rest, p)
				if !s.check {
					r.judge(name, row, p)
				}
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
	half, over := s.ofCapacity()
	for _, what := range half {
		w, phones := work{what, capacity[what] / 2}, 1600 // so many that none is due when all are busy
		if what == "registration" {
			phones = fresh(w.rate, s.half)
		}
		if w.rate > 0 {
			try(w, what+", half of capacity", s.half, phones)
		}
	}
	for _, x := range over {
		if !x.by(name) {
			continue
		}
		w, phones := work{x.what, capacity[x.what] * x.times}, callers
		if x.what == "registration" {
			phones = fresh(w.rate, s.flood)
		}
		if w.rate > 0 { // what was completed then was within its capacity, too
			capacity[x.what] = max(capacity[x.what], try(w, x.String(), s.flood, phones))
		}
	}
	if err := c.stop(); err != nil {
		r.problem("%s: %v", name, err)
	}
	return ctx.Err()
}

// callers are the phones of calls above capacity.
const callers = 4000

// judge notes what a figure is worth nothing for, or less: attempts that failed where there
// was room for all, that were not made, and refusals that do not say when to come again.
func (r *results) judge(name, row string, p *report) {
	l, above := p.Load, strings.HasSuffix(row, "times capacity")
	var refused, bare uint64
	if l.Refused != nil {
		refused, bare = l.Refused.Latency.Count, l.Refused.NoRetryAfter
	}
	if wrong := l.Failed - min(l.Failed, refused); !above && float64(wrong) > mostFailed*float64(l.Attempts) {
		r.problem("%s, %s: %d of %d failed: %v", name, row, wrong, l.Attempts, l.Causes)
	}
	if !above && l.Skipped > 0 {
		r.problem("%s, %s: %d were due when no phone was free", name, row, l.Skipped)
	}
	if p.Generator.Dropped > 0 {
		r.problem("%s, %s: the phones' socket lost %d datagrams", name, row, p.Generator.Dropped)
	}
	if bare > 0 && name != kamailioCore {
		r.problem("%s, %s: %d of %d refusals without Retry-After", name, row, bare, refused)
	}
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
	cmd.Env = beside()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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
