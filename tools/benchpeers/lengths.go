package main

import (
	"fmt"
	"time"
)

// aside is what a load takes beside its own length: its start, phones that have to be
// registered first, what is under way at the end; calling is what it takes besides to
// register those of calls above capacity. anew is a core's start and end, with its HSS.
const (
	aside   = 1100 * time.Millisecond
	calling = 4 * time.Second
	anew    = 5 * time.Second
)

// patience is how long a phone waits for an answer above capacity.
const patience = 12 * time.Second

// lengths chooses how long everything takes: under 30 minutes in all, or under five.
func (s *settings) lengths() {
	const ms = time.Millisecond
	s.before, s.stir, s.low, s.rate, s.full, s.half, s.flood = 700*ms, 700*ms, 4000*ms, 3000*ms, 3500*ms, 3000*ms, 5000*ms
	s.populations, s.pace, s.rest = []int{1000, 10_000, 50_000}, 250, time.Minute
	s.subscribers = 250_000
	repeats := 3
	if s.quick || s.check {
		s.before, s.stir, s.low, s.rate, s.full, s.half, s.flood = 500*ms, 500*ms, 2000*ms, 1500*ms, 2000*ms, 2000*ms, 3000*ms
		s.populations, s.pace, s.rest = []int{500, 1500, 3000}, 250, 5*time.Second
		repeats, s.subscribers = 1, 80_000
	}
	if s.check {
		repeats = 3 // two seconds lie too far apart from the next two
	}
	if s.repeats <= 0 {
		s.repeats = repeats
	}
}

// length is how long a work is measured.
func (s *settings) length(w work) time.Duration {
	switch {
	case w.rate == 0:
		return s.full
	case w.rate >= 200:
		return s.rate
	}
	return s.low
}

// above is so many times a core's own capacity.
type above struct {
	what  string
	times float64
}

// by reports whether a core is measured so. Calls above capacity are not with Kamailio,
// which refuses none: its phones wait for eight seconds, and the whole takes half an hour.
func (a above) by(core string) bool { return a.what != "call" || core != kamailioCore }

func (a above) String() string { return fmt.Sprintf("%s, %g times capacity", a.what, a.times) }

// ofCapacity are the works at half of a core's own capacity, and those above it.
func (s *settings) ofCapacity() (half []string, over []above) {
	if s.check {
		return nil, nil
	}
	return []string{"registration", "message", "call"}, []above{{"registration", 1.5}, {"registration", 2}, {"call", 2}}
}

// registering is how long so many phones take to register while memory is measured.
func (s *settings) registering(phones int) time.Duration {
	return time.Duration(float64(phones) / float64(s.pace) * float64(time.Second))
}

// takes is how long the measurement will take, works and memory or one of them.
func (s *settings) takes(works, memory bool) (all time.Duration) {
	if works {
		for _, core := range s.cores {
			all += time.Duration(s.repeats) * s.once(core)
		}
	}
	if memory && !s.check {
		all += s.holding()
	}
	return all
}

// once is how long one repeat of a core takes.
func (s *settings) once(core string) (all time.Duration) {
	for _, w := range s.works() {
		all += s.stir + s.length(w)
		if core == floorCore { // the relays start at once, and know no phones
			continue
		}
		if all += aside; w.rate > 0 {
			all += s.before
		}
	}
	if core == floorCore {
		return all
	}
	half, over := s.ofCapacity()
	all += time.Duration(len(half)) * (s.stir + s.half + aside)
	for _, x := range over {
		if !x.by(core) {
			continue
		}
		if all += s.stir + s.flood + aside; x.what == "call" {
			all += calling
		}
		if core == kamailioCore { // ours answer all, and nobody has to lose patience
			all += patience / 2
		}
	}
	return all + anew
}

// holding is how long the measurement of memory takes. Who shares a processor registers
// fewer phones while another rests, but waits for it with the last, which are most.
func (s *settings) holding() (all time.Duration) {
	sharing := map[string]int{}
	for _, core := range s.cores {
		if core != floorCore {
			all += anew
			sharing[memoryCPU(core)]++
		}
	}
	have, last := 0, time.Duration(0)
	for _, size := range s.populations {
		last = s.registering(size-have) + aside
		all += last + s.rest
		have = size
	}
	waiting := max(sharing[phonesCPU], sharing[servicesCPU]) - 1
	return all + time.Duration(max(waiting, 0))*last
}
