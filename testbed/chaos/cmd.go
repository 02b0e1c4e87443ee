package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Cmd is `testbed chaos`, in kong's terms.
type Cmd struct {
	Fault    []string      `placeholder:"NAME,…" help:"Only these faults, in this order; --list names all."`
	List     bool          `help:"Name the faults and exit."`
	Bin      string        `placeholder:"DIR" help:"Where the programs pcscf, icscf, scscf and testbed are; by default beside this one (make build)."`
	Phones   int           `default:"200" help:"How many phones are registered."`
	Rate     float64       `default:"20" help:"Operations a second, by a Poisson process; 0 is half of what a closed loop reaches."`
	Hold     time.Duration `default:"6s" help:"How long a fault stays."`
	Quiet    time.Duration `default:"6s" help:"How long nothing may have failed before the next fault comes."`
	Patience time.Duration `default:"32s" help:"How long an attempt may take at all."`
	IPsec    string        `name:"ipsec" default:"none" enum:"none,user" help:"IPsec of the phones: ${enum}; in user space, at both ends."`
	JSON     string        `name:"json" placeholder:"FILE" help:"Write the report there, - for standard output, where then nothing else is."`
	Keep     string        `placeholder:"DIR" help:"Keep configurations and logs there."`
}

// The values of Cmd.IPsec.
const ipsecNone, ipsecUser = "none", "user"

// ErrLost is a run in which something was lost that no fault explains.
var ErrLost = errors.New("something was lost that should not have been")

// Run lets the faults come and prints what they cost.
func (c *Cmd) Run(ctx context.Context, out io.Writer) error {
	if c.List {
		for _, f := range Faults() {
			fmt.Fprintf(out, "%-17s %s\n", f.Name, f.What)
		}
		return nil
	}
	faults, err := byName(c.Fault)
	if err != nil {
		return &FlagError{err}
	}
	cfg, clean, err := c.config()
	if err != nil {
		return err
	}
	defer clean()
	r, err := Run(ctx, cfg, faults)
	if r == nil {
		return err
	}
	err = errors.Join(err, c.tell(r, out))
	if err == nil {
		if faults := r.Faulty(); len(faults) > 0 {
			err = fmt.Errorf("%w: %s", ErrLost, strings.Join(faults, "; "))
		}
	}
	return err
}

// tell prints a report, and writes its JSON where that is wanted: on out alone, if it
// goes there.
func (c *Cmd) tell(r interface{ Table() string }, out io.Writer) error {
	var err error
	if c.JSON != "-" {
		_, err = io.WriteString(out, r.Table())
	}
	return errors.Join(err, writeJSON(c.JSON, r, out))
}

// FlagError is a flag that cannot be used.
type FlagError struct{ Err error }

func (e *FlagError) Error() string { return e.Err.Error() }

func (e *FlagError) Unwrap() error { return e.Err }

// ExitCode is that of bad flags.
func (e *FlagError) ExitCode() int { return 2 }

// config reads the flags; clean removes what need not be kept.
func (c *Cmd) config() (cfg Config, clean func(), err error) {
	cfg = Config{
		Bin: c.Bin, Dir: c.Keep, Phones: c.Phones, Rate: c.Rate, Hold: c.Hold, Quiet: c.Quiet, Patience: c.Patience,
		IPsec: c.IPsec == ipsecUser,
		Say:   func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	}
	if c.Phones < 4 || c.Rate < 0 || c.Quiet < time.Second || c.Patience < time.Second {
		return cfg, nil, &FlagError{errors.New("--phones must be 4 or more, --rate not negative, --quiet and --patience a second or more")}
	}
	if cfg.Bin == "" {
		self, err := os.Executable()
		if err != nil {
			return cfg, nil, fmt.Errorf("looking for the programs: %w", err)
		}
		cfg.Bin = filepath.Dir(self)
	}
	for _, name := range []string{pcscf, icscf, scscf, "testbed"} {
		if _, err := os.Stat(filepath.Join(cfg.Bin, name)); err != nil {
			return cfg, nil, &FlagError{fmt.Errorf("%s is not in %s: make build puts the programs into bin, and bin/testbed finds them there", name, cfg.Bin)}
		}
	}
	if cfg.Dir != "" {
		if cfg.Dir, err = filepath.Abs(cfg.Dir); err == nil {
			err = os.MkdirAll(cfg.Dir, 0o755)
		}
		return cfg, func() {}, err
	}
	if cfg.Dir, err = os.MkdirTemp("", "gocscf-chaos-"); err != nil {
		return cfg, nil, fmt.Errorf("making a directory for the services: %w", err)
	}
	return cfg, func() { _ = os.RemoveAll(cfg.Dir) }, nil
}

func writeJSON(file string, r any, out io.Writer) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	b = append(b, '\n')
	if file == "-" {
		_, err = out.Write(b)
	} else {
		err = os.WriteFile(file, b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
