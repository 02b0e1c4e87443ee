package chaos

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

// Sample is what a service held at a moment.
type Sample struct {
	Seconds float64 `json:"t"` // since the load began
	Service string  `json:"service"`
	Life    int     `json:"life"`
	// Calm is a moment without a fault, under load.
	Calm       bool    `json:"calm"`
	PSS        float64 `json:"pss_kib"`
	Goroutines float64 `json:"goroutines"`
	// Transactions are open and kept ones, Dialogs those that a P-CSCF knows.
	Transactions float64 `json:"transactions"`
	Dialogs      float64 `json:"dialogs"`
	born         float64 // when this life was seen first
}

// spanOf is a time that has a name, without an end one that lasts.
type spanOf struct {
	name     string
	from, to time.Time
}

// sampler samples all services until it is stopped.
type sampler struct {
	began time.Time
	end   chan struct{}
	done  chan struct{}

	mu    sync.Mutex
	list  []Sample
	spans []spanOf
}

func (b *bench) startSampler(ctx context.Context, every time.Duration) *sampler {
	p := &sampler{began: time.Now(), end: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		born := map[string]Sample{}
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			for _, name := range services {
				m, err := b.core.scrape(ctx, name)
				if err != nil {
					continue // it is away
				}
				_, life := b.core.of(name)
				x := Sample{
					Seconds: round(time.Since(p.began)), Service: name, Life: life, PSS: load.PSS(b.core.pid(name)), Goroutines: m.sum("go_goroutines", ""),
					Transactions: m.sum("gocscf_sip_transactions", ""), Dialogs: m.sum("gocscf_pcscf_dialogs", ""),
				}
				if born[name].Life != life {
					born[name] = x
				}
				x.born = born[name].Seconds
				if x.PSS > 0 {
					p.add(x)
				}
			}
			select {
			case <-t.C:
			case <-p.end:
				return
			}
		}
	}()
	return p
}

func (p *sampler) add(x Sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, x)
}

// note marks a time that is not calm.
func (p *sampler) note(name string, from, to time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spans = append(p.spans, spanOf{name, from, to})
}

func (p *sampler) stop() {
	close(p.end)
	<-p.done
}

// all gives the samples, and says of each whether all was calm.
func (p *sampler) all() []Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.list)
	for i := range out {
		x := &out[i]
		at := p.began.Add(time.Duration(x.Seconds * float64(time.Second)))
		x.Calm = !slices.ContainsFunc(p.spans, func(s spanOf) bool {
			return !at.Before(s.from) && (s.to.IsZero() || at.Before(s.to))
		})
	}
	return out
}

// Level says whether something of a service stays the same while the load does.
type Level struct {
	Service string `json:"service"`
	Of      string `json:"of"`
	// From and To are the seconds of which it is said, of the service's longest life;
	// Samples are those without a fault in it, 0 where there are too few to say anything.
	From    float64 `json:"from_s"`
	To      float64 `json:"to_s"`
	Samples int     `json:"samples"`
	Median  float64 `json:"median"`
	// Growth is what the median slope of all pairs of samples (Theil and Sen) makes of
	// the whole time; Bound is the most that is flat.
	Growth float64 `json:"growth"`
	Bound  float64 `json:"bound"`
	Flat   bool    `json:"flat"`
}

func (l *Level) String() string {
	if l.Samples < fewest {
		return fmt.Sprintf("%d samples without a fault are too few to say", l.Samples)
	}
	return fmt.Sprintf("%+.1f from %.0f to %.0f s, at a median of %.1f; %.1f are allowed", l.Growth, l.From, l.To, l.Median, l.Bound)
}

// fewest samples tell a slope. Memory needs a time, too: a heap that has just begun
// grows to where garbage is collected, and that may take minutes.
const (
	fewest      = 6
	memoryNeeds = 4 * time.Minute
	memory      = "memory, KiB"
)

// What is flat: memory within a tenth or 4 MiB, goroutines within a tenth or five.
const flatShare, flatMemory, flatGoroutines = 0.10, 4096, 5

// levels judges each service's longest life, when it is warm.
func levels(samples []Sample, warm time.Duration) (list []Level) {
	for _, name := range services {
		lives := map[int][2]float64{}
		longest := 0
		for _, x := range samples {
			if x.Service != name {
				continue
			}
			lives[x.Life] = [2]float64{x.born, x.Seconds}
			if length := lives[longest]; longest == 0 || x.Seconds-x.born > length[1]-length[0] {
				longest = x.Life
			}
		}
		life := lives[longest]
		from := life[0] + min(warm.Seconds(), (life[1]-life[0])/3)
		var kept []Sample
		for _, x := range samples {
			if x.Service == name && x.Life == longest && x.Calm && x.Seconds >= from {
				kept = append(kept, x)
			}
		}
		list = append(list,
			level(name, memory, kept, flatMemory, func(x *Sample) float64 { return x.PSS }),
			level(name, "goroutines", kept, flatGoroutines, func(x *Sample) float64 { return x.Goroutines }))
	}
	return list
}

func level(service, of string, kept []Sample, least float64, value func(*Sample) float64) Level {
	l := Level{Service: service, Of: of, Samples: len(kept)}
	if len(kept) < fewest {
		return l
	}
	if of == memory && kept[len(kept)-1].Seconds-kept[0].Seconds < memoryNeeds.Seconds() {
		l.Samples = 0
		return l
	}
	l.From, l.To = kept[0].Seconds, kept[len(kept)-1].Seconds
	var values, slopes []float64
	for i := range kept {
		v := value(&kept[i])
		values = append(values, v)
		for j := range i {
			if dt := kept[i].Seconds - kept[j].Seconds; dt > 0 {
				slopes = append(slopes, (v-value(&kept[j]))/dt)
			}
		}
	}
	l.Median = median(values)
	l.Bound = max(least, flatShare*l.Median)
	l.Growth = tenth(median(slopes) * (l.To - l.From))
	l.Flat = l.Growth <= l.Bound
	return l
}

// median sorts its argument. Of none it is 0.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func tenth(v float64) float64 { return math.Round(v*10) / 10 }

// minutes gives the medians of each stretch of time, service by service.
func minutes(samples []Sample, length time.Duration) (out []Sample) {
	for _, name := range services {
		var now []Sample
		close := func() {
			if len(now) == 0 {
				return
			}
			of := func(value func(*Sample) float64) float64 {
				var v []float64
				for i := range now {
					v = append(v, value(&now[i]))
				}
				return tenth(median(v))
			}
			last := now[len(now)-1]
			out = append(out, Sample{
				Seconds: math.Floor(last.Seconds/length.Seconds()) * length.Seconds(), Service: name, Life: last.Life,
				Calm: !slices.ContainsFunc(now, func(x Sample) bool { return !x.Calm }), PSS: of(func(x *Sample) float64 { return x.PSS }),
				Goroutines:   of(func(x *Sample) float64 { return x.Goroutines }),
				Transactions: of(func(x *Sample) float64 { return x.Transactions }), Dialogs: of(func(x *Sample) float64 { return x.Dialogs }),
			})
			now = nil
		}
		for _, x := range samples {
			if x.Service != name {
				continue
			}
			if len(now) > 0 && math.Floor(now[0].Seconds/length.Seconds()) != math.Floor(x.Seconds/length.Seconds()) {
				close()
			}
			now = append(now, x)
		}
		close()
	}
	return out
}
