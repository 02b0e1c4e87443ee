package attack

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/lab"
)

// FloodConfig says how a core is flooded.
type FloodConfig struct {
	// For is how long each flood lasts; Messages ends it earlier, 0 is no end.
	For      time.Duration
	Messages int64
	// Rate is how many messages a second are sent, by default 2000.
	Rate int
	// Conns is how many connections those floods open that hold some. Default 2000.
	Conns int
	// Only names the floods to run; none is all.
	Only []string
	// Memory is how many octets a service may have at most (RSS); 0 for any.
	Memory uint64
}

// FloodReport is what came of one flood.
type FloodReport struct {
	Name string
	Sent int64 // messages, or connections
	// Honest checks that ran during the flood, and how many of them failed.
	Honest, Failed int
	FirstFailure   string
	// Recovery is how long after the flood an honest check took to succeed, its own
	// time included.
	Recovery time.Duration

	// After is when honest phones have been served after it. Peak has the highest of each
	// gauge, which need not have been at one time.
	Before, Peak, After map[string]Gauges
}

// flood is a kind of attack. Bound says which limit keeps what it would fill.
type flood struct {
	name, what, bound string
	esp               bool // it is for a P-CSCF that has IPsec
	run               func(f *flooding) error
}

// flooding is a flood under way.
type flooding struct {
	name   string
	ctx    context.Context
	cfg    FloodConfig
	target *Target
	via    netip.AddrPort // what requests name as their source
	from   netip.Addr     // from where datagrams come
	mode   ipsec.Mode     // what its REGISTERs offer
	sent   atomic.Int64
	pace   *time.Ticker
	budget int
}

// batch is how many messages leave between two looks at the clock.
const batch = 20

// next waits until another message may be sent; false ends the flood.
func (f *flooding) next() bool {
	if f.cfg.Messages > 0 && f.sent.Load() >= f.cfg.Messages {
		return false
	}
	if f.budget--; f.budget <= 0 {
		select {
		case <-f.pace.C:
		case <-f.ctx.Done():
			return false
		}
		f.budget = batch
	}
	f.sent.Add(1)
	return f.ctx.Err() == nil
}

// hold waits for the end of the flood, with the connections open that it has made.
func (f *flooding) hold() {
	if f.cfg.Messages == 0 {
		<-f.ctx.Done()
	}
}

// Floods runs the floods one after another. It fails when honest phones are not
// served after one of them, and when a service has taken more memory than it may; how
// they were served during it is in the reports.
func Floods(ctx context.Context, t *Target, cfg FloodConfig, each func(FloodReport)) error {
	if cfg.Rate <= 0 {
		cfg.Rate = 2000
	}
	if cfg.Conns <= 0 {
		cfg.Conns = 2000
	}
	for _, name := range cfg.Only {
		i := slices.IndexFunc(floods, func(f flood) bool { return f.name == name })
		if i < 0 {
			return fmt.Errorf("there is no flood %q", name)
		}
		if floods[i].esp && !t.ESP.IsValid() {
			return fmt.Errorf("the flood %q is for a P-CSCF that has IPsec, which this one has not", name)
		}
	}
	for _, f := range floods {
		if len(cfg.Only) > 0 && !slices.Contains(cfg.Only, f.name) || f.esp && !t.ESP.IsValid() {
			continue
		}
		rep, err := runFlood(ctx, t, cfg, f)
		if err != nil {
			return fmt.Errorf("flood %s: %w", f.name, err)
		}
		each(rep)
		if err := rep.bounded(cfg.Memory); err != nil {
			return fmt.Errorf("flood %s: %w", f.name, err)
		}
	}
	return nil
}

