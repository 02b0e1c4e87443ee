package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// Branch is one target of an Exchange: a request on its way and what came back
// (RFC 3261 16.6 to 16.8). It tries its addresses one after the other, each with
// a transaction of its own.
type Branch struct {
	Index int    // in the order of Forward
	URI   string // Request-URI that it was sent with
	Data  any    // the handler's own

	x            *Exchange
	own          *Own
	timeoutAfter time.Duration
	viaParams    string
	share        int       // of Max-Breadth
	edits        sip.Edits // all but Via and Record-Route

	hops   []Hop
	oneHop [1]Hop
	next   int // the hop after the current one
	err    error
	asking context.CancelFunc // ends the resolver's work

	id       string // branch of our Via, new for each attempt
	client   *transaction.Client
	ready    []byte   // rendered already, for readyFor
	readyFor sip.Flow //
	second   sip.Flow // where to go when the flow fails; Remote invalid: nowhere

	began        time.Time // of the current attempt's Timer C
	provisional  bool      // a 101–199 has come
	heard        bool      // anything has come, on the current attempt
	cancelled    bool
	expired      bool // Timer C has cancelled it
	done         bool
	timerC, wait timer
}

// maxDatagram is the size above which a request goes over a stream, when the
// path MTU is not known (RFC 3261 18.1.1).
const maxDatagram = 1300

// Exchange returns the exchange that the branch belongs to.
func (b *Branch) Exchange() *Exchange { return b.x }

// Provisional reports whether a provisional response other than 100 has come.
func (b *Branch) Provisional() bool { return b.provisional }

// Done reports whether the branch has its final response.
func (b *Branch) Done() bool { return b.done }

// Flow returns the flow of the current attempt.
func (b *Branch) Flow() sip.Flow {
	if b.client == nil {
		return sip.Flow{}
	}
	return b.client.Flow()
}

// Cancel ends the branch. An INVITE gets a CANCEL, as soon as a provisional has
// come, and the branch lasts until its final response; another request cannot be
// cancelled (RFC 3261 9.1), its response is awaited.
func (b *Branch) Cancel() {
	if b.done || b.cancelled {
		return
	}
	b.cancelled = true
	b.wait.stop()
	if b.client == nil {
		b.complete(&Final{Branch: b, Status: 487, Err: errCancelled}, false)
		return
	}
	b.client.Cancel(b.x.cancelFields...)
}

var errCancelled = errors.New("cancelled before it was sent")

// ask has the resolver find the addresses.
func (b *Branch) ask(q Query, hop string) {
	x := b.x
	if x.core.cfg.Resolver == nil {
		b.err = fmt.Errorf("%w: %q is neither an address nor a configured host name", ErrUnresolved, hop)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), x.core.cfg.HandlerTimeout)
	b.asking = cancel
	x.core.cfg.Resolver.Resolve(ctx, q, func(hops []Hop, err error) {
		x.Shard.Post(func() { b.answered(hops, err, hop) })
	})
}

// maxHops bounds how many addresses one target may have.
const maxHops = 8

func (b *Branch) answered(hops []Hop, err error, hop string) {
	if b.asking == nil { // it came twice
		return
	}
	b.asking()
	b.asking = nil
	if b.done {
		return
	}
	switch {
	case err != nil:
		b.err = fmt.Errorf("%w: %q: %w", ErrUnresolved, hop, err)
	case len(hops) == 0:
		b.err = fmt.Errorf("%w: %q", ErrUnresolved, hop)
	}
	b.hops = hops[:min(len(hops), maxHops)]
	b.attempt()
}

// attempt sends the request to the next address that can be sent to. Without
// one, the branch ends with the last error.
func (b *Branch) attempt() {
	if b.done || b.asking != nil {
		return
	}
	x := b.x
	for b.next < len(b.hops) {
		hop := &b.hops[b.next]
		b.next++
		flow, ok := x.core.flow(hop)
		if !ok {
			b.err = fmt.Errorf("%w: %v %v %v", ErrNoSocket, hop.Role, hop.Proto, hop.Addr)
			continue
		}
		b.send(flow, hop)
		return
	}
	if b.err == nil {
		b.err = ErrUnresolved
	}
	b.fail(b.err)
}

// send starts a transaction towards hop.
func (b *Branch) send(flow sip.Flow, hop *Hop) {
	x := b.x
	b.id = ""
	b.client, b.heard, b.second = nil, false, sip.Flow{}
	b.ready, b.readyFor = b.write(flow), flow
	switch {
	case flow.Proto == sip.UDP && len(b.ready) > maxDatagram:
		if stream, ok := x.core.stream(hop, flow); ok {
			b.second = flow
			flow, b.ready = stream, nil
		}
	case hop.Flow.Remote.IsValid() && hop.Addr.IsValid():
		b.second, _ = x.core.flow(&Hop{Addr: hop.Addr, Proto: hop.Proto, Role: hop.Role})
	}
	if x.core.obs != nil {
		x.Tracef("forwarding %s to %s over %v", x.Req.Method(), b.URI, flow)
	}
	l := x.core.link(b)
	r := transaction.ClientRequest{
		Method: x.Req.Method(), Branch: b.id, Flow: flow,
		Render: l.render, Response: l.response, Failed: l.failed,
	}
	if b.second.Remote.IsValid() {
		r.Fallback = b.fallback
	}
	b.client = x.Shard.Client(r)
	if r.Method == "INVITE" && x.origin == nil {
		b.began = time.Now()
		if !b.timerC.running() {
			b.timerC.start(x.Shard, x.core.cfg.TimerC, b.timeC)
		}
	}
	if b.timeoutAfter > 0 {
		b.wait.start(x.Shard, b.timeoutAfter, b.silent)
	}
}

