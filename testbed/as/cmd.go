package as

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/trace"
)

// Cmd is the command line of `testbed as`, in kong's terms.
type Cmd struct {
	Listen         string        `help:"Address for UDP and TCP that the S-CSCF can reach." placeholder:"IP:PORT" default:"127.0.0.1:5070"`
	Mode           string        `help:"What happens to requests: ${enum}." enum:"proxy,b2bua,redirect,reject,silent,answer,register-only" default:"proxy"`
	Name           string        `help:"Value of the header that shows that a request passed here, and the node's name in traces." default:"as"`
	Header         string        `help:"Name of that header." default:"X-AS"`
	Host           []string      `help:"Further names by which a Route may mean this server." placeholder:"HOST"`
	RecordRoute    bool          `help:"Stay in the dialogs that pass (proxy)." default:"true" negatable:""`
	Status         int           `help:"Answer of mode reject." default:"403"`
	Reason         string        `help:"Its reason phrase." placeholder:"TEXT"`
	Target         string        `help:"Where mode redirect sends callers." placeholder:"URI"`
	OnBehalfOf     string        `help:"Originate the second dialog for this user (b2bua)." placeholder:"URI"`
	SCSCF          string        `name:"scscf" help:"S-CSCF for --on-behalf-of; default: where the request came from." placeholder:"URI"`
	Ring           time.Duration `help:"How long mode answer rings first." default:"0s"`
	RegisterStatus int           `help:"Answer to a third-party REGISTER." default:"200"`
	RegisterSilent bool          `help:"Leave a third-party REGISTER without an answer."`
	HTTP           string        `name:"http" help:"Serve /metrics, /healthz, /readyz and /debug/trace here." placeholder:"HOST:PORT"`
	LogLevel       string        `help:"debug, info, warn or error." default:"info"`
	LogFormat      string        `help:"console or json." default:"console"`
}

// ExitError is an error with the process's exit code.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }
func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode is the process's exit code.
func (e *ExitError) ExitCode() int { return e.Code }

func (c *Cmd) config() Config {
	return Config{
		Listen: c.Listen, Mode: Mode(c.Mode), Name: c.Name, Header: c.Header, Hosts: c.Host, RecordRoute: c.RecordRoute,
		Status: c.Status, Reason: c.Reason, Target: c.Target, OnBehalfOf: c.OnBehalfOf, SCSCF: c.SCSCF,
		Ring: c.Ring, RegisterStatus: c.RegisterStatus, RegisterSilent: c.RegisterSilent,
	}
}

// Run runs the application server until it is told to stop. Its error is an
// *ExitError.
func (c *Cmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return c.run(ctx, nil)
}

// run tells up when the server is there.
func (c *Cmd) run(ctx context.Context, up func(*Server)) error {
	cfg := c.config()
	if err := cfg.Check(); err != nil {
		return &ExitError{node.ExitConfig, fmt.Errorf("application server: %s", strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	log, closer, err := node.NewLog(node.LogConfig{Level: c.LogLevel, Format: c.LogFormat}, c.Name, os.Stderr)
	if err != nil {
		return &ExitError{node.ExitConfig, err}
	}
	defer closer.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	metrics, stream := prometheus.NewRegistry(), &trace.Stream{}
	s, err := New(cfg, node.Deps{Log: log, Trace: trace.Node{Stream: stream, Name: c.Name}, Metrics: metrics})
	if err != nil {
		return &ExitError{node.ExitFailed, err}
	}
	if c.HTTP != "" {
		admin := &node.Admin{Ready: s.Ready, Metrics: metrics, Trace: stream}
		ln, err := admin.Listen(c.HTTP)
		if err != nil {
			s.Close()
			return &ExitError{node.ExitFailed, err}
		}
		log.Info("http is up", zap.Stringer("address", ln.Addr()))
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := admin.Serve(ctx, ln); err != nil {
				cancel(err)
			}
		}()
		defer func() { cancel(nil); <-done }()
	}
	if up != nil {
		up(s)
	}
	err = s.Run(ctx)
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err != nil {
		return &ExitError{node.ExitFailed, err}
	}
	return nil
}