// bounded fails where a service has had more memory than it may, or does not tell.
func (r *FloodReport) bounded(most uint64) error {
	for _, name := range slices.Sorted(maps.Keys(r.Peak)) {
		switch rss := r.Peak[name].RSS; {
		case most == 0:
		case rss == 0:
			return fmt.Errorf("the metrics of %s have no process_resident_memory_bytes, so its memory cannot be judged", name)
		case rss > most:
			return fmt.Errorf("the memory of %s has grown from %d to %d MiB, and %d are allowed: run this flood alone, and read /debug/pprof/heap while it lasts", name, r.Before[name].RSS>>20, rss>>20, most>>20)
		}
	}
	return nil
}

// recoveryTime bounds how long honest phones may have to try after a flood.
const recoveryTime = 60 * time.Second

func runFlood(ctx context.Context, t *Target, cfg FloodConfig, f flood) (FloodReport, error) {
	rep := FloodReport{Name: f.name}
	if err := t.Check(ctx); err != nil {
		return rep, fmt.Errorf("before it: %w", err)
	}
	var err error
	if rep.Before, err = t.gauges(ctx); err != nil {
		return rep, err
	}
	rep.Peak = maps.Clone(rep.Before)
	during, stop := context.WithTimeout(ctx, cfg.For)
	defer stop()
	t.floods++
	fl := &flooding{name: fmt.Sprintf("%s-%d", f.name, t.floods), ctx: during, cfg: cfg, target: t, from: lab.Loopback, via: netip.AddrPortFrom(lab.Loopback, 9), pace: time.NewTicker(time.Second * batch / time.Duration(cfg.Rate))}
	defer fl.pace.Stop()
	var failed error
	var work sync.WaitGroup
	work.Go(func() { failed = f.run(fl); stop() })
	work.Go(func() { rep.watch(during, t) })
	for during.Err() == nil {
		err := t.Check(ctx)
		if rep.Honest++; err != nil {
			if rep.Failed++; rep.FirstFailure == "" {
				rep.FirstFailure = err.Error()
			}
		}
	}
	work.Wait()
	rep.look(ctx, t) // what a short flood leaves lies between two looks
	rep.Sent = fl.sent.Load()
	if failed != nil {
		return rep, failed
	}
	over := time.Now()
	for {
		err := t.Check(ctx)
		if rep.Recovery = time.Since(over); err == nil {
			rep.After, err = t.gauges(ctx)
			return rep, err
		}
		if rep.Recovery > recoveryTime || ctx.Err() != nil {
			return rep, fmt.Errorf("%v after it: %w", rep.Recovery.Round(time.Second), err)
		}
	}
}

// watch keeps the highest gauges until ctx ends.
func (r *FloodReport) watch(ctx context.Context, t *Target) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		r.look(context.WithoutCancel(ctx), t)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look takes the gauges of now into the highest.
func (r *FloodReport) look(ctx context.Context, t *Target) {
	if now, err := t.gauges(ctx); err == nil {
		for name, g := range now {
			r.Peak[name] = r.Peak[name].max(g)
		}
	}
}

// FloodTable is the head of the table that Row writes rows of.
const FloodTable = "| flood | what is sent | sent | bounded by | honest calls during it | recovery | RSS of P, I, S before → peak, MiB | transactions of P, open + lingering, and SA sets, peak |\n| --- | --- | --- | --- | --- | --- | --- | --- |"

// Row writes the report as a row of a table in Markdown.
func (r FloodReport) Row() string {
	i := slices.IndexFunc(floods, func(f flood) bool { return f.name == r.Name })
	var rss []string
	for _, name := range []string{"pcscf", "icscf", "scscf"} {
		rss = append(rss, fmt.Sprintf("%d → %d", r.Before[name].RSS>>20, r.Peak[name].RSS>>20))
	}
	p := r.Peak["pcscf"]
	return fmt.Sprintf("| %s | %s | %d | %s | %d of %d | %.1f s | %s | %d + %d, %d |", r.Name, floods[i].what, r.Sent, floods[i].bound,
		r.Honest-r.Failed, r.Honest, r.Recovery.Seconds(), strings.Join(rss, ", "), p.Open, p.Lingering, p.Sets)
}
