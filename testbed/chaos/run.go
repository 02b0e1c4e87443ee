package chaos

import (
	"context"
	"errors"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

// Report is what a run came to. Its JSON is for scripts.
type Report struct {
	Began  time.Time `json:"began"`
	Phones int       `json:"phones"`
	Rate   float64   `json:"rate"`
	Mix    string    `json:"mix"`
	// All are the attempts of the whole load, Outside those that no fault touched.
	All      load.Counts `json:"all"`
	Outside  Losses      `json:"outside"`
	Outcomes []*Outcome  `json:"faults"`
}

// Run lets the faults come one after the other.
func Run(ctx context.Context, cfg Config, faults []Fault) (*Report, error) {
	b, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r := b.report()
	pause(ctx, cfg.Quiet) // so that something is seen without a fault
	for _, f := range faults {
		o, strikeErr := b.strike(ctx, f)
		if strikeErr != nil {
			err = strikeErr
			break
		}
		r.Outcomes = append(r.Outcomes, o)
	}
	pause(ctx, cfg.Quiet)
	err = errors.Join(err, b.close())
	r.settle(b)
	return r, err
}

func (b *bench) report() *Report {
	return &Report{Began: time.Now().UTC().Round(time.Second), Phones: b.cfg.Phones, Rate: b.cfg.Rate, Mix: mix}
}

// settle counts what each fault has cost, when all attempts are over.
func (r *Report) settle(b *bench) {
	windows := make([]window, len(r.Outcomes))
	for i, o := range r.Outcomes {
		windows[i] = o.window
	}
	list, outside := settle(b.journal.attempts, windows)
	for i, o := range r.Outcomes {
		o.Losses = list[i]
	}
	r.Outside = outside
	if b.out != nil && b.out.Load != nil {
		r.All = b.out.Load.Counts
		r.All.Attempts += b.out.PreRegistration.Attempts
		r.All.Succeeded += b.out.PreRegistration.Succeeded
		r.All.Failed += b.out.PreRegistration.Failed
	}
}
