package attack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Cmd is `testbed attack`, in kong's terms.
type Cmd struct {
	Mutate mutateCmd `cmd:"" help:"Bend the messages of registrations and calls, and see that honest ones still succeed."`
	Flood  floodCmd  `cmd:"" help:"Flood the services in many ways, and see that honest phones are served."`
}

// core says where the services are that are started and attacked.
type core struct {
	Bin  string `default:"bin" placeholder:"DIR" help:"Where pcscf, icscf, scscf and testbed are (make build)."`
	Dir  string `placeholder:"DIR" help:"Where configurations and logs go; a temporary directory by default, which is kept when something fails."`
	Seed uint64 `default:"1" help:"What is sent follows from it."`
	JSON bool   `name:"json" help:"Print the report as JSON on standard output."`
}

// with starts the services, does f, stops them, and says what went wrong.
func (c *core) with(ctx context.Context, cfg ProcessesConfig, f func(*Processes) error) error {
	dir := c.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "attack"); err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
	}
	cfg.Bin, cfg.Dir, cfg.Seed = c.Bin, dir, c.Seed
	p, err := StartProcesses(ctx, cfg)
	if err == nil {
		err = f(p)
		err = errors.Join(p.Stop(), err)
	}
	if err != nil {
		return fmt.Errorf("%w\n(seed %d; configurations and logs are in %s)", err, c.Seed, dir)
	}
	if c.Dir == "" {
		return os.RemoveAll(dir)
	}
	return nil
}

type mutateCmd struct {
	core
	For    time.Duration `default:"1m" help:"How long."`
	Each   int           `default:"1000" help:"After how many bent messages an honest registration and call must succeed."`
	Crooks int           `default:"6" help:"How many phones send bent messages at once."`
	CxEach int           `default:"20" help:"One Diameter frame in so many is bent."`
	Settle time.Duration `default:"480s" help:"How long the services have at the end to come back to what they held before. A call that rings for ever takes longest: Timer C, and twice 128 s towards phones."`
}

// Run runs the command.
func (c *mutateCmd) Run(ctx context.Context, stdout io.Writer) error {
	return c.with(ctx, ProcessesConfig{Crooks: 4 * c.Crooks}, func(p *Processes) error {
		out := stdout
		if c.JSON {
			out = os.Stderr
		}
		rep, err := Mutate(ctx, p.Target, MutateConfig{Seed: c.Seed, For: c.For, Each: c.Each, Crooks: c.Crooks, CxEach: c.CxEach, Settle: c.Settle, Out: out})
		if c.JSON {
			return errors.Join(err, json.NewEncoder(stdout).Encode(rep))
		}
		fmt.Fprint(stdout, rep.summary())
		return err
	})
}

// summary is what the command prints in the end.
func (r *MutateReport) summary() string {
	return fmt.Sprintf("%d bent messages and %d bent Diameter frames in %v; %d of %d good ones answered, %d registrations and %d calls of the crooks; %d honest pairs registered and called.\nbefore: %s\npeak:   %s\nafter:  %s\nheap that lives, before and after: %s\n",
		r.Messages, r.Diameter, r.Took.Round(time.Second), r.Answered, r.Asked, r.Registered, r.Calls, r.Checks, show(r.Before), show(r.Peak), show(r.After), showLive(r.LiveBefore, r.LiveAfter))
}

type floodCmd struct {
	core
	For   time.Duration `default:"20s" help:"How long each flood lasts."`
	Rate  int           `default:"2000" help:"Messages a second."`
	Conns int           `default:"2000" help:"Connections of the floods that hold some."`
	Only  []string      `placeholder:"NAME,…" help:"These floods alone."`
	IPsec string        `name:"ipsec" default:"none" enum:"none,user" help:"IPsec of the honest phones: ${enum}; in user space, at both ends."`
	// The most that a flood has taken is some 300 MiB of the P-CSCF, of twice as many
	// lingering transactions as there may be: docs/performance/attack.md.
	Memory uint64 `default:"512" placeholder:"MIB" help:"How much memory a service may have at most (RSS); 0 for any."`
}

// victims are the subscribers in whose names strangers register: at 2000 a second each once
// in a hundred seconds.
const victims = 200_000

// Run runs the command.
func (c *floodCmd) Run(ctx context.Context, stdout io.Writer) error {
	return c.with(ctx, ProcessesConfig{Crooks: 1, Victims: victims, IPsec: c.IPsec == "user"}, func(p *Processes) error {
		enc := json.NewEncoder(stdout)
		if !c.JSON {
			fmt.Fprintln(stdout, FloodTable)
		}
		return Floods(ctx, p.Target, FloodConfig{For: c.For, Rate: c.Rate, Conns: c.Conns, Only: c.Only, Memory: c.Memory << 20}, func(r FloodReport) {
			if c.JSON {
				_ = enc.Encode(r)
				return
			}
			fmt.Fprintln(stdout, r.Row())
			if r.FirstFailure != "" {
				fmt.Fprintf(os.Stderr, "%s: the first that failed: %s\n", r.Name, r.FirstFailure)
			}
		})
	})
}
