package hss

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gocscf/gocscf/ims/node"
)

// Cmd is the command line of `testbed hss`, in kong's terms.
type Cmd struct {
	Config  string `help:"Read the configuration from this file (YAML)." placeholder:"FILE" required:""`
	State   string `help:"Keep sequence numbers in this file; goes before the key state." placeholder:"FILE"`
	Check   bool   `help:"Validate the configuration, say what it means, and exit."`
	PIDFile string `name:"pid-file" help:"Write the process id to this file when the service is ready." placeholder:"FILE"`
}

// ExitError is an exit code that is not 0; what was wrong has been written to
// standard error.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("hss: exit code %d", int(e)) }

// ExitCode is the process's exit code.
func (e ExitError) ExitCode() int { return int(e) }

// Run runs the HSS until it is told to stop. Its error is an ExitError.
func (c *Cmd) Run() error {
	if code := c.main(); code != node.ExitOK {
		return ExitError(code)
	}
	return nil
}

func (c *Cmd) main() int {
	args := []string{"--config", c.Config}
	if c.Check {
		args = append(args, "--check")
	}
	if c.PIDFile != "" {
		args = append(args, "--pid-file", c.PIDFile)
	}
	p, err := c.program()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hss:", err)
		return node.ExitFailed
	}
	return p.Main(args, os.Stdout, os.Stderr)
}

// program describes the service to node.
func (c *Cmd) program() (node.Program, error) {
	cfg := DefaultConfig()
	cfg.Dir = filepath.Dir(c.Config)
	// A file named on the command line is relative to where the command runs.
	state, err := c.State, error(nil)
	if state != "" {
		if state, err = filepath.Abs(state); err != nil {
			return node.Program{}, fmt.Errorf("--state: %w", err)
		}
	}
	return node.Program{
		Name: "hss", Config: &cfg, Common: &cfg.Common,
		Check: func() error {
			if state != "" {
				cfg.State = state
			}
			return cfg.Check()
		},
		Explain: cfg.Explain,
		New:     func(d node.Deps) (node.Service, error) { return New(cfg, Deps{Deps: d}) },
		Admin:   Admin,
	}, nil
}
