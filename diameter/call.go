package diameter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// An Answer is what came back for a request.
type Answer struct {
	*Message
	Peer string // Origin-Host of the peer that the answer came through
}

// More reports whether further messages came with the answer. They are handled next, on
// the same goroutine.
func (a *Answer) More() bool { return a.more }

// A DoOption changes how Do treats a request.
type DoOption uint8

// HostIsHint says that the request's Destination-Host was learned, not demanded:
// it is left out when the request goes to a peer other than that host because
// the host is down, and when an agent cannot deliver to it.
const HostIsHint DoOption = 1

// maxTries bounds how often one request is sent.
const maxTries = 4

// A call is a request under way.
type call struct {
	n        *Node
	app      uint32
	command  uint32
	done     func(*Answer, error)
	start    time.Time
	deadline time.Time
	finished atomic.Bool
	answer   Answer // of who finished it

	// Of deadlines, and guarded by its lock.
	timer         *time.Timer
	listed        bool
	before, after *call

	mu         sync.Mutex
	m          *Message
	hint       bool
	tried      []*conn
	tried1     [1]*conn // most calls need no more
	conn       *conn    // that it was last sent on
	hop        uint32
	unanswered bool // it was sent and no answer of any kind came: further copies carry T
}

// Do sends a request and calls done once, with the answer or with the reason why
// there is none, at the latest at the deadline. The zero deadline means
// Config.RequestTimeout. Do never blocks, and done is not called before it
// returns; see the package comment for where done runs.
//
// The request goes to the peer that its Destination-Host names when that peer is
// connected, else to the first configured peer that is up and speaks the
// application. When that one stops answering or goes away, the request is sent
// again to another with the T bit (RFC 6733 5.5.4).
//
// err is nil only for an answer with a result of the 2xxx class. Otherwise it is
// a *ResultError or a *ProtocolError, both with the answer, or a
// *TransportError, *TimeoutError or ErrClosed without one.
func (n *Node) Do(deadline time.Time, m *Message, done func(*Answer, error), opts ...DoOption) {
	n.start(deadline, m, done, opts)
}

// Call is Do for callers that may block. When ctx ends first, its error is
// returned; the context's deadline, if any, is the request's.
func (n *Node) Call(ctx context.Context, m *Message, opts ...DoOption) (*Answer, error) {
	type result struct {
		a   *Answer
		err error
	}
	ch := make(chan result, 1)
	deadline, _ := ctx.Deadline()
	k := n.start(deadline, m, func(a *Answer, err error) { ch <- result{a, err} }, opts)
	select {
	case r := <-ch:
		return r.a, r.err
	case <-ctx.Done():
		k.finish(nil, "", fmt.Errorf("diameter: request abandoned: %w", ctx.Err()))
		r := <-ch
		return r.a, r.err
	}
}

func (n *Node) start(deadline time.Time, m *Message, done func(*Answer, error), opts []DoOption) *call {
	now := time.Now()
	if deadline.IsZero() {
		deadline = now.Add(n.cfg.RequestTimeout)
	}
	k := &call{n: n, app: m.Application, command: m.Command, m: m, done: done, start: now, deadline: deadline, hint: slices.Contains(opts, HostIsHint)}
	if m.EndToEnd == 0 {
		m.EndToEnd = n.endToEnd.Add(1)
	}
	n.mu.Lock()
	closing := n.closing
	n.mu.Unlock()
	switch {
	case closing:
		k.finishLater(ErrClosed)
		return k
	case !m.IsRequest():
		k.finishLater(errors.New("diameter: Do was given an answer"))
		return k
	case m.Len() > ceilingMaxMessage:
		k.finishLater(fmt.Errorf("diameter: request of %d octets is over the bound of %d", m.Len(), ceilingMaxMessage))
		return k
	}
	k.tried = k.tried1[:0]
	// Under the lock: a timer that fires at once waits until everything is set.
	k.mu.Lock()
	n.deadlines.add(k)
	err := k.sendLocked()
	k.mu.Unlock()
	if err != nil {
		k.finishLater(err)
	}
	return k
}

// sendLocked picks a connection that was not tried and queues the request there.
func (k *call) sendLocked() error {
	var last error
	for len(k.tried) < maxTries {
		host := k.m.Text(avp.DestinationHost, 0)
		c := k.n.route(route{app: k.app, host: host, hint: k.hint}, k.tried)
		if c == nil {
			break
		}
		k.tried = append(k.tried, c)
		if k.hint && host != "" && !strings.EqualFold(host, c.host) && k.n.isPeer(host) {
			k.dropHostLocked()
		}
		if last = c.send(k); last == nil {
			return nil
		}
	}
	if last == nil {
		last = k.n.unroutable(k.m)
	}
	return last
}

// dropHostLocked leaves Destination-Host out of further copies.
func (k *call) dropHostLocked() {
	m := *k.m
	m.AVPs = slices.DeleteFunc(slices.Clone(m.AVPs), func(a *AVP) bool {
		return a.Code == avp.DestinationHost && a.VendorID == 0
	})
	var left []byte
	for a, rest, ok := m.body.Next(); ok; a, rest, ok = rest.Next() {
		if a.Code != avp.DestinationHost || a.Vendor != 0 {
			left = appendRaw(left, a)
		}
	}
	m.body = Run(left)
	k.m = &m
}

