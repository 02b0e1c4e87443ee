package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what a Run comes to. Its JSON is for scripts.
type Report struct {
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"` // all of it
	Domain  string    `json:"domain"`
	Phones  int       `json:"phones"`
	Mix     string    `json:"mix"`
	Loop    string    `json:"loop"`       // "open", "closed" or "steps"
	Rate    Rate      `json:"rate"`       // of an open loop, a second
	Busy    int       `json:"busy"`       // of a closed one
	Limit   float64   `json:"limit_ms"`   // of an adequately handled attempt
	Inside  int       `json:"registered"` // phones that were registered in the end

	PreRegistration *Phase `json:"pre_registration,omitempty"`
	Load            *Phase `json:"load,omitempty"`
	Steps           []Step `json:"steps,omitempty"`
	Leave           *Phase `json:"leave,omitempty"` // the de-registration of all, see Config.Leave
	// DOC is the highest load of the steps, a second, with at most 0.1 % of attempts
	// inadequately handled: the design objective capacity. 0 if there is none.
	DOC float64 `json:"doc,omitempty"`

	Memory    []Memory  `json:"memory,omitempty"`
	Generator Generator `json:"generator"`
	Series    []Second  `json:"series"`
}

// Counts are of attempts. Attempts are the sum of Succeeded and Failed, and that is the
// sum of Causes.
type Counts struct {
	Attempts  uint64 `json:"attempts"`
	Succeeded uint64 `json:"succeeded"`
	Failed    uint64 `json:"failed"`
	// Skipped were due, and no phone was free to begin: there are too few.
	Skipped         uint64            `json:"skipped"`
	Retransmissions uint64            `json:"retransmissions"`
	Repeated        uint64            `json:"attempts_with_retransmissions"`
	OverLimit       uint64            `json:"over_limit"`
	Inadequate      uint64            `json:"inadequate"` // failed, retransmitted, or over the limit
	InadequateShare float64           `json:"inadequate_share"`
	Causes          map[string]uint64 `json:"causes,omitempty"`
	Latency         Latency           `json:"latency"` // of those that succeeded
}

// Phase is a part of the load.
type Phase struct {
	Counts
	Seconds float64 `json:"seconds"`
	// Rate is how many succeeded a second while the load lasted: of a number of attempts all
	// that did, else Done. What was begun then and succeeds later is in Succeeded alone.
	Rate      float64           `json:"rate"`
	Scenarios map[string]Counts `json:"scenarios"`
	Refused   *Refused          `json:"refused,omitempty"`
	// CPU is the processor time of the processes that are watched while the load lasted,
	// Done how many operations succeeded then, of whatever phase, and Phones what this
	// process took, in seconds.
	CPU    []CPU   `json:"cpu,omitempty"`
	Done   uint64  `json:"done"`
	Phones float64 `json:"phones_cpu_s"`
}

// Step is a load that was tried.
type Step struct {
	Offered float64 `json:"offered"`
	*Phase
}

// Refused are requests answered 503. Their latency counts from when that very request was
// due: the first of an attempt when that was, a later one when it was sent.
type Refused struct {
	NoRetryAfter uint64  `json:"without_retry_after"`
	Latency      Latency `json:"latency"`
}

// Generator is what the phones themselves took and saw.
type Generator struct {
	CPUSeconds float64 `json:"cpu_seconds"`
	// Dropped datagrams did not fit into the phones' socket: numbers of a run with many
	// are the generator's fault.
	Dropped uint64 `json:"dropped"`
	Stray   uint64 `json:"stray"` // messages that belonged to nothing
}

func newReport(c *Config) *Report {
	r := &Report{
		Began: time.Now().UTC().Round(time.Second), Domain: c.Domain, Phones: c.Phones, Mix: c.Mix.String(), Loop: "closed", Busy: c.Busy, Limit: ms(c.Limit),
	}
	switch {
	case len(c.Steps) > 0:
		r.Loop, r.Busy = "steps", 0
	case c.Rate != (Rate{}):
		r.Loop, r.Busy, r.Rate = "open", 0, c.Rate
	}
	return r
}

// finish adds what is known when the phones are silent.
func (r *Report) finish(e *engine, self time.Duration) {
	r.Seconds = float64(time.Since(e.began).Round(time.Millisecond)) / float64(time.Second)
	r.Inside = 0
	for i := range e.phones {
		if e.phones[i].registered {
			r.Inside++
		}
	}
	r.Generator.CPUSeconds = (ownCPU() - self).Seconds()
	r.Generator.Stray = e.stray
	r.perSubscriber()
}

