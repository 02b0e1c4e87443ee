package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/ladder"
	"github.com/gocscf/gocscf/testbed/ue"
)

// Cmd is `testbed lab`, in kong's terms.
type Cmd struct {
	Once  bool   `help:"Run the demonstration once and exit: with 0 only if everything happened."`
	JSON  bool   `name:"json" help:"Print one JSON report on standard output; everything else goes to standard error. Implies --once."`
	State string `help:"Keep the HSS's sequence numbers in this file." placeholder:"FILE"`
	TCP   bool   `name:"tcp" help:"Let the phones send over TCP."`

	Profile string `default:"generic" placeholder:"NAME" help:"Whose manners the phones have; testbed ue register --help lists them."`

	LogLevel  string `default:"error" enum:"debug,info,warn,error" help:"Log lines from this level on: ${enum}."`
	NoLadder  bool   `help:"Draw no ladder."`
	Decisions bool   `help:"Let the ladder also show what the functions decide between messages."`

	WriteConfig string `placeholder:"DIR" help:"Write the configurations of separate services into this directory and exit."`
	Force       bool   `help:"With --write-config: write over existing files."`
	Domain      string `default:"${domain}" help:"Home domain."`
	PCSCF       string `name:"pcscf" default:"127.0.0.1:5060" placeholder:"HOST:PORT" help:"With --write-config: the P-CSCF towards phones."`
	ICSCF       string `name:"icscf" default:"127.0.0.1:5070" placeholder:"HOST:PORT" help:"With --write-config: the I-CSCF."`
	SCSCF       string `name:"scscf" default:"127.0.0.1:5080" placeholder:"HOST:PORT" help:"With --write-config: the S-CSCF."`
	HSS         string `name:"hss" default:"127.0.0.1:3868" placeholder:"HOST:PORT" help:"With --write-config: the HSS."`
	IPsec       string `name:"ipsec" default:"required" enum:"none,required" help:"Whether phones have to use IPsec: ${enum}."`
}

// Run runs the command.
func (c *Cmd) Run(ctx context.Context) error {
	if c.WriteConfig != "" {
		return c.writeConfig(os.Stdout)
	}
	return c.demo(ctx, os.Stdout, os.Stderr)
}

func (c *Cmd) writeConfig(out io.Writer) error {
	paths, err := WriteConfig{Dir: c.WriteConfig, Force: c.Force, Domain: c.Domain, PCSCF: c.PCSCF, ICSCF: c.ICSCF, SCSCF: c.SCSCF, HSS: c.HSS, IPsec: c.IPsec}.Write()
	if err != nil {
		return err
	}
	for _, p := range paths {
		fmt.Fprintln(out, "wrote", p)
	}
	dir := filepath.Clean(c.WriteConfig)
	fmt.Fprintf(out, `
Run each in a terminal of its own:
  go run ./testbed hss   --config %[1]s/hss.yaml
  go run ./cmd/scscf     --config %[1]s/scscf.yaml
  go run ./cmd/icscf     --config %[1]s/icscf.yaml
  go run ./cmd/pcscf     --config %[1]s/pcscf.yaml
Then a phone, with a SIM of %[1]s/subscribers.yaml:
  go run ./testbed ue register --pcscf %[2]s --domain %[3]s --impi IMPI --impu IMPU --k K --opc OPC
`, dir, c.PCSCF, c.Domain)
	return nil
}

// drawTime is how long the ladder may lag behind what it draws.
const drawTime = 500 * time.Millisecond

// errNotAll says that the report tells what went wrong.
var errNotAll = errors.New("the demonstration did not succeed")

// demo runs the demonstration; without --once it stays up until ctx ends.
func (c *Cmd) demo(ctx context.Context, stdout, stderr io.Writer) error {
	show := stdout
	if c.JSON {
		show = stderr
	}
	log, closer, err := node.NewLog(node.LogConfig{Level: c.LogLevel}, "lab", stderr)
	if err != nil {
		return err
	}
	defer closer.Close()
	stream := &trace.Stream{}
	d := NewDemo(DemoConfig{Domain: c.Domain, State: c.State, Log: log, Stream: stream, Transport: c.transport(), Clear: c.IPsec == "none", Profile: c.Profile})
	draw := c.startLadder(stream, show)
	began := time.Now()
	err = d.Run(ctx)
	stay := err == nil && !c.Once && !c.JSON && ctx.Err() == nil
	took := time.Since(began)
	if stay {
		err = c.stay(ctx, d, stream, show, log, took)
	}
	draw() // the end of everything is not part of it
	d.Close()
	if c.JSON {
		enc := json.NewEncoder(stdout)
		if encErr := enc.Encode(d.Report); encErr != nil {
			return fmt.Errorf("writing the report: %w", encErr)
		}
	} else if !stay {
		c.summary(show, d, took)
	}
	if !d.Report.OK {
		return errNotAll
	}
	return err
}

