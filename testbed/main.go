// Command testbed is the lab beside the three services: an HSS, phones,
// application servers, and all of them together in one process.
//
//	testbed [lab]                the demonstration (default)
//	testbed core --config DIR    P-, I- and S-CSCF in one process
//	testbed hss --config FILE    the HSS alone
//	testbed ue register|call     a phone alone
//	testbed as                   an application server alone
//	testbed load                 the traffic of thousands of phones, measured
//	testbed attack               send what strangers and broken peers would
//	testbed chaos                faults under load, and what each costs
//	testbed soak                 the same for long, all counters held against each other
//	testbed ladder --from URL    draw what running services do
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/gocscf/gocscf/testbed/as"
	"github.com/gocscf/gocscf/testbed/attack"
	"github.com/gocscf/gocscf/testbed/chaos"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ladder"
	"github.com/gocscf/gocscf/testbed/load"
	"github.com/gocscf/gocscf/testbed/ue"
)

type cli struct {
	Lab    lab.Cmd       `cmd:"" default:"withargs" help:"Run HSS, P-, I- and S-CSCF, an application server and two phones in one process."`
	Core   lab.CoreCmd   `cmd:"" help:"Run P-, I- and S-CSCF in one process, from the configurations of lab --write-config."`
	HSS    hss.Cmd       `cmd:"" name:"hss" help:"Run the HSS alone."`
	UE     ueCmd         `cmd:"" name:"ue" help:"Use a phone alone, against any IMS core."`
	AS     as.Cmd        `cmd:"" name:"as" help:"Run an application server alone."`
	Load   load.Cmd      `cmd:"" help:"Make the traffic of thousands of phones and measure what any IMS core does with it."`
	Attack attack.Cmd    `cmd:"" help:"Start the services, and attack them."`
	Chaos  chaos.Cmd     `cmd:"" help:"Break a core of processes under load, one fault after the other, and count what each costs."`
	Soak   chaos.SoakCmd `cmd:"" help:"Load a core of processes for long while faults come one after the other, and hold all counters against each other."`
	Ladder ladderCmd     `cmd:"" help:"Draw what running services do, from their /debug/trace."`
}

type ueCmd struct {
	Register ue.RegisterCmd `cmd:"" help:"Register and de-register."`
	Call     ue.CallCmd     `cmd:"" help:"Register, call, hang up and de-register."`
}

type ladderCmd struct {
	From      []string `required:"" placeholder:"URL,…" help:"The services' HTTP addresses (http in their configuration)."`
	Decisions bool     `help:"Also show what the functions decide between messages."`
	Engine    bool     `help:"Also show the steps of the SIP engine."`
}

// Run follows the services until it is interrupted.
func (c *ladderCmd) Run(ctx context.Context) error {
	columns, _ := strconv.Atoi(os.Getenv("COLUMNS"))
	l := ladder.New(os.Stdout, ladder.Options{Width: columns, Decisions: c.Decisions, Engine: c.Engine})
	return errors.Join(ladder.Follow(ctx, c.From, l.Write), l.Close())
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// exitUsage is the exit code for flags that cannot be used.
const exitUsage = 2

// run runs a command line and returns its exit code: 0, 2 for bad flags or a bad
// configuration, 1 for anything else.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	k, err := kong.New(&c, kong.Name("testbed"), kong.Description("The testbed of gocscf."), kong.Vars{"domain": lab.DefaultDomain},
		kong.Writers(stdout, stderr), kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(stdout, (*io.Writer)(nil)))
	if err != nil {
		fmt.Fprintln(stderr, "testbed:", err)
		return 1
	}
	command, err := k.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "testbed: %v; --help lists what there is\n", err)
		return exitUsage
	}
	err = command.Run()
	var code interface {
		error
		ExitCode() int
	}
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		if !errors.As(err, new(hss.ExitError)) { // which has said it already
			fmt.Fprintln(stderr, "testbed:", err)
		}
		return code.ExitCode()
	default:
		fmt.Fprintln(stderr, "testbed:", err)
		return 1
	}
}
