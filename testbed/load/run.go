package load

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"
)

// offer is the load at the moment.
type offer struct {
	mix      Mix
	arrivals *poisson // nil in a closed loop
	start    time.Duration
	due      time.Duration // when the next is due, never for none
	busy     int           // of a closed loop
	running  int
	left     int // operations to begin, negative for any number
	rec      *recorder
	over     chan struct{} // closed when no more begin
	done     chan struct{} // closed when nothing of it is under way any more
	ended    bool
}

func (e *engine) newOffer(mix Mix, busy, left int, rec *recorder) *offer {
	return &offer{mix: mix, busy: busy, left: left, rec: rec, over: make(chan struct{}), done: make(chan struct{})}
}

// begin makes an offer the current one.
func (e *engine) begin(o *offer) {
	e.lock()
	o.start, o.due = e.now, never
	if o.arrivals != nil {
		o.later()
	}
	e.load = o
	e.unlock()
}

// later sets when the next operation is due.
func (o *offer) later() {
	if at := o.arrivals.next(); at < 0 {
		o.due = never
	} else {
		o.due = o.start + at
	}
}

// end lets no more operations begin.
func (e *engine) end(o *offer) {
	e.lock()
	e.stop(o)
	e.unlock()
}

func (e *engine) stop(o *offer) {
	if o.ended {
		return
	}
	o.ended = true
	e.load = nil
	close(o.over)
	if o.running == 0 {
		close(o.done)
	}
}

// release notes that an operation of an offer is over.
func (o *offer) release() {
	if o.running--; o.running == 0 && o.ended {
		close(o.done)
	}
}

// arrive begins what is due in an open loop.
func (e *engine) arrive() {
	for o := e.load; o != nil && o.arrivals != nil && o.due <= e.now; o = e.load {
		if o.left == 0 {
			e.stop(o)
			return
		}
		o.left--
		due := o.due
		o.later()
		kind := o.mix.pick(e.rand)
		e.second.tallies[kind].attempts++
		if !e.try(o, kind, due) {
			o.rec.tallies[kind].skipped++
		}
	}
}

// fill begins operations in a closed loop.
func (e *engine) fill() {
	o := e.load
	if o == nil || o.arrivals != nil {
		return
	}
	for o.running < o.busy && o.left != 0 {
		kind, ok := e.tryAny(o)
		if !ok {
			if o.running == 0 { // and nobody ever will
				e.stop(o)
			}
			return
		}
		e.second.tallies[kind].attempts++
		o.left--
	}
	if o.left == 0 {
		e.stop(o)
	}
}

// tryAny begins an operation of the mix, or, where no phone can begin what was picked, of
// what else there is of it.
func (e *engine) tryAny(o *offer) (Scenario, bool) {
	for mix := o.mix; mix.sum() > 0; {
		kind := mix.pick(e.rand)
		if e.try(o, kind, e.now) {
			return kind, true
		}
		mix[kind] = 0
	}
	return 0, false
}

// try begins an operation with phones that do nothing, false if there are none.
func (e *engine) try(o *offer, kind Scenario, due time.Duration) bool {
	from := &e.on
	if kind == Register {
		from = &e.off
	}
	p := from.pop()
	if p == nil {
		return false
	}
	var to *phone
	if kind.two() {
		if to = e.on.pop(); to == nil {
			e.on.push(p)
			return false
		}
	}
	e.launch(o, o.rec, kind, p, to, due)
	return true
}

// launch begins one operation.
func (e *engine) launch(o *offer, rec *recorder, kind Scenario, p, to *phone, due time.Duration) {
	var a *attempt
	if n := len(e.free); n > 0 {
		a, e.free = e.free[n-1], e.free[:n-1]
	} else {
		a = &attempt{}
	}
	e.numbers++
	*a = attempt{
		number: e.numbers, kind: kind, from: p, to: to, rec: rec, offer: o, due: due, deadline: max(due, e.now) + e.cfg.Patience,
		callID: a.callID[:0], toTag: a.toTag[:0], target: a.target[:0], routes: a.routes[:0], ack: a.ack[:0], answered: a.answered[:0],
		invite: a.invite[:0], main: transaction{request: a.main.request[:0]}, cancel: transaction{request: a.cancel.request[:0]},
	}
	p.doing = a
	if to != nil {
		to.doing = a
	}
	o.running++
	e.active[a] = struct{}{}
	rec.tallies[kind].attempts++
	switch {
	case e.protected != nil:
		e.perform(a)
	case kind.registers():
		e.beginRegister(a)
	case kind == Message:
		e.beginMessage(a)
	case kind == Subscribe:
		e.beginSubscribe(a)
	case kind == Emergency:
		e.beginEmergency(a)
	default:
		e.beginCall(a)
	}
	e.schedule(a)
}

