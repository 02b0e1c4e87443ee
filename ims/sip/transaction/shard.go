package transaction

import (
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// Shard is one goroutine with all it owns: the transactions of its Call-IDs and
// their timers. Its methods, except Post, are for callbacks on that goroutine.
type Shard struct {
	layer   *Layer
	servers table
	clients table
	timers  heap
	base    time.Time // timers count from here
	free    []*tx
	idle    []*timer // of After, for reuse
	past    past
	scratch []byte   // a key under construction
	later   []func() // run when the event in hand is done
	pace    pace

	mu       sync.Mutex // of what follows
	in       []item
	messages int // items of in that are messages
	closed   bool

	wake chan struct{}
	quit chan struct{}
}

// item is one event in a shard's inbox: a request, a response or a function.
type item struct {
	flow     sip.Flow
	request  *Server
	response *sip.Message
	fn       func()
}

// maxFree bounds the records, of transactions and of timers, that a shard keeps for
// reuse.
const maxFree = 1024

func newShard(l *Layer) *Shard {
	sh := &Shard{
		layer: l, base: time.Now(), servers: table{}, clients: table{},
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	sh.past.init(sh)
	return sh
}

// Layer returns the layer that the shard belongs to.
func (sh *Shard) Layer() *Layer { return sh.layer }

// Post runs fn on the shard, after what is already queued. It never blocks and
// may be called from any goroutine. After Close it does nothing.
func (sh *Shard) Post(fn func()) { sh.put(item{fn: fn}, 0) }

// enqueue queues a message, or reports false when too many wait. patient
// messages came over a stream, where nobody will repeat them.
func (sh *Shard) enqueue(it item, patient bool) bool {
	limit := sh.layer.cfg.Inbox
	if patient {
		limit *= 4
	}
	return sh.put(it, limit)
}

func (sh *Shard) put(it item, limit int) bool {
	sh.mu.Lock()
	if sh.closed || limit > 0 && sh.messages >= limit {
		sh.mu.Unlock()
		return false
	}
	if limit > 0 {
		sh.messages++
		sh.layer.count.queued.Add(1)
	}
	sh.in = append(sh.in, it)
	first := len(sh.in) == 1
	sh.mu.Unlock()
	if first {
		select {
		case sh.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// loop is the shard's goroutine: one time.Timer, one inbox taken in batches.
func (sh *Shard) loop() {
	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	var armed int64 // when the clock will fire; 0: not armed
	clock.Stop()
	var batch []item
	for {
		select {
		case <-sh.wake:
		case <-clock.C:
			armed = 0
		case <-sh.quit:
			return
		}
		sh.mu.Lock()
		batch, sh.in = sh.in, batch[:0]
		n := sh.messages
		sh.messages = 0
		sh.mu.Unlock()
		if sh.layer.cfg.Admission != nil {
			sh.pace.begin(sh.layer.Now())
		}
		sh.hold()
		for i := range batch {
			it := batch[i]
			batch[i] = item{}
			sh.handle(it)
			if i%heldFor == heldFor-1 {
				sh.letOut()
				sh.hold()
			}
		}
		if sh.layer.cfg.Admission != nil {
			sh.pace.end(sh.layer.Now())
		}
		sh.layer.count.queued.Add(-int64(n))
		if cap(batch) > 4*sh.layer.cfg.Inbox {
			batch = nil
		}
		sh.expire()
		sh.letOut()
		sh.layer.count.timers.Add(int64(sh.timers.unreported()))

		// A clock that is set too early only wakes the shard once for nothing;
		// resetting it with every transaction would cost more.
		if when, ok := sh.timers.next(); ok && (armed == 0 || when < armed) {
			clock.Reset(time.Duration(when - sh.now()))
			armed = when
		}
	}
}

// heldFor is for how many events what they send is gathered.
const heldFor = 32

func (sh *Shard) hold() {
	if h := sh.layer.holder; h != nil {
		h.Hold()
	}
}

func (sh *Shard) letOut() {
	if h := sh.layer.holder; h != nil {
		h.Release()
	}
}

func (sh *Shard) handle(it item) {
	switch {
	case it.request != nil:
		sh.request(it.request)
	case it.response != nil:
		sh.response(it.flow, it.response)
	default:
		it.fn()
	}
	sh.runLater()
}

// runLater runs what an event has put off until its own call stack is gone.
func (sh *Shard) runLater() {
	for i := 0; i < len(sh.later); i++ {
		fn := sh.later[i]
		sh.later[i] = nil
		fn()
	}
	sh.later = sh.later[:0]
}

// now is the time since the shard began, in nanoseconds.
func (sh *Shard) now() int64 { return int64(time.Since(sh.base)) }

// expire runs the timers that are due.
func (sh *Shard) expire() {
	if len(sh.timers.entries) == 0 {
		return
	}
	now := sh.now()
	for {
		t := sh.timers.pop(now)
		if t == nil {
			return
		}
		switch t.what {
		case timerFunc:
			fn, arg := t.fn, t.arg
			sh.recycleTimer(t)
			fn(arg)
		case timerRetransmit:
			sh.layer.timerFired(t.tx, evRetransmit)
		case timerEnd:
			sh.layer.timerFired(t.tx, evEnd)
		case timerPast:
			sh.past.expire(now)
		}
		sh.runLater()
	}
}

// Timer is a timer made by After, for use on the shard alone.
type Timer struct {
	sh  *Shard
	t   *timer
	use uint32
}

// Stop prevents the timer from firing and reports whether it did. The zero Timer
// is stopped.
func (t Timer) Stop() bool {
	if t.t == nil || t.t.use != t.use || !t.t.running() {
		return false
	}
	t.sh.timers.remove(t.t)
	t.sh.recycleTimer(t.t)
	return true
}

// After runs fn on the shard when d has passed.
func (sh *Shard) After(d time.Duration, fn func()) Timer { return sh.AfterWith(d, call, fn) }

func call(fn any) { fn.(func())() }

// AfterWith runs fn(arg) on the shard when d has passed. With a function of the
// package and a pointer it allocates nothing, which a method of arg would.
func (sh *Shard) AfterWith(d time.Duration, fn func(arg any), arg any) Timer {
	var t *timer
	if n := len(sh.idle); n > 0 {
		t, sh.idle = sh.idle[n-1], sh.idle[:n-1]
	} else {
		t = &timer{what: timerFunc}
	}
	t.fn, t.arg = fn, arg
	sh.timers.set(t, sh.now()+int64(d))
	return Timer{sh, t, t.use}
}

// recycleTimer takes back a timer that runs no more. Who still holds it, holds an
// earlier use.
func (sh *Shard) recycleTimer(t *timer) {
	t.fn, t.arg = nil, nil
	t.use++
	if len(sh.idle) < maxFree {
		sh.idle = append(sh.idle, t)
	}
}

func (sh *Shard) close() {
	sh.mu.Lock()
	sh.closed = true
	sh.mu.Unlock()
	close(sh.quit)
}
