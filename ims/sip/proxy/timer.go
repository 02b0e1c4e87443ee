package proxy

import (
	"time"

	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// timer is a shard's timer that knows whether it runs. The zero value is
// stopped. The function that it calls clears on first of all.
type timer struct {
	t  transaction.Timer
	on bool
}

func (t *timer) running() bool { return t.on }

// startWith has f called with arg after d: a function of the package, which spares the
// allocation of a closure.
func (t *timer) startWith(sh *transaction.Shard, d time.Duration, f func(arg any), arg any) {
	t.stop()
	t.on = true
	t.t = sh.AfterWith(d, f, arg)
}

func (t *timer) stop() {
	if t.on {
		t.t.Stop()
		t.on = false
	}
}