func (t *tally) counts() Counts {
	c := Counts{
		Attempts: t.attempts, Succeeded: t.ok, Failed: t.failed, Skipped: t.skipped, Retransmissions: t.retrans, Repeated: t.repeated,
		OverLimit: t.late, Inadequate: t.wrong, Causes: t.causes, Latency: t.latency.latency(),
	}
	if t.attempts > 0 {
		c.InadequateShare = float64(t.wrong) / float64(t.attempts)
	}
	return c
}

// phase makes the report of a recorder whose attempts are all over, of a load that lasted
// so long, while which so many operations succeeded.
func (r *recorder) phase(lasted time.Duration, done uint64) *Phase {
	sum := r.sum()
	p := &Phase{Counts: sum.counts(), Seconds: lasted.Seconds(), Done: done, Rate: rateOf(done, lasted), Scenarios: map[string]Counts{}}
	for i := range r.tallies {
		if t := &r.tallies[i]; t.attempts+t.skipped > 0 {
			p.Scenarios[Scenario(i).String()] = t.counts()
		}
	}
	if r.refused.count > 0 {
		p.Refused = &Refused{NoRetryAfter: r.noRetryAfter, Latency: r.refused.latency()}
	}
	return p
}

func rateOf(n uint64, lasted time.Duration) float64 {
	if lasted <= 0 {
		return 0
	}
	return float64(n) / lasted.Seconds()
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	if r.PreRegistration != nil {
		fmt.Fprintf(&b, "pre-registration\n")
		r.PreRegistration.print(&b)
	}
	if r.Load != nil {
		how := fmt.Sprintf("%d busy", r.Busy)
		if r.Loop == "open" {
			if how = fmt.Sprintf("%g/s offered", r.Rate.To); r.Rate.From != r.Rate.To {
				how = fmt.Sprintf("%g/s to %g/s offered", r.Rate.From, r.Rate.To)
			}
		}
		fmt.Fprintf(&b, "load: %s, %s\n", r.Mix, how)
		r.Load.print(&b)
	}
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "step: %s, %g/s offered\n", r.Mix, s.Offered)
		s.print(&b)
	}
	if len(r.Steps) > 0 {
		fmt.Fprintf(&b, "DOC (at most %g %% inadequately handled): %g/s\n", adequate*100, r.DOC)
	}
	for _, m := range r.Memory {
		fmt.Fprintf(&b, "memory of %s: %.1f MiB before, %.1f MiB registered, %.1f MiB in the end", m.Name, m.Before/1024, m.Registered/1024, m.After/1024)
		if m.PerSubscriber != 0 {
			fmt.Fprintf(&b, "; %.2f KiB a subscriber", m.PerSubscriber)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "phones: %d of %d registered in the end; %.2f s of processor time, %d stray messages, %d datagrams dropped at their socket\n",
		r.Inside, r.Phones, r.Generator.CPUSeconds, r.Generator.Stray, r.Generator.Dropped)
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Phase) print(b *strings.Builder) {
	fmt.Fprintf(b, "  %.1f s, %.1f/s succeeded\n", p.Seconds, p.Rate)
	names := slices.Sorted(maps.Keys(p.Scenarios))
	if len(names) != 1 {
		p.Counts.print(b, "all")
	}
	for _, name := range names {
		c := p.Scenarios[name]
		c.print(b, name)
	}
	if p.Refused != nil {
		l := p.Refused.Latency
		fmt.Fprintf(b, "  answered 503: %d, %d of them without Retry-After; p50 %.1f ms, p99 %.1f ms\n", l.Count, p.Refused.NoRetryAfter, l.P50, l.P99)
	}
	var sum float64
	for _, c := range p.CPU {
		fmt.Fprintf(b, "  processor time of %s: %.2f s, %.3f ms an operation\n", c.Name, c.Total, c.PerOperation)
		sum += c.PerOperation
	}
	if len(p.CPU) > 1 {
		fmt.Fprintf(b, "  processor time of all: %.3f ms an operation\n", sum)
	}
}

func (c *Counts) print(b *strings.Builder, name string) {
	l := c.Latency
	fmt.Fprintf(b, "  %s: %d attempts, %d succeeded, %d failed; p50 %.2f, p95 %.2f, p99 %.2f, p99.9 %.2f ms; %d retransmissions, %d over the limit, %.3f %% inadequate\n",
		name, c.Attempts, c.Succeeded, c.Failed, l.P50, l.P95, l.P99, l.P999, c.Retransmissions, c.OverLimit, c.InadequateShare*100)
	if c.Skipped > 0 {
		fmt.Fprintf(b, "    %d were due when no phone was free: there are too few phones\n", c.Skipped)
	}
	for _, cause := range slices.Sorted(maps.Keys(c.Causes)) {
		fmt.Fprintf(b, "    %6d  %s\n", c.Causes[cause], cause)
	}
}
