package dialog

import (
	"time"

	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// timer is a shard's timer that knows whether it runs. The zero value is stopped.
type timer struct {
	t  transaction.Timer
	on bool
}

func (t *timer) start(sh *transaction.Shard, d time.Duration, f func()) {
	t.stop()
	t.on = true
	t.t = sh.After(d, func() {
		t.on = false
		f()
	})
}

func (t *timer) stop() {
	if t.on {
		t.t.Stop()
		t.on = false
	}
}

// resend sends something again until it is stopped or 64·T1 have passed.
type resend struct {
	timer
	shard    *transaction.Shard
	interval time.Duration
	limit    time.Duration // of the interval; 0: none
	left     time.Duration
	send     func()
	gaveUp   func()
}

// startResend begins; the first sending was the caller's.
func startResend(sh *transaction.Shard, t transaction.Timers, limit time.Duration, send, gaveUp func()) *resend {
	r := &resend{shard: sh, interval: t.T1, limit: limit, left: 64 * t.T1, send: send, gaveUp: gaveUp}
	r.arm()
	return r
}

func (r *resend) arm() {
	wait := min(r.interval, r.left)
	r.left -= wait
	r.timer.start(r.shard, wait, func() {
		if r.left <= 0 {
			r.gaveUp()
			return
		}
		r.interval *= 2
		if r.limit > 0 {
			r.interval = min(r.interval, r.limit)
		}
		r.arm() // before send, which may stop it
		r.send()
	})
}
