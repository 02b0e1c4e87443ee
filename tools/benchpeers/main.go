package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "benchpeers:", err)
		os.Exit(1)
	}
}

// settings are how much is measured.
type settings struct {
	root    string // of the repository, with bin/
	out     string
	cores   []string
	repeats int
	quick   bool
	check   bool
	keep    bool
	part    bool // not all of it

	before                time.Duration // rest before a low rate
	stir, low, rate, full time.Duration // of a load at all, at the low rate, at 200/s, in the closed loop
	half, flood           time.Duration // at half capacity, above capacity
	populations           []int         // of the measurement of memory, the first is what the others are compared with
	pace                  int           // registrations a second then
	rest                  time.Duration // after them
	subscribers           int           // that the HSS knows
}

func run(ctx context.Context) error {
	s := settings{}
	var cores string
	memoryOnly := flag.Bool("memory-only", false, "measure memory alone")
	noMemory := flag.Bool("no-memory", false, "leave memory out")
	flag.StringVar(&s.root, "C", ".", "the repository, with the programs in bin/")
	flag.StringVar(&s.out, "out", "", "write peers.json and peers-table.md there (default: docs/performance; dist/bench-peers if it is not the whole)")
	flag.StringVar(&cores, "cores", "", "which cores: kamailio,gocscf,core,floor (default: all that there are)")
	flag.IntVar(&s.repeats, "repeats", 0, "how often each is measured (default 3; with -quick 1)")
	flag.BoolVar(&s.quick, "quick", false, "a short form, under five minutes")
	flag.BoolVar(&s.check, "check", false, "saturation alone, three times, and fail where a ratio is out of its bounds")
	flag.BoolVar(&s.keep, "keep", false, "keep the directories with configurations and logs")
	flag.Parse()
	s.lengths()
	s.part = *memoryOnly || *noMemory || cores != ""
	if runtime.NumCPU() < 2 {
		return fmt.Errorf("there is %d processor: services and phones need one each", runtime.NumCPU())
	}
	var err error
	if s.root, err = filepath.Abs(s.root); err != nil {
		return err
	}
	if s.out == "" {
		s.out = filepath.Join(s.root, "docs", "performance")
		if s.quick || s.check || s.part {
			s.out = filepath.Join(s.root, "dist", "bench-peers")
		}
	}
	for _, tool := range []string{"taskset", "kamailio", "kamcmd"} {
		if _, err := find(tool); err != nil {
			return err
		}
	}
	if s.cores = strings.FieldsFunc(cores, func(r rune) bool { return r == ',' }); len(s.cores) == 0 {
		s.cores = []string{kamailioCore, gocscfCore}
		// The functions in one process, where this version of testbed has that.
		if exec.CommandContext(ctx, s.bin("testbed"), "core", "--help").Run() == nil {
			s.cores = append(s.cores, oneProcess)
		}
		s.cores = append(s.cores, floorCore)
	}
	fmt.Fprintf(os.Stderr, "some %.0f minutes\n", math.Ceil(s.takes(!*memoryOnly, !*noMemory).Minutes()))
	r := newResults(ctx, &s)
	if !*memoryOnly {
		for i := range s.repeats {
			r.repeat = i
			for _, core := range s.cores {
				if err := r.measure(ctx, &s, core); err != nil {
					if ctx.Err() != nil {
						return err
					}
					r.problem("repeat %d of %s: %v", i+1, core, err)
				}
			}
		}
	}
	if !*noMemory && !s.check {
		if err := r.memory(ctx, &s); err != nil {
			return fmt.Errorf("memory: %w", err)
		}
	}
	r.Seconds = time.Since(r.began).Seconds()
	if s.check {
		r.check(&s)
	}
	return r.write(&s)
}

func (s *settings) bin(name string) string { return filepath.Join(s.root, "bin", name) }

// find looks where Debian puts daemons too, which is not in everybody's PATH.
func find(name string) (string, error) {
	for _, try := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(try); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: install the packages of .ci/packages", name)
}
