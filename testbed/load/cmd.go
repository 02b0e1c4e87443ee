package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gocscf/gocscf/aka"
)

// Cmd is `testbed load`, in kong's terms.
type Cmd struct {
	PCSCF  []string `name:"pcscf" required:"" placeholder:"HOST:PORT,…" help:"Where phones send to; several share them."`
	Domain string   `default:"${domain}" help:"Home domain."`
	Phones int      `default:"1000" help:"How many phones there are."`
	First  string   `default:"001010000100000" placeholder:"IMSI" help:"IMSI of the first; the others count on. The HSS has them by generate."`
	K      string   `name:"k" required:"" placeholder:"HEX" help:"Key of all SIMs."`
	OPc    string   `name:"opc" required:"" placeholder:"HEX" help:"OPc of all SIMs."`
	From   string   `default:"127.16.0.1" placeholder:"IPV4" help:"Address of the first phone; the others count on."`
	ESP    string   `name:"esp" placeholder:"HOST:PORT" help:"Put the phones behind IPsec: the P-CSCF's address for ESP in UDP (ipsec.udp in its configuration)."`
	Port   uint16   `default:"0" help:"Port of all phones, 0 takes any."`

	Mix        string        `default:"register" help:"What phones do, with weights: call=4,message=3,reregister=3; of register, reregister, deregister, call, cancelled, rejected, unanswered, message, subscribe, emergency, priority."`
	Registered int           `default:"-1" help:"Phones that register before the load begins; -1 is what the mix needs."`
	Rate       string        `placeholder:"N" help:"Open loop: so many operations a second become due, by a Poisson process."`
	Ramp       string        `placeholder:"FROM..TO" help:"Open loop whose rate changes evenly over the duration."`
	Busy       int           `default:"10" help:"Closed loop: so many operations are always under way."`
	PreBusy    int           `default:"20" help:"So many phones register at once before the load."`
	Duration   time.Duration `default:"10s" help:"How long the load counts; 0s with --count ends by that alone."`
	Count      int           `default:"0" help:"End after so many operations."`
	Stir       time.Duration `default:"0s" help:"How long the load lasts before it counts."`
	DOC        string        `name:"doc" placeholder:"FROM..TO/STEP" help:"Try one load after the other, each for the duration, and say which was the highest with at most 0.1 % of attempts failed, retransmitted or over the limit."`
	NoLoad     bool          `help:"Nothing but the pre-registration."`

	Think    time.Duration `default:"20ms" help:"What a phone needs to answer a challenge."`
	Ring     time.Duration `default:"0s" help:"How long called phones ring."`
	Hold     time.Duration `default:"0s" help:"How long calls last."`
	T1       time.Duration `name:"t1" default:"2s" help:"Timer T1 of the phones (TS 24.229 table 7.7.1); T2 is eight times that."`
	Patience time.Duration `default:"32s" help:"How long an attempt may take at all."`
	Limit    time.Duration `default:"2s" help:"How long an adequately handled attempt may take."`
	Recover  bool          `help:"A phone that the core has forgotten registers anew."`
	Priority string        `default:"wps.0" placeholder:"NAMESPACE.LEVEL" help:"Resource-Priority that calls of the scenario priority ask for."`
	Seed     uint64        `default:"0" help:"Repeat the due times and choices of a run."`

	CPU  []string `name:"cpu" placeholder:"NAME=PID,…" help:"Processes to watch with their children, by process id or pid file: processor time and memory."`
	JSON string   `name:"json" placeholder:"FILE" help:"Write the report there, - for standard output, where then nothing else is."`
	Plot string   `placeholder:"FILE" help:"Draw rate, failures and latency over time there (SVG)."`
}

// FlagError is a flag that cannot be used.
type FlagError struct{ Err error }

func (e *FlagError) Error() string { return e.Err.Error() }

func (e *FlagError) Unwrap() error { return e.Err }

// ExitCode is that of bad flags.
func (e *FlagError) ExitCode() int { return 2 }

// errFailed is the exit code of a load of which something has failed.
var errFailed = errors.New("not every attempt succeeded")

// errNothing is the exit code of a load that never was one.
var errNothing = errors.New("no operation was begun: no phone was free for what the mix asks for. Registrations need phones that are not registered, all others such that are: see --phones, --registered and --stir")

