package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/trace"
)

// The exit codes of every service.
const (
	ExitOK     = 0 // stopped by a signal after draining, or --check found nothing wrong
	ExitFailed = 1 // anything else
	ExitConfig = 2 // bad configuration or flags
)

// Deps is what a service gets from its process.
type Deps struct {
	Log     *zap.Logger
	Trace   trace.Node
	Metrics *prometheus.Registry
}

// Service is a running function: Run returns when ctx has ended and all
// transactions have finished or the drain time is over.
type Service interface {
	Run(ctx context.Context) error
	// Ready is nil when the service can do its work.
	Ready() error
}

// Program describes a service's command to Main.
type Program struct {
	Name string
	// Config is a pointer to the configuration struct with its defaults set.
	Config any
	// Common points to the part of Config that node itself uses.
	Common *Common
	// Check validates the configuration after it was read.
	Check func() error
	// Explain returns sentences for --check: what will listen where, what is missing.
	Explain func() []string
	// New builds the service.
	New func(Deps) (Service, error)
	// Admin may add HTTP paths once the service exists.
	Admin func(Service, *Admin)
	// Questions are flags that ask the running service, and start none.
	Questions []Question
}

// Main runs the program with the arguments of its command line (without the
// program's name) and returns its exit code.
func (p Program) Main(args []string, stdout, stderr io.Writer) int {
	ends := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		ends = append(ends, syscall.SIGHUP) // the terminal has gone
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	err := p.Run(ctx, args, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
	}
	return ExitCode(err)
}

// ExitCode is the exit code that belongs to an error of Run.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, new(*ConfigError)):
		return ExitConfig
	default:
		return ExitFailed
	}
}

// Run is Main without signals, for a process that runs several programs: it ends
// with ctx.
func (p Program) Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	config := fs.String("config", "", "read the configuration from `FILE` (YAML)")
	check := fs.Bool("check", false, "validate the configuration, say what it means, and exit")
	pidFile := fs.String("pid-file", "", "write the process id to `FILE` when the service is ready")
	asked := p.questions(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return &ConfigError{Err: err}
	}
	if fs.NArg() > 0 {
		return &ConfigError{Err: fmt.Errorf("unexpected argument %q: settings are given by --config FILE", fs.Arg(0))}
	}
	if *config == "" {
		return &ConfigError{Err: errors.New("no configuration: give --config FILE (`go run ./testbed lab --write-config DIR` writes one to start from)")}
	}
	if err := LoadConfig(*config, p.Config); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		if src, readErr := os.ReadFile(*config); readErr == nil {
			err = locate(src, err)
		}
		return &ConfigError{File: *config, Err: err}
	}
	if *check {
		fmt.Fprintf(stdout, "%s: %s is good.\n", p.Name, *config)
		if p.Explain != nil {
			for _, s := range p.Explain() {
				fmt.Fprintln(stdout, s)
			}
		}
		return nil
	}
	if asked.question != nil {
		return asked.ask(ctx, p.Common.HTTP, stdout)
	}
	return p.serve(ctx, *pidFile, stderr)
}

// serve runs the service and its HTTP side until ctx ends.
func (p Program) serve(ctx context.Context, pidFile string, stderr io.Writer) error {
	log, closeLog, err := NewLog(p.Common.Log, p.Name, stderr)
	if err != nil {
		return &ConfigError{Err: err}
	}
	defer func() {
		if err := closeLog.Close(); err != nil {
			fmt.Fprintf(stderr, "%s: writing the end of the log: %v\n", p.Name, err)
		}
	}()
	sampleHeap()
	if p.Common.NoBatch {
		log.Info("the service runs as the system schedules it: no_batch is set")
	} else if err := batch(); err != nil {
		log.Info("the service runs as the system schedules it, and costs more processor time under load", zap.Error(err))
	}
	defer growHeap()()
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if f, ok := closeLog.(interface{ Lost() uint64 }); ok {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gocscf_log_lines_lost_total", Help: "Log lines that the log file did not take, as on a full disk.",
		}, func() float64 { return float64(f.Lost()) }))
	}
	stream := &trace.Stream{}
	svc, err := p.New(Deps{Log: log, Trace: trace.Node{Stream: stream, Name: p.Name}, Metrics: reg})
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	adminDone := make(chan struct{})
	if p.Common.HTTP != "" {
		admin := &Admin{Ready: svc.Ready, Metrics: reg, Trace: stream, TraceRemote: p.Common.TraceRemote}
		if p.Admin != nil {
			p.Admin(svc, admin)
		}
		ln, err := admin.Listen(p.Common.HTTP)
		if err != nil {
			return err
		}
		log.Info("http is up", zap.Stringer("address", ln.Addr()))
		// The HTTP side outlives ctx: what drains must still be visible.
		httpCtx, stopHTTP := context.WithCancel(context.WithoutCancel(ctx))
		defer func() { stopHTTP(); <-adminDone }()
		go func() {
			defer close(adminDone)
			if err := admin.Serve(httpCtx, ln); err != nil {
				cancel(err)
			}
		}()
	}
	tidying := make(chan struct{})
	go func() { defer close(tidying); tidy(ctx) }()
	defer func() { cancel(nil); <-tidying }()
	if pidFile != "" {
		go func() {
			if err := WritePIDWhenReady(ctx, pidFile, svc.Ready); err != nil {
				log.Error("not ready for others", zap.Error(err))
			}
		}()
		defer os.Remove(pidFile)
	}
	if err := svc.Run(ctx); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("stopped")
	return nil
}

// WritePIDWhenReady waits for readiness; its steps are short against what
// starts a service and long against what asking costs.
func WritePIDWhenReady(ctx context.Context, file string, ready func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ready() != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return fmt.Errorf("writing the pid file: %w", err)
	}
	return nil
}
