package chaos

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

// Report is what a run came to. Its JSON is for scripts.
type Report struct {
	Began  time.Time `json:"began"`
	Phones int       `json:"phones"`
	Rate   float64   `json:"rate"`
	Mix    string    `json:"mix"`
	IPsec  string    `json:"ipsec"` // of the phones: none, or user
	// All are the attempts of the whole load, Outside those that no fault touched.
	All      load.Counts `json:"all"`
	Outside  Losses      `json:"outside"`
	Outcomes []*Outcome  `json:"faults"`
	// Missed are attempts that found no room in the journal: which window they belong to
	// is not known.
	Missed int `json:"missed,omitempty"`
	// excused are of those outside that somebody says the reason of.
	excused uint64
}

// Run lets the faults come one after the other.
func Run(ctx context.Context, cfg Config, faults []Fault) (*Report, error) {
	cfg.server = slices.ContainsFunc(faults, func(f Fault) bool { return f.needsAS })
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
	r := &Report{Began: time.Now().UTC().Round(time.Second), Phones: b.cfg.Phones, Rate: b.cfg.Rate, Mix: mix, IPsec: ipsecNone}
	if b.cfg.IPsec {
		r.IPsec = ipsecUser
	}
	return r
}

// settle counts what each fault has cost, when all attempts are over.
func (r *Report) settle(b *bench) {
	b.ledger.settle(b.journal.take(), r.windows())
	for i, o := range r.Outcomes {
		o.Losses = b.ledger.list[i]
	}
	r.Outside, r.Missed = b.ledger.outside, b.journal.missed()
	if b.out != nil && b.out.Load != nil {
		r.All = b.out.Load.Counts
		for _, p := range []*load.Phase{b.out.PreRegistration, b.out.Leave} {
			if p != nil {
				r.All.Attempts += p.Attempts
				r.All.Succeeded += p.Succeeded
				r.All.Failed += p.Failed
			}
		}
	}
}

func (r *Report) windows() []window {
	list := make([]window, len(r.Outcomes))
	for i, o := range r.Outcomes {
		list[i] = o.window
	}
	return list
}
