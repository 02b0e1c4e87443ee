package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// SoakCmd is `testbed soak`, in kong's terms.
type SoakCmd struct {
	Cmd    `embed:""`
	For    time.Duration `default:"45m" help:"How long the load lasts; the faults come one after the other, evenly over it."`
	Every  time.Duration `default:"5s" help:"How often memory, goroutines and what is held are sampled."`
	Warm   time.Duration `default:"3m" help:"How long a service that has started may grow, at most a third of its life."`
	Settle time.Duration `default:"5m" help:"How long what is held for nobody any more may stay in the end."`
	Plot   string        `placeholder:"FILE" help:"Draw the samples there (SVG)."`
}

// ErrUnexplained is a soak after which something is not explained.
var ErrUnexplained = errors.New("the soak has failed")

// Run soaks and prints what came of it.
func (c *SoakCmd) Run(ctx context.Context, out io.Writer) error {
	if c.List {
		return c.Cmd.Run(ctx, out)
	}
	faults, err := byName(c.Fault)
	if err != nil {
		return &FlagError{err}
	}
	if c.Every < 100*time.Millisecond || c.For < time.Second || c.Warm < 0 || c.Settle < 0 {
		return &FlagError{errors.New("--every must be 100ms or more, --for a second or more, --warm and --settle not negative")}
	}
	if c.IPsec != ipsecNone {
		return &FlagError{errors.New("--ipsec: a soak counts the phones' requests, which those behind IPsec do not do")}
	}
	cfg, clean, err := c.config()
	if err != nil {
		return err
	}
	defer clean()
	r, err := Soak(ctx, SoakConfig{Config: cfg, For: c.For, Every: c.Every, Warm: c.Warm, Settle: c.Settle}, faults)
	if r == nil {
		return err
	}
	err = errors.Join(err, c.tell(r, out))
	if c.Plot != "" {
		if plotErr := os.WriteFile(c.Plot, r.Plot(), 0o644); plotErr != nil {
			err = errors.Join(err, fmt.Errorf("drawing the plot: %w", plotErr))
		}
	}
	if err == nil && len(r.Wrong) > 0 {
		err = fmt.Errorf("%w: %s", ErrUnexplained, strings.Join(r.Wrong, "; "))
	}
	return err
}

// Table is the report as Markdown.
func (r *SoakReport) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%.0f s of load", r.Seconds)
	if r.Capacity > 0 {
		fmt.Fprintf(&b, "; a closed loop had reached %.0f operations a second", r.Capacity)
	}
	b.WriteString(".\n\n")
	b.WriteString(r.Report.Table())
	b.WriteString("\n| counted by two | the one | the other | must lie between | stretches of time |\n| --- | --- | --- | --- | --- |\n")
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f, %.0f | %d |\n", c.What, c.Phones, c.Service, c.Low, c.High, c.Spans)
	}
	b.WriteString("\n| fault | attempts refused | of them subscriptions lost | without an answer | requests that the services refused, each once |\n| --- | --- | --- | --- | --- |\n")
	for i, o := range r.Outcomes {
		b.WriteString(r.refusedLine(o.Fault, &o.Losses, i))
	}
	b.WriteString(r.refusedLine("between the faults", &r.Outside, len(r.Outcomes)))
	b.WriteString("\n| | | from, to | median | growth | allowed | |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, l := range r.Levels {
		flat := "flat"
		if !l.Flat {
			flat = "**not flat**"
		}
		if l.Samples < fewest {
			flat = "too few samples"
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f s, %.0f s | %.1f | %+.1f | %.1f | %s |\n", l.Service, l.Of, l.From, l.To, l.Median, l.Growth, l.Bound, flat)
	}
	b.WriteString("\nWhen all had de-registered: ")
	if len(r.Left) == 0 {
		b.WriteString("nothing is held.\n")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Left)) {
		if r.Left[name] == untold {
			fmt.Fprintf(&b, "nobody tells %s. ", name)
			continue
		}
		fmt.Fprintf(&b, "%s is %d. ", name, r.Left[name])
	}
	for _, w := range r.Wrong {
		fmt.Fprintf(&b, "\n- WRONG: %s", w)
	}
	for _, e := range r.Examples {
		fmt.Fprintf(&b, "\n- without a fault: %s", e)
	}
	b.WriteString("\n")
	return b.String()
}

// refusedLine compares attempts and refusals of one time.
func (r *SoakReport) refusedLine(name string, l *Losses, i int) string {
	if i >= len(r.Refusals) {
		return ""
	}
	answered, silent := l.answered()
	return fmt.Sprintf("| %s | %d | %d | %d | %.0f |\n", name, answered, l.Subscriptions, silent, r.Refusals[i])
}
