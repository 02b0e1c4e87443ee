package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

// SoakConfig is of a long run under load in which faults come one after the other.
type SoakConfig struct {
	Config
	For   time.Duration // how long the load lasts
	Every time.Duration // between samples
	// Warm is how long a service that has started may grow before its level is judged, at
	// most a third of its life.
	Warm time.Duration
	// Settle is how long, after the last phone has de-registered, everything that is held
	// for a registration, a call or a request may need to go. What a transaction or an
	// ended dialog is kept for takes minutes (RFC 3261 table 4, T1 of 2 s on Gm), and so
	// does a challenge that nobody answers: under afterlife that is not judged.
	Settle time.Duration
}

// afterlife is how long answered transactions (64*T1 of 2 s) and ended dialogs are
// kept at most, with the sweep that finds them.
const afterlife = 170 * time.Second

// SoakReport is what a soak came to. Its JSON is for scripts.
type SoakReport struct {
	Report
	Seconds  float64 `json:"seconds"`            // of the load
	Capacity float64 `json:"capacity,omitempty"` // of a closed loop, a second
	// Planned faults came or not.
	Planned int `json:"planned"`
	// Refusals are requests refused by the services and counted by them, each once, while
	// a fault's window was open, in the order of Outcomes, and in the end those outside of
	// all; Overloads are those of the latter that were refused for overload.
	Refusals  []float64 `json:"refusals"`
	Overloads float64   `json:"overloads"`
	// Between is what the services count as failed and refused between the faults.
	Between  map[string]float64 `json:"between,omitempty"`
	Checks   []Check            `json:"checks"`
	Levels   []Level            `json:"levels"`
	Left     map[string]int     `json:"left"` // what is still held in the end, by service and gauge; -1 where nobody tells
	Traffic  load.TrafficCount  `json:"traffic"`
	Examples []string           `json:"examples,omitempty"` // of failures without a fault
	Wrong    []string           `json:"wrong"`
	Samples  []Sample           `json:"-"`
	loaded   time.Time          // when the first sample was taken
	Minutes  []Sample           `json:"series"` // their medians
}

// soaking is a soak under way.
type soaking struct {
	*bench
	cfg    SoakConfig
	rep    *SoakReport
	book   book
	sample *sampler
}

// Soak runs it. The report tells what is wrong; an error is a run that could not go on.
func Soak(ctx context.Context, cfg SoakConfig, faults []Fault) (*SoakReport, error) {
	cfg.Leave, cfg.server = true, slices.ContainsFunc(faults, func(f Fault) bool { return f.needsAS })
	b, err := open(ctx, cfg.Config)
	if err != nil {
		return nil, err
	}
	s := &soaking{bench: b, cfg: cfg, rep: &SoakReport{Report: *b.report(), Capacity: b.capable, Planned: len(faults)}}
	s.book.begin(b.read(ctx))
	s.sample = b.startSampler(ctx, cfg.Every)
	began := time.Now()
	err = s.faults(ctx, began, faults)
	s.rep.Seconds = round(time.Since(began))
	b.silence()
	s.sample.note("the load has ended", time.Now(), time.Time{})
	if err == nil {
		s.settled(ctx)
	}
	s.book.end(b.read(ctx))
	s.sample.stop()
	err = errors.Join(err, b.close())
	s.finish()
	return s.rep, err
}

// faults lets one come at the end of each equal part of the time but the last.
func (s *soaking) faults(ctx context.Context, began time.Time, faults []Fault) error {
	part := s.cfg.For / time.Duration(len(faults)+1)
	for i, f := range faults {
		pause(ctx, max(s.cfg.Quiet, time.Until(began.Add(time.Duration(i+1)*part))))
		if ctx.Err() != nil || time.Since(began)+s.cfg.Hold+s.cfg.Quiet > s.cfg.For {
			break
		}
		s.ledger.settle(s.journal.take(), s.rep.windows())
		before := s.read(ctx)
		s.book.calm(before)
		o, err := s.strike(ctx, f)
		if err != nil {
			return err
		}
		s.rep.Outcomes = append(s.rep.Outcomes, o)
		s.sample.note(f.Name, o.window.began, o.window.ended)
		s.rep.Refusals = append(s.rep.Refusals, refusals(o.Metrics))
		s.book.fault(f, o, s.read(ctx))
	}
	pause(ctx, time.Until(began.Add(s.cfg.For)))
	s.book.calm(s.read(ctx))
	return ctx.Err()
}

// heldNow are the gauges of what exists for a registration, a call or a request
// and goes with it; what heldLong are of outlives that a little.
var heldNow = []gauge{
	{icscf, "gocscf_sip_transactions", `state="open"`}, {scscf, "gocscf_sip_transactions", `state="open"`}, {pcscf, "gocscf_sip_transactions", `state="open"`},
	{icscf, "gocscf_cx_open", ""}, {scscf, "gocscf_cx_open", ""},
	{scscf, "gocscf_scscf_registered_sets", ""}, {scscf, "gocscf_scscf_watchers", ""},
	{pcscf, "gocscf_overload_under_way", `request="register"`}, {pcscf, "gocscf_overload_under_way", `request="invite"`},
}

