package main

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// driver is the phones: it begins operations and sees their end.
type driver struct {
	phones *relay

	mu      sync.Mutex
	started map[uint64]start
	next    uint64
	took    []time.Duration
}

type start struct {
	due  time.Time
	done chan struct{} // nil for open loop
}

// ended is told of every message to the phones.
func (d *driver) ended(place uint32, op uint64) {
	if place != d.phones.script.last {
		return
	}
	d.mu.Lock()
	s, ok := d.started[op]
	delete(d.started, op)
	if ok {
		d.took = append(d.took, time.Since(s.due))
	}
	d.mu.Unlock()
	if s.done != nil {
		close(s.done)
	}
}

func (d *driver) begin(due time.Time, done chan struct{}, out []byte) error {
	d.mu.Lock()
	d.next++
	op := d.next
	d.started[op] = start{due, done}
	d.mu.Unlock()
	return d.phones.send(d.phones.script.first, op, out)
}

// patience is how long an operation may take before it counts as lost.
const patience = 5 * time.Second

// open begins operations at random times, so many in a second, whatever becomes of
// them.
func (d *driver) open(rate float64, seed uint64, during time.Duration) error {
	out := make([]byte, 64<<10)
	random := rand.New(rand.NewPCG(seed, uint64(rate)))
	begin := time.Now()
	for due := begin; ; {
		due = due.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
		if due.Sub(begin) > during {
			return nil
		}
		time.Sleep(time.Until(due))
		if err := d.begin(due, nil, out); err != nil {
			return err
		}
	}
}

// closed keeps so many operations going.
func (d *driver) closed(busy int, during time.Duration) error {
	var wg sync.WaitGroup
	var failed error
	var once sync.Once
	end := time.Now().Add(during)
	for range busy {
		wg.Go(func() {
			out := make([]byte, 64<<10)
			for time.Now().Before(end) {
				done := make(chan struct{})
				if err := d.begin(time.Now(), done, out); err != nil {
					once.Do(func() { failed = err })
					return
				}
				select {
				case <-done:
				case <-time.After(patience):
				}
			}
		})
	}
	wg.Wait()
	return failed
}

// settle waits for the last operations, and returns how many were lost.
func (d *driver) settle() (lost int) {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		d.mu.Lock()
		lost = len(d.started)
		d.mu.Unlock()
		if lost == 0 || time.Now().After(end) {
			return lost
		}
	}
}

// reset forgets what is done, and returns how many that were and the times they took.
func (d *driver) reset() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	took := d.took
	d.took = nil
	slices.Sort(took)
	return took
}

func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Microseconds()) / 1000
}
