package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// memory has all cores hold more and more registered phones, all at the same time, as
// it is no time that is measured. None has phones before all have started: while an HSS
// makes its subscribers, services get so little of its processor that they refuse many.
func (r *results) memory(ctx context.Context, s *settings) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	started := map[string]*core{}
	for _, name := range s.cores {
		if name == floorCore {
			continue
		}
		c, err := start(ctx, s, name, memoryCPU(name), len(started)+1)
		if err != nil {
			r.problem("memory of %s: %v", name, err)
			continue
		}
		started[name] = c
	}
	turns := map[string]*sync.Mutex{phonesCPU: {}, servicesCPU: {}}
	for name, c := range started {
		wg.Go(func() {
			list, err := hold(ctx, s, name, c, turns[c.cpu])
			mu.Lock()
			defer mu.Unlock()
			r.Memory[name] = list
			if err != nil {
				r.problem("memory of %s: %v", name, err)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// memoryCPU is the processor of a core's services then: all at once are too much for one,
// and memory is not the worse for it.
func memoryCPU(core string) string {
	if core == kamailioCore {
		return servicesCPU
	}
	return phonesCPU
}

// held is the proportional set size of the services, in KiB, with so many registered.
type held struct {
	Phones     int     `json:"phones"`     // that were to be registered
	Registered int     `json:"registered"` // that were told so
	KiB        float64 `json:"kib"`
	Idle       float64 `json:"idle_cpu_percent"` // of a processor, in the second half of the rest
}

// hold has a core hold them, and stops it. Of those on one processor one registers phones
// at a time: two at once refuse some of them.
func hold(ctx context.Context, s *settings, name string, c *core, turn *sync.Mutex) (list []held, err error) {
	defer func() { err = errors.Join(err, c.stop()) }()
	have, registered := 0, 0
	for _, size := range s.populations {
		// A Poisson process at the pace, not a burst: that would be another question.
		length := s.registering(size - have)
		turn.Lock()
		p, err := c.load(ctx, "register", have, size-have, "--count", strconv.Itoa(size-have), "--duration", (2*length + time.Minute).String(), "--rate", strconv.Itoa(s.pace))
		turn.Unlock()
		if err != nil {
			return list, err
		}
		have, registered = size, registered+p.Registered
		// A few may have failed; they are in the figure of nobody.
		if least := size - size/100; registered < least {
			return list, fmt.Errorf("%d of %d phones are registered: %v", registered, size, p.Load.Causes)
		}
		if err := wait(ctx, s.rest/2); err != nil {
			return list, err
		}
		busy, err := c.idle(ctx, s.rest/2)
		if err != nil {
			return list, err
		}
		kib, err := c.pss()
		if err != nil {
			return list, err
		}
		list = append(list, held{size, registered, kib, 100 * busy})
		fmt.Fprintf(os.Stderr, "%-9s %d registered: %.1f MiB, %.3f %% of a processor at rest\n", name, registered, kib/1024, 100*busy)
	}
	return list, nil
}

// each is what a phone has taken beyond those of the first of the list, in KiB.
func each(list []held, i int) float64 {
	more := list[i].Registered - list[0].Registered
	if more <= 0 {
		return 0
	}
	return (list[i].KiB - list[0].KiB) / float64(more)
}

// idle is the share of a processor that the services take now that nobody asks them
// for anything.
func (c *core) idle(ctx context.Context, length time.Duration) (share float64, err error) {
	before, err := c.ran()
	began := time.Now()
	if err == nil {
		err = wait(ctx, length)
	}
	if err != nil {
		return 0, err
	}
	after, err := c.ran()
	return (after - before) / time.Since(began).Seconds(), err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