// config reads the flags.
func (c *Cmd) config() (cfg Config, err error) {
	var errs []error
	note := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", flag, err))
		}
	}
	cfg = Config{
		Domain: c.Domain, Phones: c.Phones, Port: c.Port, Registered: c.Registered, RegisterBusy: c.PreBusy, Busy: c.Busy, Stir: c.Stir,
		Duration: c.Duration, Count: c.Count, Think: c.Think, Ring: c.Ring, Hold: c.Hold, T1: c.T1, Patience: c.Patience, Limit: c.Limit,
		Recover: c.Recover, Seed: c.Seed, Priority: c.Priority,
	}
	for _, p := range c.PCSCF {
		a, err := netip.ParseAddrPort(p)
		note("--pcscf", err)
		cfg.PCSCF = append(cfg.PCSCF, a)
	}
	if c.ESP != "" {
		cfg.ESP, err = netip.ParseAddrPort(c.ESP)
		note("--esp", err)
	}
	cfg.First, err = strconv.ParseUint(c.First, 10, 64)
	if err == nil && len(c.First) != 15 {
		err = fmt.Errorf("%q has not the 15 digits of an IMSI", c.First)
	}
	note("--first", err)
	cfg.K, err = aka.ParseSecret(c.K)
	note("--k", err)
	cfg.OPc, err = aka.ParseSecret(c.OPc)
	note("--opc", err)
	cfg.Address, err = netip.ParseAddr(c.From)
	note("--from", err)
	cfg.Mix, err = ParseMix(c.Mix)
	note("--mix", err)
	if c.Rate != "" {
		cfg.Rate, err = ParseRate(c.Rate)
		note("--rate", err)
	}
	if c.Ramp != "" {
		cfg.Rate, err = ParseRate(c.Ramp)
		note("--ramp", err)
		cfg.Rate.Over = c.Duration
		if c.Stir > 0 {
			note("--ramp", errors.New("a ramp has no stir phase: leave out --stir"))
		}
	}
	if c.DOC != "" {
		cfg.Steps, err = parseSteps(c.DOC)
		note("--doc", err)
	}
	if c.NoLoad {
		cfg.Duration, cfg.Count = 0, 0
		if c.Registered < 0 {
			cfg.Registered = c.Phones
		}
	}
	for _, p := range c.CPU {
		proc, err := ParseProcess(p)
		note("--cpu", err)
		cfg.Processes = append(cfg.Processes, proc)
	}
	err = errors.Join(errs...)
	if err == nil { // each can be read; now what they ask for together
		all := cfg
		all.defaults()
		err = all.check()
	}
	if err != nil {
		return cfg, &FlagError{err}
	}
	return cfg, nil
}

// parseSteps reads FROM..TO/STEP.
func parseSteps(s string) ([]float64, error) {
	span, by, ok := strings.Cut(s, "/")
	r, err := ParseRate(span)
	step, errStep := strconv.ParseFloat(by, 64)
	if !ok || err != nil || errStep != nil || r.From <= 0 || r.To < r.From || !(step > 0) || (r.To-r.From)/step > 1000 {
		return nil, fmt.Errorf("%q: want loads to try, as 100..1000/100", s)
	}
	var list []float64
	for rate := r.From; rate <= r.To; rate += step {
		list = append(list, rate)
	}
	return list, nil
}

// Run makes the load.
func (c *Cmd) Run(ctx context.Context, out io.Writer) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	cfg.Progress = func(s Second) {
		fmt.Fprintf(os.Stderr, "%7.1f s  %-16s due %d, ok %d, failed %d, under way %d, again %d, p50 %.1f ms, p99 %.1f ms\n",
			s.Seconds, s.Phase, s.Due, s.Succeeded, s.Failed, s.Active, s.Repeated, s.P50, s.P99)
	}
	r, err := Run(ctx, cfg)
	if err != nil {
		return err
	}
	if c.JSON != "-" {
		if err := r.Print(out); err != nil {
			return fmt.Errorf("printing the report: %w", err)
		}
	}
	if err := c.write(r, out); err != nil {
		return err
	}
	return r.outcome()
}

// outcome is the exit code: whether all that was asked for was begun, and succeeded.
func (r *Report) outcome() error {
	switch {
	case r.failed() > 0:
		return errFailed
	case r.Load != nil && r.Load.Attempts == 0:
		return errNothing
	}
	return nil
}

// failed is how many attempts of all failed.
func (r *Report) failed() (n uint64) {
	for _, p := range []*Phase{r.PreRegistration, r.Load} {
		if p != nil {
			n += p.Failed
		}
	}
	return n // a step is there to find where it fails
}

// write writes the files that are asked for.
func (c *Cmd) write(r *Report, out io.Writer) error {
	if c.JSON != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		b = append(b, '\n')
		if c.JSON == "-" {
			_, err = out.Write(b)
		} else {
			err = os.WriteFile(c.JSON, b, 0o644)
		}
		if err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	if c.Plot != "" {
		if err := os.WriteFile(c.Plot, r.Plot(), 0o644); err != nil {
			return fmt.Errorf("writing the plot: %w", err)
		}
	}
	return nil
}
