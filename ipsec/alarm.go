package ipsec

import (
	"sync"
	"time"
)

// Alarms wake for many with one timer: tens of thousands of sets have an end, and a
// timer for each takes more room than what it is for. Its methods may be called from
// any goroutine.
type Alarms[T Sleeper] struct {
	wake  func(T)
	began time.Time // what times are counted from

	mu    sync.Mutex
	heap  []T // by alarm.at, the soonest first
	timer *time.Timer
	next  int64 // when the timer is due, 0 for never
	ended bool
}

// Sleeper is what an alarm is set for.
type Sleeper interface{ Alarm() *Alarm }

// Alarm is the place of a sleeper in [Alarms]. The zero value is not set.
type Alarm struct {
	at    int64 // nanoseconds since the Alarms began
	place int32 // in the heap, from 1 on
}

// NewAlarms makes alarms that call wake, one after the other on a goroutine of their
// own and holding no lock, for whom the time has come: it may have been set anew in
// the meantime.
func NewAlarms[T Sleeper](wake func(T)) *Alarms[T] {
	return &Alarms[T]{wake: wake, began: time.Now()}
}

// Set sets the alarm of s, or moves it.
func (x *Alarms[T]) Set(s T, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return
	}
	a := s.Alarm()
	a.at = int64(at.Sub(x.began))
	if a.place == 0 {
		x.heap = append(x.heap, s)
		a.place = int32(len(x.heap))
	}
	x.down(x.up(int(a.place) - 1))
	x.arm()
}

// Stop takes the alarm of s away.
func (x *Alarms[T]) Stop(s T) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.Alarm().place != 0 {
		x.remove(int(s.Alarm().place) - 1)
	}
}

// End takes all alarms away for good. One that is ringing may still ring.
func (x *Alarms[T]) End() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	for len(x.heap) > 0 {
		x.remove(len(x.heap) - 1)
	}
	if x.timer != nil {
		x.timer.Stop()
	}
}

// arm sees to it that the timer is not later than the soonest alarm. The caller
// holds x.mu.
func (x *Alarms[T]) arm() {
	if len(x.heap) == 0 {
		return
	}
	at := x.heap[0].Alarm().at
	if x.next != 0 && x.next <= at {
		return
	}
	x.next = max(at, 1)
	wait := max(time.Duration(at)-time.Since(x.began), 0)
	if x.timer == nil {
		x.timer = time.AfterFunc(wait, x.ring)
	} else {
		x.timer.Reset(wait)
	}
}

// ring wakes whoever is due.
func (x *Alarms[T]) ring() {
	for {
		x.mu.Lock()
		if len(x.heap) == 0 || x.heap[0].Alarm().at > int64(time.Since(x.began)) {
			x.next = 0
			x.arm()
			x.mu.Unlock()
			return
		}
		s := x.heap[0]
		x.remove(0)
		x.mu.Unlock()
		x.wake(s)
	}
}

// remove takes the i-th out of the heap.
func (x *Alarms[T]) remove(i int) {
	last := len(x.heap) - 1
	x.swap(i, last)
	x.heap[last].Alarm().place = 0
	var none T
	x.heap[last] = none
	x.heap = x.heap[:last]
	if i < last {
		x.down(x.up(i))
	}
}

func (x *Alarms[T]) swap(i, j int) {
	h := x.heap
	h[i], h[j] = h[j], h[i]
	h[i].Alarm().place, h[j].Alarm().place = int32(i+1), int32(j+1)
}

func (x *Alarms[T]) before(i, j int) bool { return x.heap[i].Alarm().at < x.heap[j].Alarm().at }

func (x *Alarms[T]) up(i int) int {
	for parent := (i - 1) / 2; i > 0 && x.before(i, parent); parent = (i - 1) / 2 {
		x.swap(i, parent)
		i = parent
	}
	return i
}

func (x *Alarms[T]) down(i int) {
	for {
		child := 2*i + 1
		if child+1 < len(x.heap) && x.before(child+1, child) {
			child++
		}
		if child >= len(x.heap) || !x.before(child, i) {
			return
		}
		x.swap(i, child)
		i = child
	}
}
