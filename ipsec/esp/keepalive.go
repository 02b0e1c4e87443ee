package esp

import (
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// keepAlive is what holds a NAT's binding (RFC 3948 2.3).
var keepAlive = []byte{0xff}

// startKeepAlive sends keep-alives for a set while it is in and has nothing else to
// send. The caller holds e.mu.
func (e *Engine) startKeepAlive(a *association) {
	if e.cfg.KeepAlive <= 0 || a.set.Mode != ipsec.UDPTunnel {
		return
	}
	var sent atomic.Uint64 // packets at the last look
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alive = time.AfterFunc(e.cfg.KeepAlive, func() {
		if n := a.out[0].packets.Load() + a.out[1].packets.Load(); n == sent.Load() {
			_ = e.transmit(a, keepAlive, time.Now())
		} else {
			sent.Store(n)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.removed {
			a.alive.Reset(e.cfg.KeepAlive)
		}
	})
}