func (e *engine) succeed(a *attempt) { e.finish(a, "") }

func (e *engine) fail(a *attempt, cause string) { e.finish(a, cause) }

// refused ends an attempt by an answer that says no.
func (e *engine) refused(a *attempt, h *heard) {
	if h.status == 503 {
		t := &a.main
		if string(h.method) == "CANCEL" {
			t = &a.cancel
		}
		a.rec.refused.add(e.now - t.asked - (a.own - t.own))
		if !h.retryAfter {
			a.rec.noRetryAfter++
		}
	}
	e.lose(a, fmt.Sprintf("%s: %d", h.method, h.status), forgets(h.status))
}

// forgets reports whether an answer may mean that the core has forgotten who asked.
func forgets(status int) bool {
	switch status {
	case 403, 404, 480, 481, 504:
		return true
	}
	return false
}

// lose ends an attempt that has failed. A phone that the core has forgotten is then on
// its way back.
func (e *engine) lose(a *attempt, cause string, forgotten bool) {
	forgotten = forgotten && e.cfg.Recover && a.from.registered && a.kind != Deregister
	p, o, rec := a.from, a.offer, a.rec
	if forgotten {
		p.registered = false // so that finish puts it where it can be had below
	}
	o.running++ // it does not end before the phone is on its way back
	e.finish(a, cause)
	if forgotten && e.off.take(p) {
		e.launch(o, rec, Recover, p, nil, e.now)
	}
	o.release()
}

// tell tells who asked for it of an attempt that is over.
func (e *engine) tell(a *attempt, cause string) {
	if e.cfg.Ended == nil {
		return
	}
	out := Attempt{Scenario: a.kind, From: int(a.from.index), To: -1, Due: e.began.Add(a.due), Ended: e.began.Add(e.now), Cause: cause}
	if a.to != nil {
		out.To = int(a.to.index)
	}
	if a.connected != 0 {
		out.Answered = e.began.Add(a.connected)
	}
	e.cfg.Ended(out)
}

// finish ends an attempt, without a cause by success.
func (e *engine) finish(a *attempt, cause string) {
	o, latency := a.offer, e.now-a.due-a.own
	a.rec.note(a.kind, cause, latency, a.retrans, e.cfg.Limit)
	e.second.note(a.kind, cause, latency, a.retrans, e.cfg.Limit)
	if cause == "" {
		e.succeeded++
	}
	e.tell(a, cause)
	e.stopRinging(a)
	for _, p := range [...]*phone{a.from, a.to} {
		if p == nil {
			continue
		}
		if p.doing = nil; p.registered {
			e.on.push(p)
		} else {
			e.off.push(p)
		}
	}
	delete(e.active, a)
	a.number = 0 // what waits in the timers is not for who uses it again
	a.from, a.to, a.rec, a.offer = nil, nil, nil, nil
	a.main.active, a.cancel.active = false, false
	e.free = append(e.free, a)
	o.release()
}

// sockets are those that the phones receive with.
func (e *engine) sockets() []netip.AddrPort {
	every := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.IPv4Unspecified(), port) }
	if e.protected != nil {
		return []netip.AddrPort{every(e.protected.leg.Port()), e.protected.at}
	}
	return []netip.AddrPort{every(e.socket.port)}
}

// Run registers phones, offers the load and reports. An error is a configuration that
// cannot be used, or a system that refuses; what a core does is in the report, also
// when ctx ends early.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg.defaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("the load cannot be made: %w", err)
	}
	e, err := newEngine(cfg)
	if err != nil {
		return nil, err
	}
	self := ownCPU()
	r := &runner{engine: e, report: newReport(&e.cfg)}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(e.read)
	wg.Go(func() { e.clock(stop) })
	err = r.run(ctx)
	close(stop)
	if table, readErr := os.ReadFile("/proc/net/udp"); readErr == nil {
		r.report.Generator.Dropped = drops(table, e.sockets()...)
	}
	if e.protected != nil {
		e.protected.close()
	}
	_ = e.socket.conn.Close()
	wg.Wait()
	e.lock()
	e.over = true
	e.unlock()
	r.report.finish(e, self)
	return r.report, err
}
