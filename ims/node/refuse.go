package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/trace"
)

// Refusal is a request that a function itself answers with a failure. A refusal
// without a cause helps nobody: Text says what happened and Next what to do.
type Refusal struct {
	Status int
	Reason string // reason phrase, empty for the usual one
	Cause  string // label and log key: one word of the code, never input
	Text   string
	Next   string
	Clause string
	IMPI   string // of the user, where known
	Fields []sip.Field
	// IMSXML is a body of type application/3gpp-ims+xml (TS 24.229 7.6), empty
	// for none.
	IMSXML string
}

// defaultRetryAfter is how many seconds to wait where a 503 did not say.
const defaultRetryAfter = "5"

// RetryAfter is the field of a 503 of our own that stands for m, the 503 of the only one
// who could have served the request (RFC 3261 16.7 step 6).
func RetryAfter(m *sip.Message) sip.Field {
	after := m.Get(sip.HRetryAfter)
	if _, ok := sip.ParseRetryAfter(after); !ok {
		after = defaultRetryAfter
	}
	return sip.Field{ID: sip.HRetryAfter, Value: after}
}

// Verdicts answers requests and says why, the same way in each function: to the
// peer in a Warning, in the log, in the trace and in
// gocscf_<function>_refused_total{cause}.
type Verdicts struct {
	Deps
	host    string
	limited Limited
	often   Limited
	refused *prometheus.CounterVec
}

// NewVerdicts returns the Verdicts of a function; host stands in Warning headers.
func NewVerdicts(d Deps, function, host string) *Verdicts {
	v := &Verdicts{Deps: d, host: host, often: Limited{Burst: 100}, refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocscf_" + function + "_refused_total", Help: "Requests refused by the function itself, by cause.",
	}, []string{"cause"})}
	if d.Metrics != nil {
		d.Metrics.MustRegister(v.refused)
	}
	return v
}

// Refuse answers x with r.
func (v *Verdicts) Refuse(x *proxy.Exchange, r Refusal) {
	v.Tell(x, r)
	b := x.Response(r.Status, r.Reason).AddFields(r.Fields...)
	b.Add(sip.HWarning, Warning(v.host, r.Text))
	if r.IMSXML != "" {
		b.Body("application/3gpp-ims+xml", r.IMSXML)
	}
	x.Send(r.Status, b)
	b.Free()
}

// Warn lets a response that is passed on say r.Text, as a refusal does.
func (v *Verdicts) Warn(e *sip.Edits, r Refusal) { e.Add(sip.HWarning, Warning(v.host, r.Text)) }

// Tell counts, logs and traces r without answering.
func (v *Verdicts) Tell(x *proxy.Exchange, r Refusal) {
	v.refused.WithLabelValues(r.Cause).Inc()
	v.limited.Warn(v.Log, r.Cause, r.Text, zap.String("method", x.Req.Method()), zap.Int("status", r.Status),
		zap.String("call_id", x.Req.CallID()), zap.String("impi", r.IMPI), zap.String("icid", ICID(x.Req)),
		zap.Stringer("from", x.Flow.Remote), zap.String("next", r.Next))
	v.fail(x, r)
}

// Heard tells the log and the trace of a failure that somebody else has decided and
// x passes on: it is no refusal of ours.
func (v *Verdicts) Heard(x *proxy.Exchange, r Refusal) {
	v.limited.Log(v.Log, zap.InfoLevel, r.Cause, r.Text, zap.String("method", x.Req.Method()), zap.Int("status", r.Status),
		zap.String("call_id", x.Req.CallID()), zap.String("impi", r.IMPI), zap.String("icid", ICID(x.Req)), zap.String("next", r.Next))
	v.fail(x, r)
}

func (v *Verdicts) fail(x *proxy.Exchange, r Refusal) {
	if v.Trace.On() {
		v.Trace.Emit(trace.Event{
			Kind: trace.Failure, CallID: x.Req.CallID(), ICID: ICID(x.Req), IMPI: r.IMPI,
			Text: r.Text, Next: r.Next, Clause: r.Clause,
		})
	}
}

// Decide tells the trace, and the log at level debug, what was decided about x.
func (v *Verdicts) Decide(x *proxy.Exchange, text, clause string, fields ...zap.Field) {
	if ce := v.Log.Check(zap.DebugLevel, text); ce != nil {
		ce.Write(append(fields, zap.String("method", x.Req.Method()), zap.String("call_id", x.Req.CallID()), zap.String("icid", ICID(x.Req)))...)
	}
	if v.Trace.On() {
		v.Trace.Emit(trace.Event{Kind: trace.Decision, CallID: x.Req.CallID(), ICID: ICID(x.Req), Text: text, Clause: clause})
	}
}

// Limited returns the rate limit that the function's other log lines share.
func (v *Verdicts) Limited() *Limited { return &v.limited }

// Often is Info for what others bring about without being users: a hundred lines of a
// kind each second.
func (v *Verdicts) Often(kind, text string, fields ...zap.Field) {
	v.often.Info(v.Log, kind, text, fields...)
}

// Deciding reports whether Decide would tell anybody, for texts that cost to make.
func (v *Verdicts) Deciding() bool {
	return v.Trace.On() || v.Log.Core().Enabled(zap.DebugLevel)
}

// Warning is a Warning header's value (RFC 3261 20.43) with code 399, miscellaneous.
func Warning(host, text string) string { return "399 " + host + " " + sip.Quote(text) }

// ICID returns the icid-value of a message, empty when it has none.
func ICID(m *sip.Message) string {
	v, err := sip.ParseChargingVector(m.Get(sip.HPChargingVector))
	if err != nil {
		return ""
	}
	return v.ICID
}
