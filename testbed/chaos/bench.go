package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/testbed/load"
)

// Config is of a run.
type Config struct {
	Bin    string // the directory with pcscf, icscf, scscf and testbed
	Dir    string // for configurations, logs and state; must exist
	Phones int
	Rate   float64 // operations a second; 0 is half of what a closed loop finds possible
	// Hold is how long a fault stays, Quiet how long nothing may have failed before its
	// window ends, Patience how long an attempt may take at all.
	Hold, Quiet, Patience time.Duration
	// IPsec puts the phones behind it: ESP in user space, at both ends.
	IPsec bool
	// Leave has all phones de-register in the end.
	Leave bool
	// server puts an application server into the way of MESSAGEs.
	server bool
	Say    func(format string, args ...any) // nil is silence
}

// bench is a core under load.
type bench struct {
	cfg     Config
	core    *core
	gm      load.Impairment
	journal journal
	ledger  ledger
	traffic load.Traffic // of the phones, those that look for the capacity too
	held    held
	capable float64 // what a closed loop reaches, 0 if nobody has looked
	hurt    uint64  // datagrams that were damaged before the damage of now
	files   uint64  // the limit on descriptors, before it was lowered

	end  chan struct{} // closed: the load ends
	done chan struct{} // closed: it has ended
	out  *load.Report
	err  error
}

// mix has what registered phones do, and phones that are not registered register.
const mix = "register=2,reregister=3,call=4,message=3,subscribe=1,cancelled=0.5,rejected=0.5,unanswered=0.5"

// hold is how long calls last, so that some are established at any time.
const hold = 2 * time.Second

func (b *bench) load() (load.Config, error) {
	k, errK := aka.ParseSecret(simK)
	opc, errOPc := aka.ParseSecret(simOPc)
	m, errMix := load.ParseMix(mix)
	return load.Config{
		PCSCF: []netip.AddrPort{b.core.gm}, ESP: b.core.esp, Domain: b.core.domain, Phones: b.cfg.Phones, First: firstIMSI, K: k, OPc: opc, Registered: b.cfg.Phones,
		RegisterBusy: 4, Mix: m, Think: 20 * time.Millisecond, Hold: hold, Patience: b.cfg.Patience, Recover: true, Leave: b.cfg.Leave, Traffic: &b.traffic,
	}, errors.Join(errK, errOPc, errMix)
}

// open starts a core and the load, and returns when that has begun. close must follow.
func open(ctx context.Context, cfg Config) (*bench, error) {
	if cfg.Say == nil {
		cfg.Say = func(string, ...any) {}
	}
	c, err := startCore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	b := &bench{cfg: cfg, core: c, end: make(chan struct{}), done: make(chan struct{})}
	l, err := b.load()
	if err == nil && b.cfg.Rate == 0 {
		err = b.capacity(ctx, l)
	}
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	l.Rate = load.Rate{From: b.cfg.Rate, To: b.cfg.Rate}
	l.End, l.Gm, l.Ended = b.end, &b.gm, b.journal.note
	begun := make(chan struct{}, 1)
	l.Progress = func(s load.Second) {
		if s.Phase == "load" {
			select {
			case begun <- struct{}{}:
			default:
			}
		}
	}
	go func() {
		defer close(b.done)
		b.out, b.err = load.Run(ctx, l)
	}()
	select {
	case <-begun:
		return b, nil
	case <-b.done:
		return nil, errors.Join(fmt.Errorf("the load has ended before it began: %w", b.err), c.stop())
	}
}

// capacity sets the rate to half of what is possible: what a closed loop with enough
// busy phones reaches, calls held no time. All phones are registered, so that it leaves out
// registrations, and so does the load: what is offered is so much more.
func (b *bench) capacity(ctx context.Context, l load.Config) error {
	var all float64
	for _, w := range l.Mix {
		all += w
	}
	registers := l.Mix[load.Register]
	l.Mix[load.Register] = 0
	l.Hold, l.Busy, l.Duration, l.Leave = 0, 40, 10*time.Second, true
	r, err := load.Run(ctx, l)
	if err != nil {
		return err
	}
	if r.Load == nil || r.Load.Rate < 1 {
		return errors.New("the core's capacity could not be found: nothing succeeds")
	}
	b.capable = r.Load.Rate
	b.cfg.Rate = math.Round(r.Load.Rate/2*all/(all-registers)*10) / 10
	b.cfg.Say("a closed loop reaches %.0f operations a second; %g are offered, registrations that nobody needs among them", r.Load.Rate, b.cfg.Rate)
	return nil
}

