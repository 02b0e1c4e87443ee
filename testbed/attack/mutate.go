package attack

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MutateConfig says how a core is tried with bent messages.
type MutateConfig struct {
	Seed uint64
	// Messages and For end the run, whichever comes first; 0 is no end.
	Messages int
	For      time.Duration
	// Each is after how many bent messages an honest call must succeed. Default 1000.
	Each int
	// Crooks is how many bend at once. Default 6.
	Crooks int
	// CxEach has one Diameter frame in so many bent. Default 20.
	CxEach int
	// Settle is how long the core has at the end to come back to what it held before.
	// Transactions towards phones end after 128 s (TS 24.229 7.7), a call that rings
	// when Timer C has fired, 181 s, and twice that. 0 does not wait.
	Settle time.Duration
	// Out gets a line for each check; nil is silence.
	Out io.Writer
}

// MutateReport is what came of it.
type MutateReport struct {
	Messages   int64 // bent, on Gm, Mw and ISC
	Diameter   int64 // bent frames of Cx
	Asked      int64 // good messages between them
	Answered   int64 // of those, by a final response
	Registered int64 // registrations of crooks that succeeded
	Calls      int64 // calls of crooks that were answered
	Checks     int   // of honest phones, all of which succeeded
	Took       time.Duration

	Before, Peak, After map[string]Gauges // by service; After only with Settle
	// LiveBefore and LiveAfter are the octets of the heap that a collection leaves, by
	// service; only with Settle.
	LiveBefore, LiveAfter map[string]uint64
}

// mutation is a run.
type mutation struct {
	cfg    MutateConfig
	target *Target
	gate   sync.RWMutex // closed while honest phones are checked

	sent, good, replied, registered, answered atomic.Int64
}

// enter waits until bending is allowed; leave must follow.
func (m *mutation) enter(ctx context.Context) bool {
	m.gate.RLock()
	if ctx.Err() != nil {
		m.gate.RUnlock()
		return false
	}
	return true
}

func (m *mutation) leave() { m.gate.RUnlock() }

func (m *mutation) asked(replied bool) {
	m.good.Add(1)
	if replied {
		m.replied.Add(1)
	}
}

// peer has the broken node at work.
func (m *mutation) peer(known string) {
	if p := m.target.Peer; p != nil {
		p.Learn(known)
		p.Harass(4)
	}
}

// bent is how many messages have been bent.
func (m *mutation) bent() int64 {
	n := m.sent.Load()
	if p := m.target.Peer; p != nil {
		n += p.Sent()
	}
	return n
}

// Mutate bends messages of registrations and calls until the run ends, and fails when
// honest phones are not served, or the core does not come back to what it held.
func Mutate(ctx context.Context, t *Target, cfg MutateConfig) (*MutateReport, error) {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&cfg.Each, 1000)
	def(&cfg.Crooks, 6)
	def(&cfg.CxEach, 20)
	m := &mutation{cfg: cfg, target: t}
	rep := &MutateReport{Peak: map[string]Gauges{}}
	began := time.Now()
	defer func() { rep.Took = time.Since(began) }()
	if err := t.Check(ctx); err != nil {
		return rep, fmt.Errorf("before anything was bent: %w", err)
	}
	var err error
	if rep.Before, err = t.gauges(ctx); err != nil {
		return rep, err
	}
	if cfg.Settle > 0 {
		if rep.LiveBefore, err = t.live(ctx); err != nil {
			return rep, err
		}
	}
	work, stop := context.WithCancel(ctx)
	var crooks sync.WaitGroup
	defer func() { stop(); crooks.Wait() }()
	for i := range min(cfg.Crooks, len(t.Crooks)) {
		c, err := newCrook(m, t.Crooks[i], i)
		if err != nil {
			return rep, err
		}
		crooks.Go(func() { c.run(work) })
	}
	if p := t.Peer; p != nil {
		p.Aim(t.Mw, t.I, t.S)
	}
	for next := int64(cfg.Each); ; next += int64(cfg.Each) {
		if t.Cx != nil {
			t.Cx.Bend(cfg.CxEach)
		}
		over := m.until(ctx, next, began)
		m.gate.Lock()
		err := m.check(ctx, rep)
		m.gate.Unlock()
		if err != nil {
			return rep, err
		}
		if over {
			break
		}
	}
	stop()
	crooks.Wait()
	if cfg.Settle > 0 {
		return rep, m.settle(ctx, rep)
	}
	return rep, nil
}