// render gives the layer the request for a flow; the first time it is written
// already.
func (b *Branch) render(f sip.Flow) []byte {
	if data := b.ready; data != nil && b.readyFor == f {
		b.ready = nil
		return data
	}
	return b.write(f)
}

// write writes the request for a flow, with Via and Record-Route.
func (b *Branch) write(f sip.Flow) []byte {
	x := b.x
	// Via and Record-Route are one string, the branch a piece of it.
	var buf [512]byte
	text := append(append(buf[:0], "SIP/2.0/"...), f.Proto.String()...)
	text = append(append(text, ' '), x.core.sentBy(f)...)
	text = append(text, ";branch="...)
	id := len(text)
	if b.id != "" {
		text = append(text, b.id...)
	} else {
		mark := x.loop.mark()
		text = append(sip.AppendBranch(text), mark[:]...)
	}
	idEnd := len(text)
	text = append(text, b.viaParams...)
	via := len(text)
	if b.own != nil {
		text = b.own.record(text, x, f)
	}
	all := string(text)
	if b.id == "" {
		b.id = all[id:idEnd]
	}
	e := b.edits // what is added to it here is not seen by the next attempt
	e.Prepend(sip.HVia, all[:via])
	if via < len(all) {
		e.Prepend(sip.HRecordRoute, all[via:])
	}
	if f.Proto.Stream() {
		e.EnsureLength()
	}
	return x.Req.AppendTo(make([]byte, 0, len(x.Req.Raw())+len(all)+192), &e)
}

// fallback is where to go when the flow did not work: back to the datagram
// (TR-08), or to the address beside a flow that is gone.
func (b *Branch) fallback(failed sip.Flow, err error) (sip.Flow, bool) {
	f := b.second
	b.second = sip.Flow{}
	if !f.Remote.IsValid() {
		return f, false
	}
	b.x.Tracef("%v failed (%v): now over %v", failed, err, f)
	return f, true
}

// failed hears that an attempt got no final response.
func (b *Branch) failed(c *transaction.Client, err error) {
	if b.done || c != b.client {
		return
	}
	b.wait.stop()
	if errors.Is(err, transaction.ErrTimeout) && b.expired {
		b.fail(err)
		return
	}
	if b.again() {
		b.x.Tracef("%v failed (%v): trying the next address", c.Flow(), err)
		b.attempt()
		return
	}
	b.fail(err)
}

// again reports whether another address may be tried: there is one, nobody has
// cancelled, and whoever sent the request still waits for the answer.
func (b *Branch) again() bool {
	if b.next >= len(b.hops) || b.cancelled || b.provisional || b.x.done {
		return false
	}
	return b.x.awaited()
}

// silent is Target.Timeout: the address has not answered.
func (b *Branch) silent() {
	b.wait.on = false
	if b.done || b.heard {
		return
	}
	// The transaction goes on by itself; if it still brings a 2xx, that counts.
	b.client.Cancel()
	b.x.Tracef("no response in %v from %v", b.timeoutAfter, b.client.Flow())
	if b.again() {
		b.attempt()
		return
	}
	b.fail(fmt.Errorf("%w: nothing heard in %v", transaction.ErrTimeout, b.timeoutAfter))
}

// timeC is Timer C (RFC 3261 16.8): it was set long ago, and what has come in
// the meantime only moved its end.
func (b *Branch) timeC() {
	b.timerC.on = false
	if b.done {
		return
	}
	if left := b.x.core.cfg.TimerC - time.Since(b.began); left > 0 {
		b.timerC.start(b.x.Shard, left, b.timeC)
		return
	}
	b.x.core.stats.timerC.Add(1)
	b.x.Trace("Timer C: the callee has been silent for too long")
	b.expired = true
	if b.heard && !b.cancelled {
		b.Cancel()
		return
	}
	b.fail(transaction.ErrTimeout)
}

// fail ends the branch without a response.
func (b *Branch) fail(err error) {
	if b.done {
		return
	}
	if b.x.core.obs != nil {
		b.x.Tracef("branch %d to %s failed: %v", b.Index, b.URI, err)
	}
	b.complete(&Final{Branch: b, Status: statusOf(err), Err: err}, true)
}

// complete ends the branch. f counts among the finals if keep is set.
func (b *Branch) complete(f *Final, keep bool) {
	if b.done {
		return
	}
	x := b.x
	b.done = true
	b.timerC.stop()
	b.wait.stop()
	if b.asking != nil {
		b.asking()
		b.asking = nil
	}
	x.live--
	x.lent -= b.share
	x.completed++
	if keep && f != nil {
		x.finals = append(x.finals, f)
	}
	if x.done {
		x.end()
		return
	}
	x.check()
}
