package node

import (
	"fmt"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/trace"
)

// ObserveSIP makes the SIP engine that c configures count, log and trace what
// passes. Metrics: gocscf_sip_messages_total{direction,role},
// gocscf_sip_dropped_total{reason}, gocscf_sip_rejected_total{status}.
func (d Deps) ObserveSIP(c *proxy.Config) {
	o := &sipObserver{deps: d, sipCounters: unread()}
	if d.Metrics != nil {
		o.sipCounters = newSIPCounters(d.Metrics)
	}
	c.Transport.Observer = o
	c.TransactionObserver = transactionObserver{o}
	if d.Trace.Stream != nil {
		c.Observer = o
	}
}

// sipCounters are what an engine counts.
type sipCounters struct {
	in, out  [roles]prometheus.Counter
	dropped  *prometheus.CounterVec
	rejected *prometheus.CounterVec
}

// unread are the counters of every engine whose numbers nobody asks for: of
// thousands of phones in one process.
var unread = sync.OnceValue(func() *sipCounters { return newSIPCounters(prometheus.NewRegistry()) })

func newSIPCounters(reg prometheus.Registerer) *sipCounters {
	c := &sipCounters{
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocscf_sip_dropped_total", Help: "SIP messages and connections given up, by reason.",
		}, []string{"reason"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocscf_sip_rejected_total", Help: "Requests answered without a transaction, by status.",
		}, []string{"status"}),
	}
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocscf_sip_messages_total", Help: "SIP messages received and sent, retransmissions included, by the role of the socket.",
	}, []string{"direction", "role"})
	for r := range c.in {
		c.in[r] = messages.WithLabelValues("in", sip.Role(r).String())
		c.out[r] = messages.WithLabelValues("out", sip.Role(r).String())
	}
	reg.MustRegister(messages, c.dropped, c.rejected)
	return c
}

// roles is how many socket roles there are.
const roles = int(sip.RoleISC) + 1

// sipObserver sees the sockets and the proxy.
type sipObserver struct {
	deps    Deps
	limited Limited
	*sipCounters
}

// Received is called for each message that a socket has brought.
func (o *sipObserver) Received(f sip.Flow, raw string) {
	o.in[f.Role].Inc()
	if o.deps.Trace.On() {
		o.message(trace.In, f, []byte(raw))
	}
}

// Sent is called before each message is written.
func (o *sipObserver) Sent(f sip.Flow, data []byte) {
	o.out[f.Role].Inc()
	if o.deps.Trace.On() {
		o.message(trace.Out, f, append([]byte(nil), data...))
	}
}

// message takes raw over.
func (o *sipObserver) message(dir string, f sip.Flow, raw []byte) {
	o.deps.Trace.Emit(trace.Event{
		Kind: trace.SIP, Dir: dir, Proto: protoName(f),
		Local: f.Local.String(), Remote: f.Remote.String(), Raw: trace.RedactSIP(raw),
	})
}

// protoName is "udp" or "tcp", and "esp/udp" or "esp/tcp" between protected ports.
func protoName(f sip.Flow) string {
	name := strings.ToLower(f.Proto.String())
	if f.Role == sip.RoleProtectedServer || f.Role == sip.RoleProtectedClient {
		return trace.ESP + name
	}
	return name
}

// Dropped is called for what the transport gave up.
func (o *sipObserver) Dropped(f sip.Flow, why transport.Reason, err error) {
	o.dropped.WithLabelValues(why.String()).Inc()
	level := zapcore.WarnLevel
	switch why {
	case transport.KeepAlive, transport.NotSIP, transport.Idle:
		level = zapcore.DebugLevel
	}
	o.limited.Log(o.deps.Log, level, why.String(), "sip transport: "+why.String(),
		zap.Stringer("flow", f), zap.Error(err))
}

// Listening keeps decisions that nobody reads from being put into words.
func (o *sipObserver) Listening() bool { return o.deps.Trace.On() }

// Decision is called when the proxy or its handler says why it does something.
func (o *sipObserver) Decision(callID, text string) {
	if o.deps.Trace.On() {
		o.deps.Trace.Emit(trace.Event{Kind: trace.Engine, CallID: callID, Text: text})
	}
}

// transactionObserver sees what the transaction layer keeps to itself.
type transactionObserver struct{ o *sipObserver }

func (t transactionObserver) Dropped(f sip.Flow, _, why string) {
	t.o.dropped.WithLabelValues("transaction").Inc()
	t.o.limited.Warn(t.o.deps.Log, "dropped", "sip message dropped: "+why, zap.Stringer("flow", f))
}

func (t transactionObserver) Rejected(f sip.Flow, _ string, status int, why string) {
	t.o.rejected.WithLabelValues(fmt.Sprint(status)).Inc()
	t.o.limited.Warn(t.o.deps.Log, "rejected", "sip request refused: "+why, zap.Stringer("flow", f), zap.Int("status", status))
}

func (t transactionObserver) Absorbed(sip.Flow, string) {}
