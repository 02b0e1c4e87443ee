package proxy

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/uri"
)

// Handler is what a function makes of requests. It may also implement AckHandler
// and FlowHandler.
type Handler interface {
	// Request is a new request that is neither ACK nor CANCEL, and has passed
	// the checks. The handler must Reply or Forward, now or later.
	Request(x *Exchange)
}

// AckHandler is asked about ACKs to 2xx responses, which are transactions of
// their own: Forward sends it on without state, returning without that ends it
// here. Without an AckHandler an ACK is forwarded along its route set.
type AckHandler interface {
	Ack(x *Exchange)
}

// FlowHandler is told of stream connections that have ended. It is called on any
// goroutine and must not block.
type FlowHandler interface {
	Closed(f sip.Flow)
}

// Core is the proxy: sockets, transactions and the rules between them.
type Core struct {
	cfg       Config
	handler   Handler
	obs       Observer
	listener  Listener // obs, if it is one
	self      *self
	seed      maphash.Seed
	sentBys   sentBys
	transport *transport.Transport
	layer     *transaction.Layer
	out       transaction.Sender
	stats     counters
	links     sync.Pool // of *link
	closing   sync.Once
}

// New makes a Core and opens its sockets. Messages may reach h before New returns.
func New(cfg Config, h Handler) (*Core, error) { return build(cfg, h, nil) }

