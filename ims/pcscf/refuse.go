package pcscf

import (
	"strconv"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/trace"
)

// refusal is a request that the P-CSCF itself answers with a failure.
type refusal struct {
	status int
	cause  string // metric label and log key: one word of the code
	text   string // what happened, for people
	next   string // what to do about it
	clause string
	fields []sip.Field
	body   string // of type application/3gpp-ims+xml, empty for none
}

// refuse answers x and tells why: to the phone in a Warning, in the log and in
// the trace.
func (s *Server) refuse(x *proxy.Exchange, r refusal) {
	s.metrics.refused.WithLabelValues(r.cause).Inc()
	s.limited.Warn(s.deps.Log, r.cause, r.text, zap.String("method", x.Req.Method()), zap.Int("status", r.status),
		zap.String("call_id", x.Req.CallID()), zap.Stringer("from", x.Flow.Remote), zap.String("next", r.next))
	if s.deps.Trace.On() {
		s.deps.Trace.Emit(trace.Event{Kind: trace.Failure, CallID: x.Req.CallID(), Text: r.text, Next: r.next, Clause: r.clause})
	}
	b := x.Response(r.status, "").AddFields(r.fields...)
	b.Add(sip.HWarning, s.warning(r.text))
	if r.body != "" {
		b.Body("application/3gpp-ims+xml", r.body)
	}
	x.Send(r.status, b)
}

// warning is a Warning header's value (RFC 3261 20.43): code 399, miscellaneous.
func (s *Server) warning(text string) string {
	return "399 " + s.Gm().String() + " " + sip.Quote(text)
}

// decide tells the trace and the log what was decided about a request.
func (s *Server) decide(x *proxy.Exchange, text, clause string, fields ...zap.Field) {
	if ce := s.deps.Log.Check(zap.DebugLevel, text); ce != nil {
		ce.Write(append(fields, zap.String("method", x.Req.Method()), zap.String("call_id", x.Req.CallID()))...)
	}
	if s.deps.Trace.On() {
		s.deps.Trace.Emit(trace.Event{Kind: trace.Decision, CallID: x.Req.CallID(), Text: text, Clause: clause})
	}
}

// registerAnew is the body that makes a phone register from the start (TS 24.229
// 7.6, 5.1.2A.1.6): the home network has lost its registration.
const registerAnew = `<?xml version="1.0" encoding="UTF-8"?>
<ims-3gpp version="1"><alternative-service><type>restoration</type><reason>registration state lost</reason><action>initial-registration</action></alternative-service></ims-3gpp>
`

// homeSilent is the refusal for a home network that does not answer.
func homeSilent(best *proxy.Final, what string) refusal {
	r := refusal{status: 504, cause: "home_silent", clause: "TS 24.229 5.2.2.1",
		text: what + " got no answer from the home network.", next: "Check that the I-CSCF and S-CSCF run and that the addresses in the P-CSCF's configuration are theirs."}
	if best.Err != nil {
		r.text = what + " did not reach the home network: " + best.Err.Error() + "."
	}
	return r
}

// overloaded is the refusal for a home network all of whose addresses said 503
// (TS 24.229 5.2.2.1; RFC 3261 21.5.4).
func overloaded(best *proxy.Final) refusal {
	r := refusal{status: 503, cause: "home_overloaded", text: "The home network is overloaded or stopping: it answered 503.",
		next: "Try again after Retry-After."}
	after := best.Msg.Get(sip.HRetryAfter)
	if _, ok := sip.ParseRetryAfter(after); !ok {
		after = strconv.Itoa(defaultRetryAfter)
	}
	r.fields = []sip.Field{{ID: sip.HRetryAfter, Value: after}}
	return r
}

// defaultRetryAfter is how many seconds a phone waits when the core did not say.
const defaultRetryAfter = 5