// until waits for the next check and reports whether it is the last.
func (m *mutation) until(ctx context.Context, n int64, began time.Time) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		sent := m.bent()
		if m.cfg.Messages > 0 && sent >= int64(m.cfg.Messages) || m.cfg.For > 0 && time.Since(began) > m.cfg.For || ctx.Err() != nil {
			return true
		}
		if sent >= n {
			return false
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// check is that of honest phones, with the gauges of this moment.
func (m *mutation) check(ctx context.Context, rep *MutateReport) error {
	t := m.target
	if t.Cx != nil {
		t.Cx.Bend(0)
		rep.Diameter = t.Cx.Bent()
	}
	rep.Messages, rep.Asked, rep.Answered = m.bent(), m.good.Load(), m.replied.Load()
	rep.Registered, rep.Calls = m.registered.Load(), m.answered.Load()
	if err := t.served(ctx); err != nil {
		return fmt.Errorf("after %d bent messages: %w", rep.Messages, err)
	}
	rep.Checks++
	now, err := t.gauges(ctx)
	if err != nil {
		return err
	}
	for name, g := range now {
		rep.Peak[name] = rep.Peak[name].max(g)
		// A transaction takes no goroutine; a connection takes two.
		if limit := rep.Before[name].Goroutines + 40 + 10*m.cfg.Crooks; g.Goroutines > limit {
			return fmt.Errorf("after %d bent messages %s has %d goroutines, want at most %d", rep.Messages, name, g.Goroutines, limit)
		}
	}
	m.say("%8d bent, %6d on Cx, %5.1f%% of good ones answered, %d registrations, %d calls; %s", rep.Messages, rep.Diameter,
		100*float64(rep.Answered)/float64(max(rep.Asked, 1)), rep.Registered, rep.Calls, show(now))
	return nil
}

// mostLost is how often a check may lose its Cx connection.
const mostLost = 5

// served is Check with Cx up all the time. A frame that was bent before may end a
// connection later, when the peer gets to read it: what fails then is that frame's fault,
// and the honest phones try again.
func (t *Target) served(ctx context.Context) error {
	if t.Cx == nil {
		return t.Check(ctx)
	}
	for i := 1; ; i++ {
		ended := t.Cx.Ended()
		if err := t.ready(ctx); err != nil {
			return err
		}
		err := t.Check(ctx)
		if err == nil || i == mostLost || !t.lost(ctx, ended) {
			return err
		}
	}
}

// lost reports whether a Cx connection has ended since, or does so within a second: who
// was refused for that may hear of it earlier.
func (t *Target) lost(ctx context.Context, ended int64) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(time.Second); ; <-tick.C {
		if t.Cx.Ended() != ended {
			return true
		}
		if time.Now().After(late) || ctx.Err() != nil {
			return false
		}
	}
}

// ready waits until Cx is up again: a frame that cannot be framed ends a connection,
// and peers come back after a pause. The functions are asked, too: the answer to their
// capabilities has passed here before they have read it.
func (t *Target) ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(checkTime); ; <-tick.C {
		n := t.Cx.Peers()
		down, err := t.withoutHSS(ctx)
		switch {
		case err != nil:
			return err
		case n >= 2 && down == "":
			return nil
		case ctx.Err() != nil || time.Now().After(late):
			return fmt.Errorf("%d of 2 functions are connected to the HSS %v after bending ended (%s says it is not)", n, checkTime, cmp.Or(down, "none"))
		}
	}
}

// withoutHSS returns the name of a function that is to have a Diameter peer and has none.
func (t *Target) withoutHSS(ctx context.Context) (string, error) {
	for _, s := range t.Services {
		v, err := s.Read(ctx)
		if err != nil {
			return "", fmt.Errorf("reading the metrics of %s: %w", s.Name, err)
		}
		if up, has := v["gocscf_diameter_peers_up"]; has && up < 1 {
			return s.Name, nil
		}
	}
	return "", nil
}

func (m *mutation) say(format string, args ...any) {
	if m.cfg.Out != nil {
		fmt.Fprintf(m.cfg.Out, format+"\n", args...)
	}
}

// show writes gauges in one line.
func show(g map[string]Gauges) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(g)) {
		if i > 0 {
			b.WriteString(", ")
		}
		v := g[name]
		fmt.Fprintf(&b, "%s %d+%d transactions, %d goroutines, heap %d MiB, RSS %d MiB", name, v.Open, v.Lingering, v.Goroutines, v.Heap>>20, v.RSS>>20)
	}
	return b.String()
}
