package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("give bench, with --help for its flags")
	}
	switch args[0] {
	case "bench":
		return bench(args[1:])
	case "role":
		return role(args[1:])
	case "driver":
		return drive(args[1:])
	}
	return fmt.Errorf("there is no command %q: bench", args[0])
}

// options are the flags of bench, which hands them on to the driver.
type options struct {
	what      string
	rate      float64
	seed      uint64
	busy      int
	seconds   float64
	warm      float64
	json      bool
	cpu, rest int
}

func parse(args []string) (o options, err error) {
	fs := flag.NewFlagSet("floor bench", flag.ContinueOnError)
	fs.StringVar(&o.what, "what", "registration", "registration, reregistration, call or message")
	fs.Float64Var(&o.rate, "rate", 0, "operations a second, at random times; 0 keeps --busy of them going")
	fs.Uint64Var(&o.seed, "seed", 1, "of the random times")
	fs.IntVar(&o.busy, "busy", 80, "operations at once, without --rate")
	fs.Float64Var(&o.seconds, "seconds", 10, "how long is measured")
	fs.Float64Var(&o.warm, "warm", 1, "seconds before that")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	fs.IntVar(&o.cpu, "services-cpu", 0, "the CPU of the three roles")
	fs.IntVar(&o.rest, "driver-cpu", min(1, runtime.NumCPU()-1), "the CPU of phones and HSS")
	return o, fs.Parse(args)
}

// bench starts the driver on its CPU, so that its runtime knows of no other.
func bench(args []string) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	cmd, err := self(append([]string{"driver"}, args...)...)
	if err != nil {
		return err
	}
	cmd.Stdout = os.Stdout
	if err := pin(o.rest, cmd.Start); err != nil {
		return err
	}
	return cmd.Wait()
}

func freeAddresses() (addresses, error) {
	at := addresses{}
	for _, name := range roles {
		for !at[name].IsValid() {
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			defer ln.Close()
			a := netip.MustParseAddrPort(ln.Addr().String())
			if pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(a)); err == nil {
				defer pc.Close()
				at[name] = a
			}
		}
	}
	return at, nil
}

// result is what bench prints.
type result struct {
	What       string             `json:"what"`
	Rate       float64            `json:"rate"` // 0: closed loop
	Busy       int                `json:"busy,omitempty"`
	Seconds    float64            `json:"seconds"`
	Operations int                `json:"operations"`
	Lost       int                `json:"lost"`
	Reached    float64            `json:"operations_per_second"`
	CPU        map[string]float64 `json:"cpu_us_per_operation"`       // by the scheduler's count, by role and in total
	Ticks      float64            `json:"cpu_us_per_operation_ticks"` // in total, user and system time
	P50        float64            `json:"p50_ms"`
	P99        float64            `json:"p99_ms"`
}

func drive(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	s, err := loadScript(o.what)
	if err != nil {
		return err
	}
	at, err := freeAddresses()
	if err != nil {
		return err
	}
	core := []string{pcscf, icscf, scscf}
	children := map[string]*child{}
	for _, name := range core {
		cmd, err := self("role", name, o.what)
		if err != nil {
			return err
		}
		c := &child{cmd: cmd}
		if c.in, err = cmd.StdinPipe(); err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		c.out = bufio.NewReader(out)
		if err := pin(o.cpu, cmd.Start); err != nil {
			return err
		}
		defer func() { _ = c.in.Close(); _ = cmd.Wait() }()
		children[name] = c
		if err := errors.Join(c.tell(at), c.hear("listening")); err != nil {
			return err
		}
	}
	if _, err := open(hss, s, at); err != nil {
		return err
	}
	ue, err := open(phones, s, at)
	if err != nil {
		return err
	}
	d := &driver{phones: ue, started: map[uint64]start{}}
	ue.arrived = d.ended
	// All are told to dial, and then waited for: each waits for the others.
	for _, name := range core {
		if err := children[name].tell("dial"); err != nil {
			return err
		}
	}
	for _, name := range core {
		if err := children[name].hear("ready"); err != nil {
			return err
		}
	}

	work := func(seconds float64) error {
		during := time.Duration(seconds * float64(time.Second))
		if o.rate > 0 {
			return d.open(o.rate, o.seed, during)
		}
		return d.closed(o.busy, during)
	}
	if err := work(o.warm); err != nil {
		return err
	}
	d.settle()
	d.reset()
	before, ticks, err := measure(children)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := work(o.seconds); err != nil {
		return err
	}
	took := time.Since(begin)
	lost := d.settle()
	after, ticksAfter, err := measure(children)
	if err != nil {
		return err
	}
	times := d.reset()
	r := result{What: o.what, Rate: o.rate, Seconds: took.Seconds(), Operations: len(times), Lost: lost, CPU: map[string]float64{}, P50: quantile(times, 0.5), P99: quantile(times, 0.99)}
	if o.rate == 0 {
		r.Busy = o.busy
	}
	n := float64(max(len(times), 1))
	r.Reached = float64(len(times)) / took.Seconds()
	for _, name := range core {
		us := float64((after[name] - before[name]).Nanoseconds()) / 1000 / n
		r.CPU[name] = us
		r.CPU["total"] += us
	}
	r.Ticks = float64((ticksAfter - ticks).Microseconds()) / n
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	load := fmt.Sprintf("%g/s", o.rate)
	if o.rate == 0 {
		load = fmt.Sprintf("%d at once", o.busy)
	}
	fmt.Printf("%s, %s: %.0f/s, CPU %.1f µs each (P %.1f, I %.1f, S %.1f; by ticks %.1f), p50 %.2f ms, p99 %.2f ms, %d lost\n",
		o.what, load, r.Reached, r.CPU["total"], r.CPU[pcscf], r.CPU[icscf], r.CPU[scscf], r.Ticks, r.P50, r.P99, r.Lost)
	return nil
}

func measure(children map[string]*child) (cpu map[string]time.Duration, ticks time.Duration, err error) {
	cpu = map[string]time.Duration{}
	for name, c := range children {
		if cpu[name], err = cpuOf(c.cmd.Process.Pid); err != nil {
			return nil, 0, err
		}
		t, err := ticksOf(c.cmd.Process.Pid)
		if err != nil {
			return nil, 0, err
		}
		ticks += t
	}
	return cpu, ticks, nil
}
