package node

import (
	"encoding/binary"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/ims/trace"
)

// ObserveDiameter returns an observer that counts, logs and traces a Diameter
// node. Watchdogs and capability exchanges are counted, not traced. Metrics:
// gocscf_diameter_messages_total{direction}, gocscf_diameter_peers_up,
// gocscf_diameter_refused_total, and of Cx
// gocscf_cx_messages_total{direction,command}, which can be held against the other end's.
func (d Deps) ObserveDiameter() diameter.Observer {
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocscf_diameter_messages_total", Help: "Diameter messages received and sent.",
	}, []string{"direction"})
	o := &diameterObserver{
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gocscf_diameter_refused_total", Help: "Tries to accept a Diameter connection that failed, and connections that were closed because too many stand.",
		}),
		deps: d, in: messages.WithLabelValues("in"), out: messages.WithLabelValues("out"),
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gocscf_diameter_peers_up", Help: "Diameter connections on which capabilities have been exchanged.",
		}),
	}
	commands := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocscf_cx_messages_total", Help: "Cx messages received and sent, by command; those sent again to another HSS count again.",
	}, []string{"direction", "command"})
	for i, name := range cxCommands {
		o.cx[0][i], o.cx[1][i] = commands.WithLabelValues("in", name), commands.WithLabelValues("out", name)
	}
	if d.Metrics != nil {
		d.Metrics.MustRegister(messages, o.up, o.refused, commands)
	}
	return o
}

// cxCommands are the commands of Cx in the order of their codes from
// firstApplicationCommand on (TS 29.229 6.1), each as a request and as an answer.
var cxCommands = [...]string{"UAR", "UAA", "SAR", "SAA", "LIR", "LIA", "MAR", "MAA", "RTR", "RTA", "PPR", "PPA"}

// cxCommand finds a message's place in cxCommands, -1 for one of another application.
func cxCommand(raw []byte) int {
	if len(raw) < diameter.HeaderLen {
		return -1
	}
	i := 2 * (int(binary.BigEndian.Uint32(raw[4:])&0xffffff) - firstApplicationCommand)
	if i < 0 || i >= len(cxCommands) {
		return -1
	}
	const request = 0x80
	if raw[4]&request == 0 {
		i++
	}
	return i
}

type diameterObserver struct {
	deps    Deps
	limited Limited
	in, out prometheus.Counter
	cx      [2][len(cxCommands)]prometheus.Counter
	up      prometheus.Gauge
	refused prometheus.Counter

	mu    sync.Mutex
	conns map[[2]string]struct{} // local and remote address of what is up
}

// setUp notes whether the connection can be used.
func (o *diameterObserver) setUp(e diameter.ConnectionEvent, up bool) {
	if e.Local == nil || e.Remote == nil {
		return
	}
	key := [2]string{e.Local.String(), e.Remote.String()}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns == nil {
		o.conns = make(map[[2]string]struct{})
	}
	if up {
		o.conns[key] = struct{}{}
	} else {
		delete(o.conns, key)
	}
	o.up.Set(float64(len(o.conns)))
}

// firstApplicationCommand is where commands of applications begin (RFC 6733
// 11.2.1 gives those below to the base protocol, all in use there).
const firstApplicationCommand = 300

// Message is called for each message on the wire.
func (o *diameterObserver) Message(e diameter.MessageEvent) {
	dir := trace.In
	if e.Sent {
		dir = trace.Out
		o.out.Inc()
	} else {
		o.in.Inc()
	}
	if i := cxCommand(e.Raw); i >= 0 {
		to := 0
		if e.Sent {
			to = 1
		}
		o.cx[to][i].Inc()
	}
	if e.Err != nil {
		o.limited.Warn(o.deps.Log, "diameter", "a Diameter message was not accepted",
			zap.String("peer", e.Peer), zap.Stringer("remote", e.Remote), zap.Error(e.Err))
	}
	if !o.deps.Trace.On() || len(e.Raw) < diameter.HeaderLen || binary.BigEndian.Uint32(e.Raw[4:])&0xffffff < firstApplicationCommand {
		return
	}
	o.deps.Trace.Emit(trace.Event{
		Kind: trace.Diameter, Dir: dir, Proto: "diameter", Peer: e.Peer,
		Local: e.Local.String(), Remote: e.Remote.String(), Raw: trace.RedactDiameter(e.Raw),
	})
}

// Connection is called when a connection changes its state.
func (o *diameterObserver) Connection(e diameter.ConnectionEvent) {
	name := e.Peer
	if name == "" {
		name = e.Address
	}
	log := o.deps.Log.With(zap.String("peer", name), zap.Stringer("state", e.State))
	switch e.State {
	case diameter.Okay, diameter.Reopen: // after a failure it is used, but proves itself for three watchdogs (RFC 3539 3.4.1)
		o.setUp(e, true)
		log.Info("diameter peer is up")
	case diameter.Down:
		o.setUp(e, false)
		o.limited.Warn(log, "diameter-down", "diameter peer is down", zap.Error(e.Err))
		if o.deps.Trace.On() && e.Err != nil {
			o.deps.Trace.Emit(trace.Event{
				Kind: trace.Failure, Peer: e.Peer, Text: "Diameter connection to " + name + " is down: " + e.Err.Error(),
				Next: "Check that the peer runs and listens at the configured address; it is dialled again by itself.",
			})
		}
	default:
		log.Debug("diameter peer")
	}
}

// Refused is called when a connection is not accepted.
func (o *diameterObserver) Refused(e diameter.RefusedEvent) {
	o.refused.Inc()
	fields := []zap.Field{zap.Stringer("local", e.Local), zap.Error(e.Err)}
	if e.Remote != nil {
		fields = append(fields, zap.Stringer("remote", e.Remote))
	}
	o.limited.Warn(o.deps.Log, "diameter-refused", "a Diameter connection was not accepted", fields...)
}
