package esp

import (
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// keepAlive is what holds a NAT's binding (RFC 3948 2.3).
var keepAlive = []byte{0xff}

// startKeepAlive sends a keep-alive whenever a set has sent nothing for a while.
func (e *Engine) startKeepAlive(a *association) {
	every := e.cfg.KeepAlive
	if every <= 0 || a.set.Mode != ipsec.UDPTunnel {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alive = time.AfterFunc(every, func() {
		wait := every - a.silent(time.Now())
		if wait <= 0 {
			_ = e.transmit(a, keepAlive, time.Now())
			wait = every
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.removed {
			a.alive.Reset(wait)
		}
	})
}

// silent is for how long a set has sent nothing.
func (a *association) silent(now time.Time) time.Duration {
	return now.Sub(a.engine.at(max(a.out[0].last.Load(), a.out[1].last.Load())))
}
