package as

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/gocscf/gocscf/ims/trace"
)

// wire is what a transaction writes to. sipgo's transactions see a connection; the
// trace sees each message as it leaves, retransmissions too; and two faults of
// sipgo are mended on the way.
type wire struct {
	sip.Connection
	s      *Server
	proto  string // "udp" or "tcp"
	remote string

	// reply is where responses go, "" on a client's wire: sipgo's own 100 Trying
	// would go to the port that the request came from, whatever its Via says.
	reply string

	mu  sync.Mutex
	ack *sip.Request // the last ACK to a refusal, for when the refusal comes again
}

// WriteMsg sends a message. sipgo calls it with the lock of one transaction held.
func (w *wire) WriteMsg(m sip.Message) error {
	switch m := m.(type) {
	case *sip.Response:
		m.SetDestination(w.reply)
	case *sip.Request:
		if m.IsAck() {
			// Only a transaction writes ACKs here. It has one Via, the first of the INVITE
			// (RFC 3261 17.1.1.3); sipgo copies them all.
			top := m.GetHeaders("Via")[0]
			for m.RemoveHeader("Via") {
			}
			m.PrependHeader(top)
			w.mu.Lock()
			w.ack = m
			w.mu.Unlock()
		}
	}
	return w.write(m)
}

// write sends a message as it is.
func (w *wire) write(m sip.Message) error {
	if w.s.deps.Trace.On() {
		w.s.message(trace.Out, w.proto, w.LocalAddr().String(), w.remote, m.String())
	}
	// A peer that does not read must not hold up who reads from others.
	if c, ok := w.Connection.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails on a closed connection, as the write does
	}
	return w.Connection.WriteMsg(m)
}

// writeTimeout bounds a write to a stream.
const writeTimeout = 2 * time.Second

// acknowledge sends the last ACK again, if there was one.
func (w *wire) acknowledge() {
	w.mu.Lock()
	ack := w.ack
	w.mu.Unlock()
	if ack != nil {
		_ = w.write(ack) // lost like any datagram: the refusal comes once more
	}
}

// message puts a message into the trace.
func (s *Server) message(dir, proto, local, remote, raw string) {
	s.deps.Trace.Emit(trace.Event{
		Kind: trace.SIP, Dir: dir, Proto: proto, Local: local, Remote: remote,
		Raw: trace.RedactSIP([]byte(raw)),
	})
}

// terse is sipgo's way into our log: without the whole messages that it writes
// there when it cannot parse them.
type terse struct{ slog.Handler }

func (h terse) Handle(ctx context.Context, r slog.Record) error {
	n := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "data" {
			n.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, n)
}

func (h terse) WithAttrs(attrs []slog.Attr) slog.Handler { return terse{h.Handler.WithAttrs(attrs)} }
func (h terse) WithGroup(name string) slog.Handler       { return terse{h.Handler.WithGroup(name)} }
