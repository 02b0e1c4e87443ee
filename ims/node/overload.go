package node

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/trace"
)

// Overload is the overload control of a function.
type Overload struct {
	// Enabled has requests refused, with 503 and Retry-After, while they come faster than
	// they can be worked on: new ones first, those within dialogs, emergency and priority
	// never. Default true.
	Enabled bool `yaml:"enabled"`
	// TargetLatency is how long requests may wait for their turn, on average, before some
	// are refused; of REGISTERs and INVITEs at the P-CSCF, a third of how much longer the
	// core's answers may take than without load. Less answers sooner, more rides out
	// longer bursts. Default 20ms.
	TargetLatency Duration `yaml:"target_latency"`
	// MaxWait is how old a request may be, in an overload, when its turn comes; older ones
	// are refused. Default 400ms.
	MaxWait Duration `yaml:"max_wait"`
	// MinRate is how many requests a second are let in at the worst. Default 100.
	MinRate float64 `yaml:"min_rate"`
	// RetryAfter is the least that a refused sender is told to wait, twice that the
	// most: who is refused together shall not come back together. Default 5s.
	RetryAfter Duration `yaml:"retry_after"`
}

// DefaultOverload returns the defaults.
func DefaultOverload() Overload {
	return Overload{
		Enabled: true, TargetLatency: Duration(20 * time.Millisecond), MaxWait: Duration(400 * time.Millisecond),
		MinRate: 100, RetryAfter: Duration(5 * time.Second),
	}
}