var heldLong = []gauge{
	{scscf, "gocscf_scscf_challenges", ""}, {scscf, "gocscf_scscf_endings", ""}, {pcscf, "gocscf_pcscf_registered_contacts", ""},
	{icscf, "gocscf_sip_transactions", ""}, {scscf, "gocscf_sip_transactions", ""}, {pcscf, "gocscf_sip_transactions", ""}, {pcscf, "gocscf_pcscf_dialogs", ""},
	{icscf, "gocscf_sip_lingering_octets", ""}, {scscf, "gocscf_sip_lingering_octets", ""}, {pcscf, "gocscf_sip_lingering_octets", ""},
	{icscf, "gocscf_sip_response_octets", ""}, {scscf, "gocscf_sip_response_octets", ""}, {pcscf, "gocscf_sip_response_octets", ""},
}

type gauge struct{ service, metric, label string }

func (g gauge) String() string {
	if g.label == "" {
		return g.service + ": " + g.metric
	}
	return g.service + ": " + g.metric + "{" + g.label + "}"
}

// untold is what is held where nobody tells.
const untold = -1

// settled waits until nothing is held any more.
func (s *soaking) settled(ctx context.Context) {
	list := heldNow
	if s.cfg.Settle >= afterlife {
		list = slices.Concat(list, heldLong)
	}
	end := time.Now().Add(s.cfg.Settle)
	for {
		left := map[string]int{}
		for _, name := range services {
			m, err := s.core.scrape(ctx, name)
			for _, g := range list {
				if g.service != name {
					continue
				}
				n := untold
				if err == nil && m.has(g.metric, g.label) {
					n = int(m.sum(g.metric, g.label))
				}
				if n != 0 {
					left[g.String()] = n
				}
			}
		}
		s.rep.Left = left
		if len(left) == 0 || time.Now().After(end) || ctx.Err() != nil {
			return
		}
		pause(ctx, 500*time.Millisecond)
	}
}

// finish judges.
func (s *soaking) finish() {
	r := s.rep
	r.settle(s.bench)
	r.Examples = s.ledger.samples
	r.Traffic = s.traffic.Count()
	r.Refusals, r.Overloads = append(r.Refusals, s.book.refused), s.book.overloads
	r.Between, r.Checks = s.book.between, s.book.checks()
	r.Samples, r.loaded = s.sample.all(), s.sample.began
	r.Levels = levels(r.Samples, s.cfg.Warm)
	r.Minutes = minutes(r.Samples, time.Minute)
	r.Wrong = slices.Concat(s.book.unread, r.judge())
}

// longEnough is a soak after which each service's level must be known.
const longEnough = 20 * time.Minute

// judge says what is wrong, each in a sentence.
func (r *SoakReport) judge() (list []string) {
	wrong := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	r.excused = min(r.Outside.Failed, r.overloaded()) // of those the services say why
	for _, o := range r.Outcomes {
		if f, err := byName([]string{o.Fault}); err == nil && len(f[0].Signs) == 0 { // it is as calm as outside
			o.excused = min(o.unavailable(), uint64(overloads(o.Metrics)))
		}
	}
	list = append(list, r.Faulty()...)
	if len(r.Outcomes) < r.Planned {
		wrong("only %d of %d faults have come: the time is too short", len(r.Outcomes), r.Planned)
	}
	for _, o := range r.Outcomes {
		f, err := byName([]string{o.Fault})
		if err != nil {
			continue // Faulty has said so
		}
		if attempts, counted, short, over := o.refused(&f[0]); short > 0 || over > 0 {
			wrong("%s: %.0f attempts were refused, and the services count %.0f refusals of them", o.Fault, attempts, counted)
		}
		if _, silent := o.answered(); silent > 0 && !f[0].silent {
			wrong("%s: %d attempts had no answer, and nobody was away for so long: %v", o.Fault, silent, o.Causes)
		}
	}
	if want := len(accounts()) + 2*len(pairs); len(r.Checks) != want {
		wrong("%d numbers were counted twice, want %d", len(r.Checks), want)
	}
	for _, c := range r.Checks {
		if want := r.spans(c.What); c.Spans != want || c.Phones == 0 {
			wrong("%s: %.0f were held against the other hand's count in %d stretches of time, want some in %d", c.What, c.Phones, c.Spans, want)
		}
		for _, b := range c.Bad {
			wrong("%s: %s", c.What, b)
		}
	}
	for _, l := range r.Levels {
		if l.Flat {
			continue
		}
		if l.Samples >= fewest || r.Seconds >= longEnough.Seconds() {
			wrong("%s: %s is not flat: %s", l.Service, l.Of, l.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Left)) {
		if r.Left[name] == untold {
			wrong("when nobody is registered any more: nobody tells %s", name)
			continue
		}
		wrong("when nobody is registered any more: %s is %d", name, r.Left[name])
	}
	return list
}

// spans are the stretches of time over which a number must have been held against
// another: the lives of a service, or the time before each fault and after the last.
func (r *SoakReport) spans(what string) int {
	n := 1 + len(r.Outcomes)
	for _, a := range accounts() {
		if a.what != what || a.calm() {
			continue
		}
		n = 1
		for _, o := range r.Outcomes {
			if f, err := byName([]string{o.Fault}); err == nil && f[0].ends == a.life {
				n++
			}
		}
	}
	return n
}

// overloaded are failures outside of all windows that the services explain: they were
// answered 503, and the services count that they have refused as many for overload.
func (r *SoakReport) overloaded() uint64 {
	return min(r.Outside.unavailable(), uint64(r.Overloads))
}
