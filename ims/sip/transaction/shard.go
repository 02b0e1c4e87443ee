package transaction

import (
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// Shard is all that belongs to its Call-IDs: their transactions and timers. One
// goroutine at a time runs it, its own or, when there is nothing to do, that of who
// has read a message (runNow). Its methods, except Post, are for callbacks there.
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
	octets  []byte   // a record under construction
	later   []func() // run when the event in hand is done
	pace    pace

	clock *time.Timer // fires into loop
	armed int64       // when it will; 0: not armed
	seen  int64       // now, when it was last asked
	batch []item      // the inbox's other backing array

	mu       sync.Mutex // of what follows
	in       []item
	messages int        // items of in that are messages
	running  bool       // whoever has set it owns the shard until he clears it
	again    bool       // loop has found it running
	ended    *sync.Cond // running was cleared after close
	closed   bool

	wake chan struct{}
	quit chan struct{}
}

// item is one event in a shard's inbox: a request, a response or a function.
type item struct {
	flow     sip.Flow
	request  *Server
	response *sip.Message
	branch   string // of the response's top Via
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
	sh.ended = sync.NewCond(&sh.mu)
	sh.clock = time.NewTimer(time.Hour)
	sh.clock.Stop()
	sh.past.init(sh)
	return sh
}

// Layer returns the layer that the shard belongs to.
func (sh *Shard) Layer() *Layer { return sh.layer }

// Post runs fn on the shard, after what is already queued. It never blocks and
// may be called from any goroutine. After Close it does nothing.
func (sh *Shard) Post(fn func()) { sh.put(item{fn: fn}, 0) }

// PostNow is Post for whoever holds no lock and has the time to run fn himself, which
// spares a switch of goroutines: where the shard rests, fn has run when PostNow returns.
// What is sent meanwhile is for the caller to gather (Holder). more says that he brings
// more at once: with several shards only the last of it is run by him, the others may be
// at work at the same time.
func (sh *Shard) PostNow(fn func(), more bool) {
	if more && len(sh.layer.shards) > 1 || !sh.runNow(item{fn: fn}) {
		sh.Post(fn)
	}
}

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
	first := len(sh.in) == 1 && !sh.running // else whoever runs it will look
	sh.mu.Unlock()
	if first {
		sh.poke()
	}
	return true
}

func (sh *Shard) poke() {
	select {
	case sh.wake <- struct{}{}:
	default:
	}
}

// loop is the shard's goroutine.
func (sh *Shard) loop() {
	defer sh.clock.Stop()
	fired := false
	for {
		select {
		case <-sh.wake:
		case <-sh.clock.C:
			fired = true
		case <-sh.quit:
			return
		}
		sh.mu.Lock()
		if sh.closed || sh.running {
			sh.again = true
			sh.mu.Unlock()
			continue
		}
		sh.running = true
		if fired {
			fired, sh.armed = false, 0
		}
		for more := true; more; {
			n := sh.take()
			sh.mu.Unlock()
			if sh.layer.cfg.Admission != nil {
				sh.pace.begin(sh.layer.Now())
			}
			sh.hold()
			for i := range sh.batch {
				sh.handleAt(i)
				if i%heldFor == heldFor-1 {
					sh.letOut()
					sh.hold()
				}
			}
			if sh.layer.cfg.Admission != nil {
				sh.pace.end(sh.layer.Now())
			}
			sh.layer.count.queued.Add(-int64(n))
			if cap(sh.batch) > 4*sh.layer.cfg.Inbox {
				sh.batch = nil
			}
			sh.expire()
			sh.letOut()
			sh.arm()
			sh.mu.Lock()
			more = len(sh.in) > 0 && !sh.closed
		}
		sh.leave()
	}
}

// take makes the inbox the batch, and returns how many messages are in it. The caller
// holds mu.
func (sh *Shard) take() (messages int) {
	sh.batch, sh.in = sh.in, sh.batch[:0]
	messages, sh.messages = sh.messages, 0
	return messages
}

func (sh *Shard) handleAt(i int) {
	it := sh.batch[i]
	sh.batch[i] = item{}
	sh.handle(it)
}

// leave gives up running. The caller holds mu, leave releases it.
func (sh *Shard) leave() {
	sh.running = false
	wake := sh.again || len(sh.in) > 0
	sh.again = false
	if sh.closed {
		sh.ended.Broadcast()
		wake = false
	}
	sh.mu.Unlock()
	if wake {
		sh.poke()
	}
}

// arm sets the clock. One that is set too early only wakes the shard once for nothing;
// resetting it with every transaction would cost more.
func (sh *Shard) arm() {
	sh.layer.count.timers.Add(int64(sh.timers.unreported()))
	if when, ok := sh.timers.next(); ok && (sh.armed == 0 || when < sh.armed) {
		sh.clock.Reset(time.Duration(when - sh.now()))
		sh.armed = when
	}
}

// fewPosts is how many functions that a message has led to are run behind it at once.
const fewPosts = 8

// runNow handles an event on the goroutine of who has read it, which spares a switch
// of goroutines. It reports false when there is something else to do before it. What
// the shard sends is gathered by the caller, see transport.NowHandler.
func (sh *Shard) runNow(it item) bool {
	sh.mu.Lock()
	if sh.running || sh.closed || len(sh.in) > 0 {
		sh.mu.Unlock()
		return false
	}
	sh.running = true
	sh.mu.Unlock()
	if sh.layer.cfg.Admission != nil {
		sh.pace.begin(sh.layer.Now())
	}
	sh.handle(it)
	if when, ok := sh.timers.next(); ok && when <= sh.seen {
		sh.expire()
	}
	if sh.layer.cfg.Admission != nil {
		sh.pace.end(sh.layer.Now())
	}
	sh.arm()
	sh.mu.Lock()
	if n := len(sh.in); n > 0 && n <= fewPosts && !sh.closed {
		n = sh.take()
		sh.mu.Unlock()
		for i := range sh.batch {
			sh.handleAt(i)
		}
		sh.layer.count.queued.Add(-int64(n))
		sh.arm()
		sh.mu.Lock()
	}
	sh.leave()
	return true
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
		sh.response(it.flow, it.response, it.branch)
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
func (sh *Shard) now() int64 {
	sh.seen = int64(time.Since(sh.base))
	return sh.seen
}

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

// close stops the shard; stopped waits for whoever still runs it.
func (sh *Shard) close() {
	sh.mu.Lock()
	sh.closed = true
	sh.mu.Unlock()
	close(sh.quit)
}

func (sh *Shard) stopped() {
	sh.mu.Lock()
	for sh.running {
		sh.ended.Wait()
	}
	sh.mu.Unlock()
}