// Check reports what is wrong with o, each fault naming its key.
func (o *Overload) Check() error {
	if !o.Enabled {
		return nil
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.TargetLatency.D() < time.Millisecond {
		bad("overload.target_latency is %v: nothing is handled that fast; want 1ms or more", o.TargetLatency.D())
	}
	if o.MaxWait <= o.TargetLatency {
		bad("overload.max_wait is %v: want more than overload.target_latency, %v", o.MaxWait.D(), o.TargetLatency.D())
	}
	if o.MinRate <= 0 {
		bad("overload.min_rate is %v: then the end of an overload would not be noticed; want more than 0", o.MinRate)
	}
	if o.RetryAfter.D() < time.Second {
		bad("overload.retry_after is %v: Retry-After counts whole seconds; want 1s or more", o.RetryAfter.D())
	}
	return errors.Join(errs...)
}

// Explain says what o means.
func (o *Overload) Explain() string {
	if !o.Enabled {
		return "Overload control is off (overload.enabled): beyond what this machine can do, requests wait until their senders give up."
	}
	return fmt.Sprintf("When requests wait more than %v on average, as many are refused with 503 and a Retry-After of %v to %v as are too many; those within dialogs, emergency and priority never, answers to challenges last.",
		o.TargetLatency.D(), o.RetryAfter.D(), 2*o.RetryAfter.D())
}

// Admission gives the SIP engine that c configures the overload control of o, and
// makes it seen. Metrics: gocscf_overload_admitted_total{class},
// gocscf_overload_refused_total{reason}, gocscf_overload_rate,
// gocscf_overload_wait_seconds; where UnderWay is set also gocscf_overload_under_way{request},
// gocscf_overload_under_way_limit{request}, gocscf_overload_answer_seconds{request}.
func (d Deps) Admission(o Overload, c *proxy.Config) {
	if !o.Enabled {
		return
	}
	c.RetryAfter = o.RetryAfter.D()
	c.Admission = admission.NewController(admission.Config{
		Target: o.TargetLatency.D(), MinRate: o.MinRate, MaxWait: o.MaxWait.D(), Changed: d.overload,
	})
	if d.Metrics != nil {
		d.Metrics.MustRegister(admissionMetrics{c.Admission, c.UnderWay != nil})
	}
}

// overload tells of the beginning and the end of a bout of overload.
func (d Deps) overload(s admission.State) {
	text, next := "Overload is over.", ""
	switch {
	case s.Refusing && s.Downstream:
		text = "Overload further on: the core answers 503 to what is sent there, as many new requests are refused here."
		next = "Look at the I-CSCF and S-CSCF, and at the HSS: their logs say what is too slow."
	case s.Refusing && s.Crowded != admission.NoLane:
		under := s.UnderWay[s.Crowded]
		text = fmt.Sprintf("Overload: the core's answers to %ss take %v, with %d under way; more are refused here with 503.",
			strings.ToUpper(s.Crowded.String()), under.Answer.Round(time.Millisecond), under.Open)
		next = "If it lasts, look at the processor time of P-, I- and S-CSCF, and at the HSS (gocscf_cx_latency_seconds): one of them is too slow for this load."
	case s.Refusing:
		text = fmt.Sprintf("Overload: requests wait %v for their turn, some are refused with 503.", s.Latency.Round(time.Millisecond))
		next = "If it lasts, the machine is too small for this load, or something else takes its processors: see gocscf_overload_rate and the processor time of this service."
	}
	d.Log.Warn(text, zap.Float64("requests_a_second", s.Rate), zap.Duration("waited", s.Latency), zap.Uint64("refused", s.Refused),
		zap.Duration("lasted", s.For), zap.String("next", next))
	if d.Trace.On() {
		kind := trace.State
		if s.Refusing {
			kind = trace.Failure
		}
		d.Trace.Emit(trace.Event{Kind: kind, Text: text, Next: next, Clause: "RFC 3261 21.5.4"})
	}
}

// admissionMetrics reads a controller when somebody asks.
type admissionMetrics struct {
	c        *admission.Controller
	underWay bool
}

var (
	admittedDesc = prometheus.NewDesc("gocscf_overload_admitted_total", "Requests that were let in, by what they have to do with earlier ones.", []string{"class"}, nil)
	overDesc     = prometheus.NewDesc("gocscf_overload_refused_total", "Requests refused with 503 because of overload, by reason.", []string{"reason"}, nil)
	rateDesc     = prometheus.NewDesc("gocscf_overload_rate", "Requests a second that are let in at most; 0 while there is no overload.", nil, nil)
	waitDesc     = prometheus.NewDesc("gocscf_overload_wait_seconds", "How long requests, all but those that are never refused, waited for their turn, on average, when it was measured last.", nil, nil)
	openDesc     = prometheus.NewDesc("gocscf_overload_under_way", "Requests let in that the core has not begun to answer, INVITEs for "+admission.Silence.String()+" at most.", lane, nil)
	mostDesc     = prometheus.NewDesc("gocscf_overload_under_way_limit", "How many of them may be while its answers are slow.", lane, nil)
	answerDesc   = prometheus.NewDesc("gocscf_overload_answer_seconds", "How long those answers take, a moving average.", lane, nil)
)

// lane is the label of what is there for each lane.
var lane = []string{"request"}

func (m admissionMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{admittedDesc, overDesc, rateDesc, waitDesc} {
		ch <- d
	}
	if m.underWay {
		ch <- openDesc
		ch <- mostDesc
		ch <- answerDesc
	}
}

func (m admissionMetrics) Collect(ch chan<- prometheus.Metric) {
	n := m.c.Counts()
	for class, v := range n.Admitted {
		ch <- prometheus.MustNewConstMetric(admittedDesc, prometheus.CounterValue, float64(v), admission.Class(class).String())
	}
	for reason, v := range n.Refused {
		ch <- prometheus.MustNewConstMetric(overDesc, prometheus.CounterValue, float64(v), admission.Reason(reason).String())
	}
	rate, wait := m.c.Now()
	ch <- prometheus.MustNewConstMetric(rateDesc, prometheus.GaugeValue, rate)
	ch <- prometheus.MustNewConstMetric(waitDesc, prometheus.GaugeValue, wait.Seconds())
	if !m.underWay {
		return
	}
	for _, l := range [...]admission.Lane{admission.Registers, admission.Calls} {
		u := m.c.UnderWay(l)
		ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(u.Open), l.String())
		ch <- prometheus.MustNewConstMetric(mostDesc, prometheus.GaugeValue, float64(u.Most), l.String())
		ch <- prometheus.MustNewConstMetric(answerDesc, prometheus.GaugeValue, u.Answer.Seconds(), l.String())
	}
}
