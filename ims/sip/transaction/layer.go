package transaction

import (
	"context"
	"errors"
	"hash/maphash"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// Errors that Client.Failed and Server.Err report, besides those of the Sender.
var (
	ErrTimeout = errors.New("transaction: no answer in time")
	ErrNoAck   = errors.New("transaction: no ACK in time")
)

// Sender puts messages on the wire.
type Sender interface {
	// Send sends data over f and does not block. When it returns, data is the layer's
	// again: a Sender copies what has to wait, and changes nothing, as the same octets
	// may be sent again, or stand in a record. A flow with Conn set
	// means that connection and no other; with Conn 0 on a stream, an open
	// connection to Remote or a new one. fail (which may be nil) is called at most
	// once, from any goroutine, when the message is known not to have left; with
	// an error that has a method Uncertain() bool, returning true, when it has left
	// and may be lost.
	Send(f sip.Flow, data []byte, fail func(error))
}

// BufferSender is a Sender that shares a Buffer, where Send would copy what is in it. The
// caller has it still.
type BufferSender interface {
	SendBuffer(f sip.Flow, b *sip.Buffer, fail func(error))
}

// Holder is a Sender that can gather what is sent between Hold and Release. The layer
// calls them around what a shard does at a time; both do not block.
type Holder interface {
	Hold()
	Release()
}

// User is the transaction user. All calls for one Call-ID come one at a time, in
// arrival order, and must not block.
type User interface {
	// Request is a new request, never an ACK or a CANCEL.
	Request(s *Server)
	// Cancel says that the CANCEL m asks for the end of the INVITE s, which has no
	// final response yet. The CANCEL has been answered.
	Cancel(s *Server, m *sip.Message)
	// Ack is an ACK that ends no INVITE transaction here: the ACK to a 2xx.
	Ack(sh *Shard, f sip.Flow, m *sip.Message)
	// Stray is a response without a client transaction. RFC 6026 §7 has proxies
	// drop it.
	Stray(sh *Shard, f sip.Flow, m *sip.Message)
}

// Observer is told what no User sees. It is called on any goroutine.
type Observer interface {
	// Dropped: a message was thrown away without an answer.
	Dropped(f sip.Flow, raw, why string)
	// Rejected: a request was answered statelessly.
	Rejected(f sip.Flow, raw string, status int, why string)
	// Absorbed: a retransmission, or an ACK to a non-2xx, ended here.
	Absorbed(f sip.Flow, raw string)
}

// Config configures a Layer. Sender and User must be set; a zero elsewhere means
// the default.
type Config struct {
	Sender Sender
	User   User

	// Shards is how many Call-IDs are worked on at once; 0 means GOMAXPROCS.
	Shards int
	// MaxTransactions bounds the transactions that owe or await something; 0
	// means 131072. The last eighth is kept for requests inside dialogs, for
	// emergency calls and for priority requests of the core.
	MaxTransactions int
	// MaxLingering bounds the transactions that have been answered and are kept
	// only for retransmissions and a missing ACK (timers D, H to M); 0 means twice
	// MaxTransactions. Beyond it transactions end without that phase. A third more are
	// kept of INVITEs with a 2xx and, with Admission, of requests that are not
	// admission.New: those of strangers do not push them out. None count in
	// MaxTransactions: a peer that never acknowledges keeps nobody out.
	MaxLingering int
	// MaxOctets bounds the requests that unfinished server transactions hold, in
	// octets as they came; 0 means 1 GiB. What is sent on and answered is of the
	// same size again. As much is the bound of what lingers, most of it beside the heap,
	// where GOMEMLIMIT does not count it; and as much again, on the heap, of the final
	// responses that await an ACK or find no room there: beyond it transactions end as
	// beyond MaxLingering.
	MaxOctets int
	// Inbox bounds the messages that wait for a shard; 0 means 4096. Beyond it
	// requests get 503; ACKs and responses are dropped, from streams only when
	// four times as many wait.
	Inbox int
	// TimersFor gives the timer values of a leg; nil means DefaultTimers. All
	// shards call it.
	TimersFor func(sip.Flow) Timers
	// ReturnFlow, if not nil, is asked for another flow than f, on which a request
	// came or a connection was open: where the response to a datagram goes, and
	// what is owed to a peer whose connection has ended. port is that of the Via's
	// sent-by, 0 for a request of ours. A zero flow is nowhere; with false RFC
	// 3261 18.2.2 decides. TS 33.203 7.1 is why: a datagram that came to port_ps
	// is answered from port_pc to port_us. Every goroutine may call it.
	ReturnFlow func(f sip.Flow, port uint16) (sip.Flow, bool)
	// Peer, if not nil, says whether whoever sends over a flow may answer, acknowledge
	// or cancel anything that is under way, beyond what the roles of the two flows say;
	// what he may not is dropped. A new request is not asked about. Every goroutine may
	// call it.
	Peer func(f sip.Flow) bool
	// NoTrying switches off the 100 that answers an INVITE at once.
	NoTrying bool
	// LateTrying, if not nil, says to which INVITEs the 100 waits until the User calls
	// Server.Trying, as long as RFC 3261 17.2.1 lets it.
	LateTrying func(sip.Flow, *sip.Message) bool
	// Admission, if not nil, decides under load which requests that open a transaction
	// are answered with 503, before more of them is read than their class needs.
	Admission *admission.Controller
	// Classify says of what class a request is; nil means Class.
	Classify func(sip.Flow, *sip.Message) admission.Class
	// UnderWay, if not nil, says for which requests Admission decides by how many of
	// their lane are under way, in place of how many come: those that go on to elements
	// which answer at once. Its User calls Server.Heard.
	UnderWay func(sip.Flow, *sip.Message) admission.Lane
	// RetryAfter is the least Retry-After of a 503, and twice that the most: phones
	// that are refused together do not come back together. 0 means 5 s.
	RetryAfter time.Duration
	// RejectRate bounds stateless answers to malformed requests, in answers a
	// second, with a burst as large; 0 means 100.
	RejectRate int
	// Observer may be nil.
	Observer Observer
}

// Layer is the transaction layer. It is safe for use by many goroutines.
type Layer struct {
	cfg       Config
	base      time.Time    // Now counts from here
	buffers   BufferSender // cfg.Sender, if it is one
	holder    Holder       // the same
	reviver   Reviver      // cfg.User, if it is one
	seed      maphash.Seed
	shards    []*Shard
	servers   sync.Pool // *Server that no User has seen
	tagPrefix string    // begins the To tags of stateless answers
	rejects   *admission.Bucket

	open, unacked, lingering atomic.Int64 // transactions by class
	octets                   atomic.Int64 // of the requests that they hold
	answers                  atomic.Int64 // octets that those that are answered keep to send again
	memory                   pastMemory   // of what lingers without a transaction

	draining, isClosed atomic.Bool
	idle               chan struct{} // poked when nothing is owed any more while draining
	running            sync.WaitGroup
	count              counters
}

// New starts a Layer. Close stops it.
func New(cfg Config) *Layer {
	if cfg.Shards <= 0 {
		cfg.Shards = runtime.GOMAXPROCS(0)
	}
	if cfg.MaxTransactions <= 0 {
		cfg.MaxTransactions = 1 << 17
	}
	if cfg.MaxLingering <= 0 {
		cfg.MaxLingering = 2 * cfg.MaxTransactions
	}
	if cfg.MaxOctets <= 0 {
		cfg.MaxOctets = 1 << 30
	}
	if cfg.Inbox <= 0 {
		cfg.Inbox = 4096
	}
	if cfg.TimersFor == nil {
		d := DefaultTimers()
		cfg.TimersFor = func(sip.Flow) Timers { return d }
	}
	if cfg.Classify == nil {
		cfg.Classify = Class
	}
	if cfg.RetryAfter <= 0 {
		cfg.RetryAfter = 5 * time.Second
	}
	if cfg.RejectRate <= 0 {
		cfg.RejectRate = 100
	}
	l := &Layer{cfg: cfg, base: time.Now(), seed: maphash.MakeSeed(), tagPrefix: sip.NewTag()[:8], idle: make(chan struct{}, 1)}
	l.buffers, _ = cfg.Sender.(BufferSender)
	l.holder, _ = cfg.Sender.(Holder)
	l.reviver, _ = cfg.User.(Reviver)
	l.rejects = admission.NewBucket(cfg.RejectRate)
	l.servers.New = func() any {
		s := new(Server)
		s.msg.Use(&s.room)
		return s
	}
	for range cfg.Shards {
		sh := newShard(l)
		l.shards = append(l.shards, sh)
		l.running.Go(sh.loop)
	}
	return l
}

// Shard returns the shard that owns a Call-ID.
func (l *Layer) Shard(callID string) *Shard {
	if len(l.shards) == 1 {
		return l.shards[0]
	}
	return l.shards[maphash.String(l.seed, callID)%uint64(len(l.shards))]
}

// Receive takes one framed message off the wire. It does not block and may be
// called from any goroutine; messages of one Call-ID keep their order as long as
// one goroutine delivers them.
func (l *Layer) Receive(f sip.Flow, raw string) { l.ReceiveWaited(f, raw, 0) }

// ReceiveWaited is Receive for a message that has waited in a socket for so long.
func (l *Layer) ReceiveWaited(f sip.Flow, raw string, waited time.Duration) {
	l.receive(f, raw, waited, false)
}

// ReceiveNow is ReceiveWaited for whoever has read the message, holds no lock and has
// the time to handle it himself; more is how many he has still to bring. What is sent
// meanwhile is for him to gather. With several shards only the last is handled here:
// the others may be at the same time elsewhere.
func (l *Layer) ReceiveNow(f sip.Flow, raw string, waited time.Duration, more int) {
	l.receive(f, raw, waited, more == 0 || len(l.shards) == 1)
}

func (l *Layer) receive(f sip.Flow, raw string, waited time.Duration, now bool) {
	if l.isClosed.Load() {
		return
	}
	raw = strings.TrimLeft(raw, "\r\n")
	if len(raw) > 4 && strings.EqualFold(raw[:4], "SIP/") {
		l.receiveResponse(f, raw, now)
	} else {
		l.receiveRequest(f, raw, waited, now)
	}
}

func (l *Layer) receiveResponse(f sip.Flow, raw string, now bool) {
	m, err := sip.Parse(raw)
	if err != nil {
		l.drop(&l.count.malformed, f, raw, err.Error())
		return
	}
	var via sip.Via
	if p := sip.ValidateVia(m, &via); p != nil {
		l.drop(&l.count.malformed, f, raw, p.Detail)
		return
	}
	if m.Status() == 0 {
		l.drop(&l.count.malformed, f, raw, "no status code")
		return
	}
	sh, it := l.Shard(m.CallID()), item{flow: f, response: m, branch: via.Branch}
	if !(now && sh.runNow(it)) && !sh.enqueue(it, f.Proto.Stream()) {
		l.drop(&l.count.overflow, f, raw, "inbox full")
	}
}

// send sends data, which is what b has, unless that is nil.
func (l *Layer) send(f sip.Flow, data []byte, b *sip.Buffer, fail func(error)) {
	if b != nil && l.buffers != nil {
		l.buffers.SendBuffer(f, b, fail)
		return
	}
	l.cfg.Sender.Send(f, data, fail)
}

// Now is the time as Config.Admission has it.
func (l *Layer) Now() int64 { return int64(time.Since(l.base)) }

func (l *Layer) receiveRequest(f sip.Flow, raw string, waited time.Duration, now bool) {
	s := l.servers.Get().(*Server)
	m := &s.msg
	if err := m.Index(raw); err != nil {
		l.recycle(s)
		l.drop(&l.count.malformed, f, raw, err.Error())
		return
	}
	s.Req, s.Flow = m, f
	method := m.Method()
	if method != "ACK" && method != "CANCEL" {
		s.shed = l.shed(s, waited)
	}
	var via sip.Via
	var err error
	if s.shed == "" { // the rest of the inspection is spared; a retransmission is still absorbed
		if p := sip.ValidateVia(m, &via); p != nil {
			l.malformed(s, p)
			return
		}
	} else {
		via, err = m.TopVia()
	}
	if err != nil || !s.arrive(l, &via) {
		l.recycle(s)
		l.drop(&l.count.malformed, f, raw, "no usable Via")
		return
	}
	sh, it := l.Shard(m.CallID()), item{flow: f, request: s}
	if now && sh.runNow(it) || sh.enqueue(it, method == "ACK" && f.Proto.Stream()) {
		return
	}
	if method == "ACK" {
		l.drop(&l.count.overflow, f, raw, "inbox full")
	} else {
		l.unavailable(s, "inbox full")
	}
	l.recycle(s)
}

// The reasons why a request is shed.
const (
	tooMany    = "too many transactions"
	overloaded = "overload: new requests come faster than they can be worked on"
	stale      = "overload: it has waited too long"
)

// shed says why a request that arrives, and may open a transaction, is to be turned
// away; "" if it is not.
func (l *Layer) shed(s *Server, waited time.Duration) (why string) {
	if l.full(s) {
		return tooMany
	}
	if a := l.cfg.Admission; a != nil {
		now := l.Now()
		s.came, s.kernel = now, waited
		l.classify(s)
		if lane := l.lane(s); lane != admission.NoLane {
			e, why, ok := a.Enter(now, lane, s.class, waited)
			if s.since, s.token, s.why = e.Since, e.Token, why; !ok {
				return overloaded
			}
			s.under = lane
			return ""
		}
		if s.token = a.Admit(now, s.class); !s.token {
			return overloaded
		}
	}
	return ""
}

func (l *Layer) lane(s *Server) admission.Lane {
	if l.cfg.UnderWay == nil {
		return admission.NoLane
	}
	return l.cfg.UnderWay(s.Flow, s.Req)
}

// classify asks once for a request: the answer may be given so often only.
func (l *Layer) classify(s *Server) admission.Class {
	if !s.classed {
		s.class, s.classed = l.cfg.Classify(s.Flow, &s.msg), true
	}
	return s.class
}

// full reports whether a request that opens a transaction has to be turned away.
func (l *Layer) full(s *Server) bool {
	limit := l.cfg.MaxTransactions
	open := int(l.open.Load())
	return open >= limit || open >= limit-limit/8 && l.classify(s) != admission.Vital || l.octets.Load() >= int64(l.cfg.MaxOctets)
}

// drop counts and reports a message that gets no answer.
func (l *Layer) drop(c *atomic.Uint64, f sip.Flow, raw, why string) {
	c.Add(1)
	if o := l.cfg.Observer; o != nil {
		o.Dropped(f, raw, why)
	}
}

func (l *Layer) absorbed(f sip.Flow, m *sip.Message) {
	l.count.absorbed.Add(1)
	if o := l.cfg.Observer; o != nil {
		o.Absorbed(f, m.Raw())
	}
}

// recycle takes back a Server that no User has seen.
func (l *Layer) recycle(s *Server) {
	l.giveBack(s)
	l.left(s)
	s.msg.Use(&s.room) // lets go of the text, and of the index of a long message
	s.reset()
	l.servers.Put(s)
}

// Drain refuses new requests outside dialogs (503 with Retry-After) and returns
// when no transaction owes or awaits anything any more, or with ctx's error.
// What lingers for retransmissions is not waited for.
func (l *Layer) Drain(ctx context.Context) error {
	l.draining.Store(true)
	for l.open.Load()+l.unacked.Load() > 0 {
		select {
		case <-l.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select { // for another Drain that waits
	case l.idle <- struct{}{}:
	default:
	}
	return nil
}

// Close stops all shards and waits for them. No callback runs after it; what was
// unfinished is forgotten. It must not be called from a callback.
func (l *Layer) Close() {
	if l.isClosed.Swap(true) {
		return
	}
	for _, sh := range l.shards {
		sh.close()
	}
	l.running.Wait()
	for _, sh := range l.shards {
		sh.stopped()
		sh.past = past{}
	}
	l.memory.close()
}