// send queues the request on c. It is called with k.mu held.
func (c *conn) send(k *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state != Okay && c.state != Suspect && c.state != Reopen:
		return &TransportError{Peer: c.host, Reason: "connection is " + c.state.String(), Err: c.err}
	case len(c.pending) >= c.n.cfg.MaxPending:
		return &TransportError{Peer: c.host, Reason: fmt.Sprintf("%d requests are unanswered; the peer is overloaded", len(c.pending))}
	case len(c.queue)+k.m.Len() > c.n.cfg.MaxQueue:
		return &TransportError{Peer: c.host, Reason: fmt.Sprintf("%d octets wait to be written; the peer does not read", len(c.queue))}
	}
	c.hopByHop++
	for c.pending[c.hopByHop] != nil {
		c.hopByHop++
	}
	flags := k.m.Flags
	if k.unanswered {
		flags |= FlagRetransmitted
	}
	c.queue = k.m.appendAs(c.queue, flags, c.hopByHop)
	c.pending[c.hopByHop] = k
	k.conn, k.hop = c, c.hopByHop
	c.signalWriter()
	return nil
}

// finish ends the call once, m being nil when no answer came. Whoever comes second
// is ignored.
func (k *call) finish(m *Message, peer string, err error) {
	if !k.finished.CompareAndSwap(false, true) {
		return
	}
	var a *Answer
	if m != nil {
		k.answer = Answer{m, peer}
		a = &k.answer
	}
	k.n.deadlines.remove(k)
	k.mu.Lock()
	c, hop := k.conn, k.hop
	k.mu.Unlock()
	if c != nil {
		c.mu.Lock()
		if c.pending[hop] == k {
			delete(c.pending, hop)
		}
		c.checkDrainedLocked()
		c.mu.Unlock()
	}
	k.done(a, err)
}

// finishLater ends the call from a goroutine of its own, for Do's caller may
// hold locks that done takes.
func (k *call) finishLater(err error) { go k.finish(nil, "", err) }

func (k *call) expired() {
	k.mu.Lock()
	peer := "any peer"
	if k.conn != nil {
		peer = k.conn.host
	}
	k.mu.Unlock()
	k.finish(nil, "", &TimeoutError{Peer: peer, After: k.deadline.Sub(k.start)})
}

// lost is called when the connection that carried the request is down.
func (k *call) lost(c *conn, cause error) {
	if k.finished.Load() {
		return
	}
	k.n.mu.Lock()
	closing := k.n.closing
	k.n.mu.Unlock()
	if closing {
		k.finish(nil, "", ErrClosed)
		return
	}
	k.mu.Lock()
	k.unanswered = true
	err := k.sendLocked()
	k.mu.Unlock()
	if err != nil {
		k.finish(nil, "", &TransportError{Peer: c.host, Reason: "connection was lost before the answer came, and no other peer is up", Err: cause})
		return
	}
	k.recheck()
}

// suspect is called when the connection that carries the request went silent.
// Without another peer the request stays where it is, for the connection may
// recover.
func (k *call) suspect(c *conn, hop uint32) {
	k.mu.Lock()
	other := k.n.route(route{app: k.app, host: k.m.Text(avp.DestinationHost, 0), hint: k.hint}, k.tried)
	if other != nil && other.State() == Okay && len(k.tried) < maxTries {
		k.unanswered = true
		if k.sendLocked() == nil {
			k.mu.Unlock()
			k.recheck()
			return
		}
	}
	c.mu.Lock()
	stays := c.err == nil
	if stays {
		c.pending[hop] = k
	}
	c.mu.Unlock()
	k.mu.Unlock()
	if !stays {
		k.lost(c, errWatchdog)
		return
	}
	k.recheck()
}

// recheck removes a call from its connection that finished while it moved there.
func (k *call) recheck() {
	if !k.finished.Load() {
		return
	}
	k.mu.Lock()
	c, hop := k.conn, k.hop
	k.mu.Unlock()
	c.mu.Lock()
	if c.pending[hop] == k {
		delete(c.pending, hop)
	}
	c.checkDrainedLocked()
	c.mu.Unlock()
}

// NewRequest makes a request of one of the node's applications with the AVPs
// that each of them begins with: Session-Id, the application, Auth-Session-State
// where it is stateless, Origin-Host and Origin-Realm.
func (n *Node) NewRequest(application, command uint32) *Message {
	m := NewRequest(application, command)
	m.SetEncoded(n.cfg.Dictionary, n.AppendRequest(nil, application, ""))
	return m
}

// AppendRequest appends the AVPs that NewRequest begins a request with. An empty
// session is replaced by a new one.
func (n *Node) AppendRequest(b []byte, application uint32, session string) []byte {
	if session != "" {
		b = AppendString(b, n.cfg.Dictionary.sessionID, session)
	} else {
		var buf [300]byte // an Origin-Host has at most 255 octets
		b = AppendString(b, n.cfg.Dictionary.sessionID, n.appendSessionID(buf[:0]))
	}
	return append(append(b, n.heads[application]...), n.origin...)
}

// encodeHeads encodes once what never varies: the application's own AVPs and the
// node's identity.
func (n *Node) encodeHeads() {
	n.heads = make(map[uint32][]byte)
	for _, a := range n.cfg.Applications {
		b := appendAVP(nil, a.avp())
		if a.Stateless {
			b = appendAVP(b, newAVP(avp.AuthSessionState, datatype.Enumerated(1))) // NO_STATE_MAINTAINED
		}
		n.heads[a.ID] = b
	}
	n.origin = appendAVP(nil, newAVP(avp.OriginHost, datatype.DiameterIdentity(n.cfg.OriginHost)))
	n.origin = appendAVP(n.origin, newAVP(avp.OriginRealm, datatype.DiameterIdentity(n.cfg.OriginRealm)))
}
