package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/gocscf/gocscf/ims/icscf"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/pcscf"
	"github.com/gocscf/gocscf/ims/scscf"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/inproc"
)

// CoreCmd is `testbed core`, in kong's terms: the three services in one process, which
// hand their messages over in memory. Each has its configuration, log, metrics and
// trace as it has alone.
type CoreCmd struct {
	Config  string `required:"" placeholder:"DIR" help:"Read pcscf.yaml, icscf.yaml and scscf.yaml from this directory."`
	Check   bool   `help:"Validate the configurations, say what they mean, and exit."`
	PIDFile string `name:"pid-file" placeholder:"FILE" help:"Write the process id to this file when all three are ready."`
}

// Run runs the services until ctx ends.
func (c *CoreCmd) Run(ctx context.Context) error {
	return c.run(ctx, transport.Kernel(), os.Stdout, os.Stderr)
}

func (c *CoreCmd) run(ctx context.Context, network transport.Net, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &colocated{}
	programs := p.programs(network)
	if c.Check {
		for _, program := range programs {
			if err := program.Run(ctx, append(c.file(program), "--check"), stdout, stderr); err != nil {
				return coreError{err}
			}
		}
		return nil
	}
	stderr = &lines{w: stderr}
	var wg sync.WaitGroup
	errs := make([]error, len(programs))
	for i, program := range programs {
		wg.Go(func() {
			defer cancel() // one that ends takes the others along
			if err := program.Run(ctx, c.file(program), stdout, stderr); err != nil {
				errs[i] = fmt.Errorf("%s: %w", program.Name, err)
			}
		})
	}
	if c.PIDFile != "" {
		wg.Go(func() {
			if err := node.WritePIDWhenReady(ctx, c.PIDFile, func() error { return p.ready(len(programs)) }); err != nil {
				fmt.Fprintln(stderr, "core:", err)
			}
		})
		defer os.Remove(c.PIDFile)
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return coreError{err}
	}
	return nil
}

func (c *CoreCmd) file(p node.Program) []string {
	return []string{"--config", filepath.Join(c.Config, p.Name+".yaml")}
}

// coreError ends the command with the exit code of a service.
type coreError struct{ error }

func (e coreError) Unwrap() error { return e.error }

// ExitCode is that of the services.
func (e coreError) ExitCode() int { return node.ExitCode(e.error) }

// colocated are the services of one process, with the memory between them.
type colocated struct {
	hub inproc.Hub

	mu      sync.Mutex
	running []node.Service
}

func (p *colocated) programs(network transport.Net) []node.Program {
	pc, ic, sc := pcscf.DefaultConfig(), icscf.DefaultConfig(), scscf.DefaultConfig()
	return []node.Program{
		{
			Name: NameS, Config: &sc, Common: &sc.Common, Check: sc.Check, Explain: sc.Explain,
			New: func(d node.Deps) (node.Service, error) {
				s, err := scscf.New(sc, scscf.Deps{Deps: d, Net: p.hub.Net(network, sc.Listen)})
				return s, p.started(s, err)
			},
		},
		{
			Name: NameI, Config: &ic, Common: &ic.Common, Check: ic.Check, Explain: ic.Explain,
			New: func(d node.Deps) (node.Service, error) {
				s, err := icscf.New(ic, icscf.Deps{Deps: d, Net: p.hub.Net(network, ic.Listen)})
				return s, p.started(s, err)
			},
		},
		{
			Name: NameP, Config: &pc, Common: &pc.Common, Check: pc.Check, Explain: pc.Explain,
			New: func(d node.Deps) (node.Service, error) {
				s, err := pcscf.New(pc, pcscf.Deps{Deps: d, Net: p.hub.Net(network, pc.Listen.Mw)})
				return s, p.started(s, err)
			},
			Admin: pcscf.Admin, Questions: pcscf.Questions(),
		},
	}
}

func (p *colocated) started(s node.Service, err error) error {
	if err == nil {
		p.mu.Lock()
		p.running = append(p.running, s)
		p.mu.Unlock()
	}
	return err
}

var errStarting = errors.New("not all services have started")

// ready reports whether all n services can do their work.
func (p *colocated) ready(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.running) < n {
		return errStarting
	}
	for _, s := range p.running {
		if err := s.Ready(); err != nil {
			return err
		}
	}
	return nil
}

// lines keeps the log lines of several services apart.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
