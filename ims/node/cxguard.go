package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// guard keeps requests from waiting for an HSS that does not answer in time.
type guard struct {
	*admission.Backend
	base       time.Time
	retryAfter time.Duration
}

func (g *guard) now() int64 { return int64(time.Since(g.base)) }

// Guard gives c the overload control of o. Metrics: gocscf_cx_open,
// gocscf_cx_latency_seconds, gocscf_cx_refused_total.
func (c *Cx) Guard(o Overload, d Deps) {
	if !o.Enabled {
		return
	}
	// Whoever asks twice within the time-out must have both answers in time.
	g := &guard{base: time.Now(), retryAfter: o.RetryAfter.D(), Backend: admission.NewBackend(admission.BackendConfig{
		Slow: c.Timeout / 4, Patience: c.Timeout / 2,
	})}
	c.guard = g
	if d.Metrics == nil {
		return
	}
	gauge := func(name, help string, value func(admission.BackendState) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(g.State(g.now())) })
	}
	d.Metrics.MustRegister(
		gauge("gocscf_cx_open", "Cx requests without an answer.", func(s admission.BackendState) float64 { return float64(s.Open) }),
		gauge("gocscf_cx_latency_seconds", "What the HSS's answers take, a moving average.", func(s admission.BackendState) float64 { return s.Took.Seconds() }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "gocscf_cx_refused_total", Help: "Requests refused with 503 because the HSS is slow."},
			func() float64 { return float64(g.State(g.now()).Refused) }),
	)
}

// Room reports whether work of a class may begin for which the HSS is asked.
func (c *Cx) Room(class admission.Class) bool {
	return c.guard == nil || c.guard.Room(c.guard.now(), class)
}

// Spare reports whether the HSS may be asked what nobody waits for, of which so many
// questions are open.
func (c *Cx) Spare(such int) bool { return c.guard == nil || c.guard.Spare(c.guard.now(), such) }

// Busy is the refusal for what finds no room, or whom the HSS says that it is too busy.
func (c *Cx) Busy() Refusal {
	r := Refusal{Status: 503, Cause: "hss_slow", Clause: "RFC 3261 21.5.4",
		Text: "The HSS does not answer fast enough: what would wait for it too long is refused.",
		Next: "Look at the HSS: its load, its database, and the network between; see gocscf_cx_latency_seconds and gocscf_cx_open."}
	least := DefaultOverload().RetryAfter.D()
	if c.guard != nil {
		s := c.guard.State(c.guard.now())
		r.Text = fmt.Sprintf("The HSS does not answer fast enough (%v on average, %d requests wait): what would wait for it too long is refused.", s.Took.Round(time.Millisecond), s.Open)
		least = c.guard.retryAfter
	}
	after := int((least + rand.N(least+1)) / time.Second)
	r.Fields = []sip.Field{{ID: sip.HRetryAfter, Value: strconv.Itoa(max(1, after))}}
	return r
}

// TooBusy reports whether the HSS, or an agent before it, has refused because of load
// (RFC 6733 7.1.3).
func TooBusy(err error) bool {
	if err == nil {
		return false
	}
	var r *diameter.ResultError
	return errors.As(err, &r) && r.Is(diameter.TooBusy)
}

// watched lets the guard see how a question ends.
func watched[A any](c *Cx, done func(*A, error)) func(*A, error) {
	g := c.guard
	if g == nil {
		return done
	}
	asked := g.now()
	g.Asked(asked)
	return func(a *A, err error) {
		now := g.now()
		g.Answered(now, time.Duration(now-asked), a != nil && !TooBusy(err))
		done(a, err)
	}
}

// UAR is that of the client, guarded.
func (c *Cx) UAR(deadline time.Time, q *cx.UAR, done func(*cx.UAA, error)) {
	c.Client.UAR(deadline, q, watched(c, done))
}

// SAR is that of the client, guarded.
func (c *Cx) SAR(deadline time.Time, q *cx.SAR, done func(*cx.SAA, error)) {
	c.Client.SAR(deadline, q, watched(c, done))
}

// LIR is that of the client, guarded.
func (c *Cx) LIR(deadline time.Time, q *cx.LIR, done func(*cx.LIA, error)) {
	c.Client.LIR(deadline, q, watched(c, done))
}

// MAR is that of the client, guarded.
func (c *Cx) MAR(deadline time.Time, q *cx.MAR, done func(*cx.MAA, error)) {
	c.Client.MAR(deadline, q, watched(c, done))
}
