package memnet

import (
	"container/heap"
	"sync"
	"time"
)

// scheduler runs functions at their time, those of one instant in the order
// they were given, never two at once.
type scheduler struct {
	mu      sync.Mutex
	queue   events
	seq     uint64
	running bool
	timer   *time.Timer
}

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

// after runs do after d, at once when d is 0.
func (s *scheduler) after(d time.Duration, do func()) {
	if d <= 0 {
		do()
		return
	}
	s.at(time.Now().Add(d), do)
}

func (s *scheduler) at(t time.Time, do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	heap.Push(&s.queue, event{t, s.seq, do})
	if !s.running && s.queue[0].seq == s.seq {
		s.arm()
	}
}

// arm sets the timer for the first event. The caller holds s.mu.
func (s *scheduler) arm() {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = nil
	if len(s.queue) > 0 {
		s.timer = time.AfterFunc(time.Until(s.queue[0].at), s.run)
	}
}

func (s *scheduler) run() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return
	}
	s.running = true
	for len(s.queue) > 0 && !s.queue[0].at.After(time.Now()) {
		e := heap.Pop(&s.queue).(event)
		s.mu.Unlock()
		e.do()
		s.mu.Lock()
	}
	s.running = false
	s.arm()
}

// events is a heap by time, then by order.
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if e[i].at.Equal(e[j].at) {
		return e[i].seq < e[j].seq
	}
	return e[i].at.Before(e[j].at)
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}
