package proxy

import (
	"fmt"
	"time"

	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// GiveUpSilent does now what Target.Timeout does later, for a handler that knows
// more about its peers than their silence: each open branch from which nothing
// has come goes on to its next address, or counts as 408. after is how long that
// took, for the trace. It reports whether a branch still waits for a first
// response, at a next address.
func (x *Exchange) GiveUpSilent(after time.Duration) (waiting bool) {
	if x.done {
		x.late("GiveUpSilent")
		return false
	}
	x.live++ // so that OnBest sees all of them as they are in the end
	for _, b := range x.branches {
		if b.done || b.heard {
			continue
		}
		if b.client != nil {
			b.client.Cancel() // a 2xx that comes all the same still counts
		}
		if b.client != nil && b.again() {
			b.attempt()
			waiting = waiting || !b.done && !b.heard
			continue
		}
		b.fail(fmt.Errorf("%w: nothing heard in %v", transaction.ErrTimeout, after))
	}
	x.live--
	x.check()
	return waiting
}
