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
	mayRing      time.Duration // from rang on; 0: for ever
	viaParams    string
	share        int       // of Max-Breadth
	edits        sip.Edits // all but Via and Record-Route

	hops   []Hop
	oneHop [1]Hop
	next   int // the hop after the current one
	err    error
	asking context.CancelFunc // ends the resolver's work

	id     string // branch of our Via, new for each attempt
	client *transaction.Client
	ready  *sip.Buffer // rendered already, for the flow that is tried first
	second *sip.Flow   // where to go when the flow fails; nil: nowhere

	began        int64 // of the current attempt's Timer C, as Layer.Now has it
	rang         int64 // when the first 101–199 has come
	provisional  bool  // a 101–199 has come
	heard        bool  // anything has come, on the current attempt
	cancelled    bool
	expired      bool // Timer C has cancelled it
	done         bool
	timerC, wait timer
}

// Exchange returns the exchange that the branch belongs to.
func (b *Branch) Exchange() *Exchange { return b.x }

// Provisional reports whether a provisional response other than 100 has come.
func (b *Branch) Provisional() bool { return b.provisional }

// Heard reports whether anything, 100 included, has come from the address that is
// being tried.
func (b *Branch) Heard() bool { return b.heard }

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
	b.cancelled = true // Target.Timeout still runs, for a next hop that is silent
	if b.client == nil {
		b.complete(&Final{Branch: b, Status: 487, Err: errCancelled}, false)
		return
	}
	b.client.Cancel(b.x.cancelFields...)
}

var errCancelled = errors.New("cancelled before it was sent")

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

func branchSilent(b any) { b.(*Branch).silent() }
func branchTimeC(b any)  { b.(*Branch).timeC() }

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
	now, why := b.x.core.layer.Now(), "Timer C: the callee has been silent for too long"
	left := b.x.core.cfg.TimerC - time.Duration(now-b.began)
	if b.provisional && b.mayRing > 0 && !b.cancelled {
		if rings := b.mayRing - time.Duration(now-b.rang); rings < left {
			left, why = rings, "the callee has rung for too long"
		}
	}
	if left > 0 {
		b.timerC.startWith(b.x.Shard, left, branchTimeC, b)
		return
	}
	b.x.core.stats.timerC.Add(1)
	b.x.Trace(why)
	b.expired = true
	if b.heard && !b.cancelled && !b.client.Done() {
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
	if b.x.Tracing() {
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
