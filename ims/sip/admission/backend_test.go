package admission

import (
	"container/heap"
	"testing"
	"time"
)

// hss answers in order: each question after at least delay, and no more than pace a
// second; pace 0 is one that says nothing. Questions are given up after two seconds.
type hss struct {
	delay time.Duration
	pace  float64
	free  int64
}

type ending struct {
	at, asked int64
	came      bool
}
type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at < e[j].at }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	o := *e
	x := o[len(o)-1]
	*e = o[:len(o)-1]
	return x
}

// ask offers rate questions a second for d. It returns how many were let in, answered
// and given up, and the most that were open.
func (h *hss) ask(b *Backend, now *int64, open *endings, rate float64, d time.Duration) (in, answered, lost, most int) {
	const patience = 2 * time.Second
	for end := *now + int64(d); *now < end; *now += int64(1e9 / rate) {
		for len(*open) > 0 && (*open)[0].at <= *now {
			e := heap.Pop(open).(ending)
			b.Answered(e.at, time.Duration(e.at-e.asked), e.came)
			if e.came {
				answered++
			} else {
				lost++
			}
		}
		if !b.Room(*now, New) {
			continue
		}
		b.Asked(*now)
		in++
		e := ending{at: *now + int64(patience), asked: *now}
		if h.pace > 0 {
			h.free = max(h.free, *now) + int64(1e9/h.pace)
			if at := max(h.free, *now+int64(h.delay)); at < e.at {
				e.at, e.came = at, true
			}
		}
		heap.Push(open, e)
		most = max(most, len(*open))
	}
	return in, answered, lost, most
}

func TestBackend(t *testing.T) {
	for _, tt := range []struct {
		name           string
		hss            hss
		least          int // answered within ten seconds of a thousand questions each
		lost, mostOpen int
	}{
		{"quick", hss{delay: 2 * time.Millisecond, pace: 5000}, 9900, 0, 10},
		{"far away, and able to do it all", hss{delay: 400 * time.Millisecond, pace: 5000}, 9500, 0, 420},
		{"slow, and able to do it all", hss{delay: 700 * time.Millisecond, pace: 5000}, 7500, 0, 1000},
		{"able to do a third", hss{delay: 2 * time.Millisecond, pace: 300}, 2700, 50, 600},
		{"dead", hss{}, 0, 700, 600},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, now, open := NewBackend(BackendConfig{}), int64(0), &endings{}
			in, answered, lost, most := tt.hss.ask(b, &now, open, 1000, 10*time.Second)
			t.Logf("%d of 10000 let in, %d answered, %d given up, at most %d open", in, answered, lost, most)
			if answered < tt.least {
				t.Errorf("%d answered, want %d", answered, tt.least)
			}
			if lost > tt.lost {
				t.Errorf("%d were let in and given up, want %d at most", lost, tt.lost)
			}
			if most > tt.mostOpen {
				t.Errorf("%d open at once, want %d at most", most, tt.mostOpen)
			}
			// It gets well.
			tt.hss = hss{delay: 2 * time.Millisecond, pace: 5000}
			tt.hss.ask(b, &now, open, 1000, 3*time.Second)
			if in, _, _, _ := tt.hss.ask(b, &now, open, 1000, time.Second); in != 1000 {
				t.Errorf("%d of 1000 let in three seconds after it has become quick", in)
			}
		})
	}
}

func TestBackendBurstIsNoTrouble(t *testing.T) {
	for _, idle := range []time.Duration{0, time.Hour} { // who is asked nothing is not silent
		b, now := NewBackend(BackendConfig{}), int64(time.Second)
		b.Asked(now)
		b.Answered(now, time.Millisecond, true)
		now += int64(idle)
		if b.State(now).Slow {
			t.Errorf("slow, after %v in which it was asked nothing", idle)
		}
		for i := range 1000 {
			if !b.Room(now+int64(i), New) {
				t.Fatalf("idle for %v: question %d of a burst was refused before one could be answered", idle, i)
			}
			b.Asked(now + int64(i))
		}
	}
}

func TestBackendClasses(t *testing.T) {
	b, now := NewBackend(BackendConfig{Least: 4}), int64(0)
	for range 6 {
		b.Asked(now)
	}
	now += int64(time.Second)
	for class, want := range map[Class]bool{New: false, Begun: true, Vital: true} {
		if b.Room(now, class) != want {
			t.Errorf("6 questions without an answer for a second, 4 may be: room for %v is %v", class, !want)
		}
	}
	if s := b.State(now); !s.Slow || s.Open != 6 || s.Limit != 4 || s.Refused != 1 {
		t.Errorf("%+v", s)
	}
	for _, tt := range []struct {
		most, open, such int
		want             bool
	}{{4, 1, 1, true}, {4, 2, 1, false}, {4, 4, 0, true}, {1, 0, 0, true}, {160, 79, 79, true}, {160, 80, 20, false}, {160, 160, 19, true}} {
		b := NewBackend(BackendConfig{Most: tt.most})
		for range tt.open {
			b.Asked(now)
		}
		if b.Spare(now, tt.such) != tt.want {
			t.Errorf("%d of %d are open, and %d of these are such: spare is %v", tt.open, tt.most, tt.such, !tt.want)
		}
	}
	b = NewBackend(BackendConfig{Most: 4})
	for range 8 { // emergencies, too, are only so many
		if !b.Room(now, Vital) {
			t.Error("no room for Vital")
		}
		b.Asked(now)
	}
	if b.Room(now, Vital) {
		t.Error("room for Vital beyond all bounds")
	}
}

// What fails at once, as on a connection that has ended, says nothing of how long answers
// take; what fails after a while does.
func TestBackendFailures(t *testing.T) {
	b := NewBackend(BackendConfig{})
	fail := func(took time.Duration) time.Duration {
		for range 100 {
			b.Asked(0)
			b.Answered(0, took, false)
		}
		return b.State(0).Took
	}
	b.Asked(0)
	b.Answered(0, 8*time.Second, true)
	was := b.State(0).Took
	if now := fail(0); now != was || was == 0 {
		t.Errorf("answers took %v, and behind failures at once %v", was, now)
	}
	if now := fail(3 * time.Second); now < 2*time.Second {
		t.Errorf("answers take %v behind failures after 3 s", now)
	}
}