// close ends the load and the core.
func (b *bench) close() error {
	b.silence()
	return errors.Join(b.err, b.core.ended(), b.core.stop())
}

// silence ends the load, and returns when nothing of it is under way.
func (b *bench) silence() {
	select {
	case <-b.end:
	default:
		close(b.end)
	}
	<-b.done
	b.letGo()
}

// Outcome is what a fault came to.
type Outcome struct {
	Fault string `json:"fault"`
	What  string `json:"what"`
	// Held is how long the fault lasted, until the core said that it was ready again.
	Held float64 `json:"held_s"`
	Losses
	// Phones were registered when the fault came. PhonesLost of them, at most, the S-CSCF
	// or the P-CSCF did not know in the fault's window, and PhonesBack after the fault all
	// had come back.
	Phones     int     `json:"phones"`
	PhonesLost int     `json:"phones_lost"`
	PhonesBack float64 `json:"phones_back_s"`
	Recovered  bool    `json:"recovered"`
	// Damaged are the datagrams on Gm that were lost, doubled or late.
	Damaged uint64 `json:"damaged,omitempty"`
	// Named are the signs of the cause that were seen, Unnamed those that were not.
	Named   []string `json:"named,omitempty"`
	Unnamed []string `json:"unnamed,omitempty"`
	// Warned are the services' log lines from level warn on, by service and message, with N
	// for every number.
	Warned map[string]int `json:"warned,omitempty"`
	// Metrics are the services' counters of failures that have grown.
	Metrics map[string]float64 `json:"metrics,omitempty"`

	own     bool   // see Own
	excused uint64 // of failed, as in Report
	window  window
	broken  load.TrafficCount // what phones had counted when the fault had come
}

// registered are the phones that both S-CSCF and P-CSCF know, asked by core.ask or
// core.scrape.
func (b *bench) registered(ctx context.Context, ask func(context.Context, string) (series, error)) (n int, err error) {
	n = math.MaxInt
	for _, g := range []gauge{{scscf, "gocscf_scscf_registered_sets", ""}, {pcscf, "gocscf_pcscf_registered_contacts", ""}} {
		m, err := ask(ctx, g.service)
		if err != nil {
			return 0, err
		}
		if !m.has(g.metric, g.label) {
			return 0, fmt.Errorf("looking for registered phones: nobody tells %s", g)
		}
		n = min(n, int(m.sum(g.metric, g.label)))
	}
	return n, nil
}

// lookEvery is between looks at who is registered.
const lookEvery = 200 * time.Millisecond

// watchPhones looks for phones that are missing, until stop is called, which gives the
// most that were. Who is away or frozen does not tell meanwhile.
func (b *bench) watchPhones(ctx context.Context, registered int) (stop func() int) {
	ctx, cancel := context.WithCancel(ctx)
	most := make(chan int)
	go func() {
		lost := 0
		for ctx.Err() == nil {
			if n, err := b.registered(ctx, b.core.scrape); err == nil {
				lost = max(lost, registered-n)
			}
			pause(ctx, lookEvery)
		}
		most <- lost
	}()
	return func() int { cancel(); return <-most }
}

// strike lets a fault come and go and waits until all is well. The losses are settled
// when the load has ended.
func (b *bench) strike(ctx context.Context, f Fault) (*Outcome, error) {
	o := &Outcome{Fault: f.Name, What: f.What, own: f.own, Warned: map[string]int{}, Metrics: map[string]float64{}}
	o.window.dialogs = f.Forgets.Calls
	var err error
	if o.Phones, err = b.registered(ctx, b.core.ask); err != nil {
		return nil, fmt.Errorf("before %s: %w", f.Name, err)
	}
	seen, err := b.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("before %s: %w", f.Name, err)
	}
	hurt := b.damages()
	o.window.began = time.Now()
	if err := f.come(ctx, b); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	o.broken = b.traffic.Count()
	missing := b.watchPhones(ctx, o.Phones)
	pause(ctx, max(b.cfg.Hold, f.least))
	mended, cancel := context.WithTimeout(ctx, 2*time.Minute)
	err = f.gone(mended, b)
	cancel()
	o.PhonesLost, o.Damaged = missing(), b.damages()-hurt
	if err != nil {
		return nil, fmt.Errorf("%s: the core does not come back: %w", f.Name, err)
	}
	o.window.mended = time.Now()
	o.Held = round(o.window.mended.Sub(o.window.began))
	b.wellAgain(ctx, o)
	o.window.ended = time.Now()
	if err := b.told(ctx, f, seen, o); err != nil {
		return nil, fmt.Errorf("after %s: %w", f.Name, errors.Join(err, b.core.ended()))
	}
	b.cfg.Say("%-17s %d of %d phones lost, back after %.1f s; recovered: %v", f.Name, o.PhonesLost, o.Phones, o.PhonesBack, o.Recovered)
	return o, b.core.ended()
}