// build is New with another way out than the transport, for measurements.
func build(cfg Config, h Handler, out transaction.Sender) (*Core, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	cfg.observe()
	s, err := newSelf(cfg.Aliases, cfg.Self)
	if err != nil {
		return nil, err
	}
	c := &Core{cfg: cfg, handler: h, obs: cfg.Observer, self: s, seed: maphash.MakeSeed()}
	c.listener, _ = cfg.Observer.(Listener)
	if c.out = out; out == nil {
		c.out = sender{c}
	}
	var late func(sip.Flow, *sip.Message) bool
	if cfg.LateTrying {
		late = func(f sip.Flow, _ *sip.Message) bool { return f.Role == sip.RoleCore }
	}
	c.layer = transaction.New(transaction.Config{
		Sender: c.out, User: user{c},
		Shards: cfg.Shards, MaxTransactions: cfg.MaxTransactions,
		TimersFor: cfg.TimersFor, ReturnFlow: cfg.ReturnFlow, Peer: cfg.Peer, RetryAfter: cfg.RetryAfter, Observer: cfg.TransactionObserver,
		Admission: cfg.Admission, Classify: cfg.Classify, UnderWay: cfg.UnderWay, LateTrying: late,
	})
	c.transport = transport.New(cfg.Net, cfg.Transport, handlerOf(c))
	for _, l := range cfg.Listen {
		if _, err := c.Listen(l); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Shard returns the shard that owns a Call-ID.
func (c *Core) Shard(callID string) *transaction.Shard { return c.layer.Shard(callID) }

// IsSelf reports whether u is one of our own URIs, by host and port.
func (c *Core) IsSelf(u uri.URI) bool { return c.self.is(u) }

// Drain refuses new requests outside dialogs and waits until no transaction is
// open and everything is written, or for ctx. Close follows.
func (c *Core) Drain(ctx context.Context) error {
	if err := c.layer.Drain(ctx); err != nil {
		return fmt.Errorf("waiting for open transactions: %w", err)
	}
	return c.transport.Drain(ctx)
}

// Close stops everything and waits for it. No handler runs afterwards. It must
// not be called from a handler.
func (c *Core) Close() {
	c.closing.Do(func() {
		_ = c.transport.Close()
		c.layer.Close()
	})
}

// flow returns the flow on which a hop is reached.
func (c *Core) flow(h *Hop) (sip.Flow, bool) {
	if h.Flow.Remote.IsValid() {
		return h.Flow, true
	}
	return c.transport.PickFrom(h.Proto, h.Role, h.Local, h.Addr)
}

// stream returns the stream to use instead of a datagram that is too big: the
// peer's open connection, else one to the same address, unless that has refused
// lately (TR-08).
func (c *Core) stream(h *Hop, datagram sip.Flow) (sip.Flow, bool) {
	if h.Stream.Conn != 0 {
		return h.Stream, true
	}
	if h.Alone || c.transport.Refused(datagram.Role, datagram.Local, datagram.Remote) {
		return sip.Flow{}, false
	}
	if datagram.Role == sip.RoleProtectedClient { // the ports of one SA set
		return c.transport.PickFrom(sip.TCP, datagram.Role, datagram.Local, datagram.Remote)
	}
	return c.transport.Pick(sip.TCP, datagram.Role, datagram.Remote)
}

// sender is the transaction layer's way out.
type sender struct{ c *Core }

// Send hands a message to the transport. A remote that refused a connection is
// dialled all the same: where there is another way, stream has asked before.
func (s sender) Send(f sip.Flow, data []byte, fail func(error)) { s.send(f, data, nil, fail) }

// SendBuffer is Send for what is in a Buffer.
func (s sender) SendBuffer(f sip.Flow, b *sip.Buffer, fail func(error)) {
	s.send(f, b.Bytes(), b, fail)
}

func (s sender) send(f sip.Flow, data []byte, b *sip.Buffer, fail func(error)) {
	out := transport.Outgoing{Flow: f, Data: data, Buffer: b, NoDial: f.Conn != 0, Insist: true, Fail: fail}
	if s.c.cfg.Shape == nil {
		s.c.transport.Send(out)
		return
	}
	out.Buffer = nil // it has what was to be shaped
	for _, shaped := range s.c.cfg.Shape(f, data) {
		out.Data = shaped
		s.c.transport.Send(out)
		out.Fail = nil // it is called once
	}
}

// send sends what is in b, which the caller still has.
func (c *Core) send(f sip.Flow, b *sip.Buffer, fail func(error)) {
	if s, ok := c.out.(transaction.BufferSender); ok {
		s.SendBuffer(f, b, fail)
		return
	}
	c.out.Send(f, b.Bytes(), fail)
}

// Hold and Release gather what a shard sends.
func (s sender) Hold()    { s.c.transport.Hold() }
func (s sender) Release() { s.c.transport.Release() }

// Hold has what is sent wait for Release, which writes it together. It is for whoever
// brings several shards something to do (PostNow); neither blocks.
func (c *Core) Hold()    { c.transport.Hold() }
func (c *Core) Release() { c.transport.Release() }

// receiver is what the sockets deliver to.
type receiver struct{ c *Core }

func (r receiver) Receive(f sip.Flow, raw string) { r.c.layer.Receive(f, raw) }

// waitReceiver is one that wants to know for how long messages have waited, which the
// sockets have to ask the kernel.
type waitReceiver struct{ receiver }

func handlerOf(c *Core) transport.Handler {
	if c.cfg.Admission != nil {
		return waitReceiver{receiver{c}}
	}
	return receiver{c}
}

func (r waitReceiver) ReceiveWaited(f sip.Flow, raw string, waited time.Duration) {
	r.c.layer.ReceiveWaited(f, raw, waited)
}

func (r receiver) ReceiveNow(f sip.Flow, raw string, waited time.Duration, more int) {
	r.c.layer.ReceiveNow(f, raw, waited, more)
}

// Malformed answers, where it can be read so far, a request that a stream cannot
// be cut behind; the transport closes the connection after that.
func (r receiver) Malformed(f sip.Flow, raw string, err error) {
	c := r.c
	c.stats.unframed.Add(1)
	if c.obs != nil {
		c.obs.Decision("", fmt.Sprintf("what came over %v cannot be framed, the connection is closed: %v", f, err))
	}
	var frame *sip.FrameError
	if !errors.As(err, &frame) || frame.Status == 0 {
		return
	}
	m, err := sip.Parse(raw)
	if err != nil || !m.IsRequest() || m.Method() == "ACK" || !m.Has(sip.HVia) {
		return
	}
	c.out.Send(f, sip.NewResponse(m, frame.Status, frame.Reason, sip.NewTag()).Bytes(), nil)
}

func (r receiver) Closed(f sip.Flow) {
	if h, ok := r.c.handler.(FlowHandler); ok {
		h.Closed(f)
	}
}

// user is the transaction user.
type user struct{ c *Core }

func (u user) Request(s *transaction.Server) {
	c := u.c
	x := &Exchange{Req: s.Req, Flow: s.Flow, Shard: s.Shard, core: c, server: s, start: c.layer.Now()}
	s.Data = x
	if r := c.admit(x); r.status != 0 {
		c.stats.refused.Add(1)
		if x.Tracing() {
			x.Tracef("refused: %d %s", r.status, r.reason)
		}
		if s.Req.Method() == "INVITE" && s.Flow.Role == sip.RoleGm && !s.Flow.Proto.Stream() {
			x.Stranger() // nobody has looked who it is
		}
		if r.field.Value != "" {
			x.Reply(r.status, r.reason, r.field)
		} else {
			x.Reply(r.status, r.reason)
		}
		return
	}
	c.handler.Request(x)
	x.settle()
}

func (u user) Cancel(s *transaction.Server, m *sip.Message) {
	x, ok := s.Data.(*Exchange)
	if !ok || x.done {
		return
	}
	x.cancelled = true
	for reason := range m.Lines(sip.HReason) { // RFC 3326 2
		x.cancelFields = append(x.cancelFields, sip.Field{ID: sip.HReason, Value: reason})
	}
	if x.onCancel != nil {
		x.onCancel()
	}
	x.live++ // so that the answer waits for every branch to be asked
	x.CancelBranches()
	x.live--
	if !x.done && x.live == 0 {
		x.Reply(487, "")
	}
}

func (u user) Ack(sh *transaction.Shard, f sip.Flow, m *sip.Message) {
	c := u.c
	x := &Exchange{Req: m, Flow: f, Shard: sh, core: c, ack: true}
	if r := c.admit(x); r.status != 0 {
		c.stats.droppedAcks.Add(1)
		x.Tracef("ACK dropped: it deserves a %d", r.status)
		return
	}
	if h, ok := c.handler.(AckHandler); ok {
		h.Ack(x)
		return
	}
	x.Forward()
}

func (u user) Stray(_ *transaction.Shard, f sip.Flow, m *sip.Message) {
	u.c.stats.strays.Add(1)
	if u.c.obs != nil {
		u.c.obs.Decision(m.CallID(), fmt.Sprintf("%d from %v belongs to no transaction: dropped (RFC 6026)", m.Status(), f.Remote))
	}
}

// Stats counts what the proxy has done since New.
type Stats struct {
	Refused      uint64 // requests answered by the checks of RFC 3261 16.3
	Strays       uint64 // responses without a transaction, dropped
	DroppedACKs  uint64 // ACKs that went nowhere
	Late         uint64 // calls of Reply, Forward and Post after the end
	Unanswered   uint64 // requests that the handler forgot
	TimerC       uint64 // times that Timer C fired
	BadResponses uint64 // responses that ended at us
	Unframed     uint64 // what the transport could not frame

	Transaction transaction.Stats
}

type counters struct {
	refused, strays, droppedAcks, late, unanswered, timerC, badResponses, unframed atomic.Uint64
}

// Stats returns the numbers of this moment.
func (c *Core) Stats() Stats {
	s := &c.stats
	return Stats{
		Refused: s.refused.Load(), Strays: s.strays.Load(), DroppedACKs: s.droppedAcks.Load(), Late: s.late.Load(),
		Unanswered: s.unanswered.Load(), TimerC: s.timerC.Load(), BadResponses: s.badResponses.Load(), Unframed: s.unframed.Load(),
		Transaction: c.layer.Stats(),
	}
}

// Addr returns the address of the first socket of a role, as New or Listen
// opened it.
func (c *Core) Addr(role sip.Role) (netip.AddrPort, bool) {
	a, err := netip.ParseAddrPort(c.sentBys.ofRole(role))
	return a, err == nil
}

var errNoVia = errors.New("response without another Via below ours")

// Listen opens a socket; its address and port are ours from then on. It returns
// the address, with the port that was picked when l asked for any.
func (c *Core) Listen(l transport.Listen) (netip.AddrPort, error) {
	if l.Addr.Addr().IsUnspecified() && c.cfg.SentBy == nil {
		return netip.AddrPort{}, fmt.Errorf("listening on %s: peers cannot answer to that address; name one of this host's addresses, or set SentBy", l)
	}
	a, err := c.transport.Listen(l)
	if err != nil {
		return netip.AddrPort{}, err
	}
	c.self.add(a)
	c.sentBys.add(l.Role, a)
	return a, nil
}

// Unlisten closes the socket at an address that Listen has returned, and the
// connections there: it is not ours any more. It reports whether there was one. A
// handler may call it on a shard.
func (c *Core) Unlisten(a netip.AddrPort) bool {
	c.self.remove(a)
	c.sentBys.remove(a)
	return c.transport.Unlisten(a)
}

// EndConns ends the connections between two addresses at once; a zero address or
// port of either fits any.
func (c *Core) EndConns(local, remote netip.AddrPort) int { return c.transport.EndConns(local, remote) }