func (c *Cmd) transport() sip.Proto {
	if c.TCP {
		return sip.TCP
	}
	return sip.UDP
}

// startLadder draws what happens until the returned function is called.
func (c *Cmd) startLadder(stream *trace.Stream, out io.Writer) func() {
	if c.NoLadder {
		return func() {}
	}
	columns, _ := strconv.Atoi(os.Getenv("COLUMNS"))
	l := ladder.New(out, ladder.Options{
		Decisions: c.Decisions, Width: columns, Color: isTerminal(out),
		Nodes: []ladder.Node{
			{Name: phonePrefix + "alice", Title: "alice"}, {Name: NameP, Title: "P-CSCF"}, {Name: NameI, Title: "I-CSCF", DiameterHost: "icscf." + c.Domain},
			{Name: NameS, Title: "S-CSCF", DiameterHost: "scscf." + c.Domain}, {Name: NameHSS, Title: "HSS", DiameterHost: "hss." + c.Domain},
			{Name: serverPrefix + "proxy", Title: "app server"}, {Name: phonePrefix + "bob", Title: "bob"},
		},
	})
	sub := stream.Subscribe(traceBuffer)
	var wg sync.WaitGroup
	wg.Go(func() {
		// A terminal that is gone is no fault of the demonstration.
		_ = ladder.Merge(context.Background(), sub.C(), l.Write)
		_ = l.Close()
	})
	return func() {
		sub.Close()
		wg.Wait()
	}
}

// isTerminal reports whether w is a terminal, by what it is on Unix.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// summary says how the demonstration went.
func (c *Cmd) summary(out io.Writer, d *Demo, took time.Duration) {
	fmt.Fprintln(out)
	for _, s := range d.Report.Steps {
		mark := "✓"
		if !s.OK {
			mark = "✗"
		}
		fmt.Fprintf(out, "  %s %8.1f ms  %s\n", mark, s.MS, s.Name)
		if s.Error != "" {
			fmt.Fprintf(out, "      %s\n", s.Error)
		}
	}
	r := d.Report
	if r.IPsec.Backend != "none" {
		fmt.Fprintf(out, "\nIPsec in %s space (double arrows): %d SA sets, %d messages protected, %d of registered phones in clear. The ESP goes over UDP to %v.\n",
			r.IPsec.Backend, r.IPsec.SASets, r.IPsec.ProtectedMessages, r.IPsec.ClearMessagesAfterRegistration, d.Core.P.ESPUDP())
	}
	fmt.Fprintf(out, "\n%d phones registered, %d calls completed in %v. SIP messages: %d on Gm, %d on Mw, %d on ISC. Cx: %d UAR, %d MAR, %d SAR, %d LIR.\n",
		r.PhonesRegistered, r.CallsCompleted, took.Round(time.Millisecond), r.SIP.Gm, r.SIP.Mw, r.SIP.ISC, r.Cx["UAR"], r.Cx["MAR"], r.Cx["SAR"], r.Cx["LIR"])
}

// stay keeps the core up, with alice and bob registered, and says what one can do.
func (c *Cmd) stay(ctx context.Context, d *Demo, stream *trace.Stream, out io.Writer, log *zap.Logger, took time.Duration) error {
	for _, p := range []*ue.Phone{d.Alice, d.Bob} {
		if _, err := p.Register(ctx); err != nil {
			return err
		}
	}
	time.Sleep(drawTime) // so that what follows stands below what was drawn
	c.summary(out, d, took)
	admin := &node.Admin{Ready: func() error { return nil }, Metrics: prometheus.NewRegistry(), Trace: stream}
	ln, err := admin.Listen(net.JoinHostPort(Loopback.String(), "0"))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, `
The core stays up; alice and bob are registered again and answer calls. What next?
  See it again from elsewhere:  go run ./testbed ladder --from http://%[1]v
  Call bob with alice's SIM:    the last command of "A phone alone" in the README, with --pcscf %[2]v --esp-udp %[3]v
  See it in Wireshark:          capture on loopback, "Decode As…" UDP port %[4]d as UDPENCAP
  Run the services separately:  go run ./testbed lab --write-config lab/
  End:                          Ctrl-C
`, ln.Addr(), d.Core.P.Gm(), d.Core.P.ESPUDP(), d.Core.P.ESPUDP().Port())
	log.Info("the lab stays up", zap.Stringer("http", ln.Addr()))
	return admin.Serve(ctx, ln)
}