// maxWindow is how long a core may need at all.
const maxWindow = 150 * time.Second

// wellAgain waits until all phones are back and nothing has failed for a while.
func (b *bench) wellAgain(ctx context.Context, o *Outcome) {
	away := true // until both have said otherwise
	for ctx.Err() == nil {
		now := time.Now()
		if n, err := b.registered(ctx, b.core.scrape); err == nil {
			lost := max(0, o.Phones-n)
			o.PhonesLost = max(o.PhonesLost, lost)
			if away = lost > 0; away {
				o.PhonesBack = round(time.Since(o.window.mended))
			}
		}
		since := o.window.mended
		if l := b.journal.lastFailed(); l.After(since) {
			since = l
		}
		o.window.calm = since
		if !away && now.Sub(since) > b.cfg.Quiet {
			o.Recovered = true
			return
		}
		if now.Sub(o.window.mended) > maxWindow {
			return
		}
		pause(ctx, lookEvery)
	}
}

// sight is what logs and metrics held at a time.
type sight struct {
	logs    map[string]int64
	lives   map[string]int
	metrics map[string]series
}

func (b *bench) look(ctx context.Context) (s sight, err error) {
	s = sight{logs: map[string]int64{}, lives: map[string]int{}, metrics: map[string]series{}}
	for _, name := range services {
		if i, err := os.Stat(b.core.log(name)); err == nil {
			s.logs[name] = i.Size()
		}
		_, s.lives[name] = b.core.of(name)
		if s.metrics[name], err = b.core.ask(ctx, name); err != nil {
			return s, err
		}
	}
	return s, nil
}

// failureMetrics begin the names of what is of interest beside a fault's signs.
var failureMetrics = []string{"gocscf_sip_dropped_total", "gocscf_sip_rejected_total", "gocscf_pcscf_refused_total", "gocscf_icscf_refused_total", "gocscf_scscf_refused_total", "gocscf_overload_refused_total", "gocscf_cx_refused_total", "gocscf_log_", "gocscf_hss_state_failures_total"}

// ofFailures reports whether a series is one of those.
func ofFailures(series string) bool {
	return slices.ContainsFunc(failureMetrics, func(p string) bool { return strings.HasPrefix(series, p) })
}

// digits are users, addresses and times in a log line.
var digits = regexp.MustCompile("[0-9]+")

// told gathers what the services have said since.
func (b *bench) told(ctx context.Context, f Fault, before sight, o *Outcome) error {
	var texts = map[string]string{}
	now, err := b.look(ctx)
	if err != nil {
		return err
	}
	grown := func(name, metric, label string) float64 {
		was := 0.0
		if before.lives[name] == now.lives[name] {
			was = before.metrics[name].sum(metric, label)
		}
		return now.metrics[name].sum(metric, label) - was
	}
	for _, name := range services {
		texts[name] = readFrom(b.core.log(name), before.logs[name])
		for line := range strings.Lines(texts[name]) {
			var l struct{ Level, Msg string }
			if json.Unmarshal([]byte(line), &l) == nil && (l.Level == "warn" || l.Level == "error") && len(o.Warned) < 100 {
				o.Warned[name+": "+digits.ReplaceAllString(l.Msg, "N")]++
			}
		}
		for full := range now.metrics[name] {
			base, labels, _ := strings.Cut(full, "{")
			ofSign := func(s Sign) bool { return s.Service == name && s.Metric == base }
			if ofFailures(base) || slices.ContainsFunc(f.Signs, ofSign) {
				if n := grown(name, base, labels); n > 0 {
					o.Metrics[name+": "+full] = n
				}
			}
		}
	}
	for _, s := range f.Signs {
		if s.Log != "" && strings.Contains(texts[s.Service], s.Log) || s.shown(o.Metrics) > 0 {
			o.Named = append(o.Named, s.String())
		} else {
			o.Unnamed = append(o.Unnamed, s.String())
		}
	}
	return nil
}

// maxLog bounds what is read of a log.
const maxLog = 32 << 20

func readFrom(path string, offset int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var out bytes.Buffer
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return ""
	}
	_, _ = io.Copy(&out, io.LimitReader(f, maxLog))
	return out.String()
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func round(d time.Duration) float64 {
	return float64(d.Round(100*time.Millisecond)) / float64(time.Second)
}
