package admission

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

// far is a core that answers what is under way, each request after delay at least and no
// more than pace a second.
type far struct {
	c     *Controller
	now   int64
	delay time.Duration
	pace  float64
	busy  int64 // with what has been let in until then
	queue []asked
	vary  float64 // the delay is longer by up to so much of it
	room  int     // for which it waits at a time, others get 503 at once; 0 is any number
	held  int     // for which it waits
	n     int
	sheds bool          // answers with 503, as soon as it can
	wait  time.Duration // of each request before it is read
	lane  Lane
	other func(n int) bool // whether the nth goes to another destination, nil for none, which
	takes time.Duration    // takes so long, or is silent: 0
}

type asked struct {
	came, answered int64
	shed           bool
	room           bool // it is one of held
	silent         bool // nobody answers: it is given up then
}

// offer lets rate requests a second come for d, and returns how many of them were let in.
func (f *far) offer(rate float64, d time.Duration, class Class) (in int) {
	for end := f.now + int64(d); f.now < end; f.now += int64(1e9 / rate) {
		f.answer()
		if _, why, ok := f.c.Enter(f.now, f.lane, class, f.wait); !ok {
			f.c.Refused(f.now, class, 0, why)
			continue
		}
		f.c.Began(f.now, class, 0)
		in++
		f.take(f.now - int64(f.wait))
	}
	return in
}

// take is the core's: it has a request, whose time counts from since.
func (f *far) take(since int64) {
	q := asked{came: since, shed: f.sheds, room: f.room == 0 || f.held < f.room}
	if f.n++; f.other != nil && f.other(f.n) {
		q.answered, q.silent = f.now+int64(cmp.Or(f.takes, Silence)), f.takes == 0
	} else if q.room {
		f.held++
		f.busy = max(f.busy, f.now) + int64(1e9/f.pace)
		q.answered = max(f.busy, f.now+int64(float64(f.delay)*(1+f.vary*float64(f.n%17)/16)))
	} else {
		q.answered, q.shed = f.now+int64(time.Millisecond), true
	}
	i, _ := slices.BinarySearchFunc(f.queue, q.answered+1, func(q asked, at int64) int { return cmp.Compare(q.answered, at) })
	f.queue = slices.Insert(f.queue, i, q)
}

func (f *far) answer() {
	for len(f.queue) > 0 && f.queue[0].answered <= f.now {
		q := f.queue[0]
		f.queue = f.queue[1:]
		if q.room {
			f.held--
		}
		if !q.silent {
			f.c.Heard(q.answered, f.lane, q.came, !q.shed)
		}
		f.c.Left(f.lane)
	}
}

func newFar() *far {
	return &far{c: NewController(Config{}), delay: 5 * time.Millisecond, pace: 1000, lane: Registers}
}

func TestAsManyAsAreAnswered(t *testing.T) {
	f := newFar()
	if in := f.offer(900, 5*time.Second, New); in < 4500 {
		t.Errorf("%d of 4500 let in at 0.9 of the capacity", in)
	}
	f.offer(3000, time.Second, New)
	in := f.offer(3000, 5*time.Second, New)
	s := f.c.State(f.now)
	if in < 4950 || in > 5050 || !s.Refusing || s.Crowded != Registers || s.UnderWay[Registers].Answer < 40*time.Millisecond || s.UnderWay[Registers].Answer > 70*time.Millisecond {
		t.Errorf("%d let in in 5 s by a core that answers 1000 a second: %+v", in, s)
	}
	// The core becomes half as fast: within a second nobody waits longer.
	f.pace = 500
	f.offer(3000, time.Second, New)
	if s := f.c.State(f.now); s.UnderWay[Registers].Answer > 80*time.Millisecond {
		t.Errorf("a second after the core has become slower: %+v", s)
	}
	f.offer(200, 2*time.Second, New)
	if s := f.c.State(f.now); s.Refusing || s.UnderWay[Registers].Open > 2 {
		t.Errorf("two seconds after the overload: %+v", s)
	}
	if in := f.offer(450, time.Second, New); in < 450 {
		t.Errorf("%d of 450 let in afterwards", in)
	}
}

// What takes long without anybody waiting for his turn is no overload, even if it takes
// longer all at once.
func TestSlowAnswersAreNoOverload(t *testing.T) {
	f := newFar()
	f.pace = 1e6
	for _, tt := range []struct {
		delay time.Duration
		rate  float64
		least float64 // of those offered, for the first four seconds
	}{
		{5 * time.Millisecond, 500, 1},
		{400 * time.Millisecond, 90, 1}, // fewer than Config.MinRate
		{5 * time.Millisecond, 1000, 1},
		{400 * time.Millisecond, 1000, 0.3},
		{30 * time.Millisecond, 4000, 1},
	} {
		f.delay = tt.delay
		if in := f.offer(tt.rate, 4*time.Second, New); float64(in) < tt.least*4*tt.rate {
			t.Errorf("answers after %v: %d of %.0f let in at first", tt.delay, in, 4*tt.rate)
		}
		if in := f.offer(tt.rate, time.Second, New); float64(in) < tt.rate {
			t.Errorf("answers after %v: %d of %.0f let in four seconds later: %+v", tt.delay, in, tt.rate, f.c.State(f.now))
		}
	}
}

// Answers that take a little longer from some time on, as when the machine has become
// slower, come to be the usual ones: not within seconds, in which a queue may stand, but
// within a minute.
func TestALittleSlowerBecomesUsual(t *testing.T) {
	const base, slower, more = 5 * time.Millisecond, 15 * time.Millisecond, 25 * time.Millisecond
	f := newFar()
	usual := func() time.Duration { return time.Duration(f.c.flights[Registers].base).Round(100 * time.Microsecond) }
	f.offer(500, 3*time.Second, New)
	if b := usual(); b < base || b > base+time.Millisecond {
		t.Fatalf("usual are %v, want %v", b, base)
	}
	f.delay = slower
	f.offer(500, time.Second, New)
	if b := usual(); b > base+(slower-base)/3 {
		t.Errorf("after a second of %v usual are %v", slower, b)
	}
	f.offer(500, 30*time.Second, New)
	if b := usual(); b < slower-time.Millisecond {
		t.Errorf("after half a minute of %v usual are %v", slower, b)
	}
	// More than a quarter of what may wait is no drift: it may be a queue.
	f.delay = slower + (more - base)
	f.offer(500, 10*time.Second, New)
	if b := usual(); b > slower+time.Millisecond {
		t.Errorf("after ten seconds of %v usual are %v", f.delay, b)
	}
}

// Answers that have become quicker are the usual ones at once: what takes longer is late
// from then on.
func TestQuickerIsUsualAtOnce(t *testing.T) {
	f := newFar()
	f.delay = 100 * time.Millisecond
	f.offer(500, 3*time.Second, New)
	f.delay = 5 * time.Millisecond
	f.offer(500, time.Second, New)
	if b := time.Duration(f.c.flights[Registers].base); b > 10*time.Millisecond {
		t.Errorf("after a second of %v usual are %v", f.delay, b)
	}
}

// A pause says nothing of the pace.
func TestAPauseIsNoPace(t *testing.T) {
	f := newFar()
	f.offer(1000, 3010*time.Millisecond, New) // some answers of a window have come
	was := f.c.flights[Registers].pace
	for f.c.flights[Registers].answered < fewAnswers {
		f.offer(1000, time.Millisecond, New)
	}
	f.now += int64(5 * time.Second)
	f.answer()
	e, _, _ := f.c.Enter(f.now, Registers, New, 0)
	f.c.Heard(f.now, Registers, e.Since, true)
	if now := f.c.flights[Registers].pace; was < 900 || now < was {
		t.Errorf("the pace was %.0f a second, and is taken for %.0f after a pause", was, now)
	}
}

// However late an answer is, it counts for no more than two seconds, so that answers are
// taken to be quick again soon behind it.
func TestLateAnswersAreSoonForgotten(t *testing.T) {
	f := newFar()
	f.offer(500, 3*time.Second, New)
	e, _, ok := f.c.Enter(f.now, Registers, New, 0)
	if !ok {
		t.Fatal("not let in")
	}
	f.offer(500, time.Minute, New)
	f.c.Heard(f.now, Registers, e.Since, true)
	f.c.Left(Registers)
	if a := f.c.UnderWay(Registers).Answer; a < 100*time.Millisecond || a > 150*time.Millisecond {
		t.Errorf("answers take %v behind one that was a minute late, want an eighth of a second", a)
	}
	f.offer(500, time.Second/10, New)
	if a := f.c.UnderWay(Registers).Answer; a > 20*time.Millisecond {
		t.Errorf("answers take %v a tenth of a second later", a)
	}
}

// A core that says nothing for half a second, as a process that was stopped does, costs
// nobody his registration.
func TestMomentIsNoOverload(t *testing.T) {
	f := newFar()
	f.offer(100, 3*time.Second, New)
	f.busy = f.now + int64(500*time.Millisecond)
	if in := f.offer(100, time.Second, New); in < 100 {
		t.Errorf("%d of 100 let in: %+v", in, f.c.State(f.now))
	}
}

func TestSilentCoreIsBounded(t *testing.T) {
	f := newFar()
	f.offer(1000, 3*time.Second, New)
	f.busy = f.now + int64(time.Hour)
	f.offer(1000, 10*time.Second, New)
	s := f.c.State(f.now)
	if s.UnderWay[Registers].Open > 400 || !s.Refusing {
		t.Errorf("%d under way, at a core that says nothing: %+v", s.UnderWay[Registers].Open, s)
	}
	if in := f.offer(10, time.Second, Vital); in != 10 {
		t.Errorf("%d of 10 emergency registrations let in", in)
	}
}

// What goes on with something has room where new requests have none.
func TestBegunFindRoom(t *testing.T) {
	f := newFar()
	f.offer(3000, 3*time.Second, New)
	begun := 0
	for range 900 {
		f.offer(3000, time.Second/3000, New)
		begun += f.offer(3000, time.Second/3000, Begun)
	}
	if begun < 450 {
		t.Errorf("%d of 900 let in that go on with something", begun)
	}
}

// A core that refuses at once keeps nobody waiting; its refusals lower the rate.
func TestRefusalsFurtherOn(t *testing.T) {
	f := newFar()
	f.pace, f.sheds = 1e5, true
	for range 30 {
		f.offer(1000, 100*time.Millisecond, New)
		for range 60 {
			f.c.Further(f.now, true)
		}
		for range 40 {
			f.c.Further(f.now, false)
		}
	}
	if in := f.offer(1000, 100*time.Millisecond, New); in > 70 {
		t.Errorf("%d of 100 let in where 60 of 100 are refused: %+v", in, f.c.State(f.now))
	}
	if n := f.c.Counts(); n.Refused[Rate] == 0 || n.Refused[Crowd] != 0 {
		t.Errorf("counts %+v", n)
	}
	f.now += int64(time.Second)
	f.answer()
	if s := f.c.State(f.now); s.UnderWay[Registers].Open != 0 { // who is refused is not under way
		t.Errorf("all are answered, and %d are under way", s.UnderWay[Registers].Open)
	}
}

// What has waited unread for the target is not counted, what has for longer counts from
// then on.
func TestUnreadForTheTarget(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	for range 100 {
		c.Enter(now, Registers, New, 0)
		c.Heard(now, Registers, now, true)
		c.Left(Registers)
		now += int64(10 * time.Millisecond)
	}
	for waited, want := range map[time.Duration]time.Duration{0: 0, 20 * time.Millisecond: 0, 30 * time.Millisecond: 10 * time.Millisecond, 500 * time.Millisecond: 480 * time.Millisecond} {
		if e, _, ok := c.Enter(now, Registers, New, waited); !ok || now-e.Since != int64(want) {
			t.Errorf("one that has waited %v counts %v, let in %v", waited, time.Duration(now-e.Since), ok)
		}
	}
}

func TestGiveBack(t *testing.T) {
	c, now := NewController(Config{}), int64(0)
	feed(c, &now, 1000, time.Second, 200*time.Millisecond, New)
	now += int64(time.Second) // there are some tokens, not a thousand
	in := 0
	for range 1000 { // repetitions, at once
		if c.Admit(now, New) {
			in++
			c.GiveBack(New)
		}
	}
	first, more := c.Admit(now, New), 0
	for range 1000 {
		if c.Admit(now, New) {
			more++
		}
	}
	if in != 1000 || !first || more == 1000 {
		t.Errorf("%d of 1000 repetitions let in, then a new request: %v, and %d of 1000", in, first, more)
	}
}

// pause has what comes in d stay unread until it is over, as in a process that is stopped.
func (f *far) pause(rate float64, d time.Duration, class Class) (in int) {
	var came []int64
	for end := f.now + int64(d); f.now < end; f.now += int64(1e9 / rate) {
		came = append(came, f.now)
	}
	for i := 0; i < len(came); i++ { // what comes while they are read waits behind them
		f.answer()
		if e, _, ok := f.c.Enter(f.now, Registers, class, time.Duration(f.now-came[i])); ok {
			in++
			f.take(e.Since)
		}
		f.now += int64(50 * time.Microsecond)
	}
	return in
}

// What has come while this process was stopped has waited for that, and is no overload.
func TestStoppedIsNoOverload(t *testing.T) {
	f := newFar()
	f.pace = 4000
	f.offer(1000, 3*time.Second, New)
	if in := f.pause(1000, 300*time.Millisecond, New); in < 300 {
		t.Errorf("%d of 300 let in that came while the process was stopped: %+v", in, f.c.State(f.now))
	}
}

// So it is where answers take long, and those to whoever came before have not been read
// yet either.
func TestStoppedWithAnswersUnread(t *testing.T) {
	f := newFar()
	f.pace, f.delay = 1e6, 100*time.Millisecond
	f.offer(1000, 3*time.Second, New)
	f.now += int64(300 * time.Millisecond)
	for i := range 100 {
		if _, _, ok := f.c.Enter(f.now, Registers, New, 300*time.Millisecond); !ok {
			t.Fatalf("request %d behind a moment without the processor is refused: %+v", i, f.c.State(f.now))
		}
		f.now += int64(50 * time.Microsecond)
	}
}

// However long what comes has waited: some are let in, or nobody would learn that those
// before it have gone.
func TestUnreadLeaveTheLeastPace(t *testing.T) {
	f := newFar()
	f.offer(900, 3*time.Second, New)
	f.wait = 300 * time.Millisecond
	f.offer(900, time.Second/2, New)
	f.wait = 5 * time.Second
	if in := f.offer(900, time.Second, New); in < 90 {
		t.Errorf("%d of 900 let in that waited five seconds, want at least 90: %+v", in, f.c.State(f.now))
	}
}

// An HSS takes half a second all at once, and is asked twice for each request: what is
// refused while that is taken for an overload is over in two seconds, however much answers
// vary, and also where the core itself refuses what is too much for it. When the HSS is
// quick again, so is everything within a second.
func TestSlowHSS(t *testing.T) {
	const rate = 655
	for _, room := range []int{0, 600, 300} {
		for _, vary := range []float64{0, 0.02, 0.05, 0.1, 0.2} {
			f := newFar()
			f.vary, f.room = vary, room
			f.offer(rate, 3*time.Second, New)
			f.delay = time.Second
			f.offer(rate, 2*time.Second, New)
			for i := range 4 {
				if in := f.offer(rate, time.Second, New); 10*in < 9*rate {
					t.Errorf("room for %d, answers vary by %.2f: %d of %d let in in second %d of a slow HSS: %+v", room, vary, in, rate, 3+i, f.c.State(f.now))
				}
			}
			f.delay = 5 * time.Millisecond
			f.offer(rate, time.Second, New)
			if in := f.offer(rate, time.Second, New); in < rate {
				t.Errorf("room for %d, answers vary by %.2f: %d of %d let in in the second second after: %+v", room, vary, in, rate, f.c.State(f.now))
			}
		}
	}
}

// A core that takes no calls any more keeps nobody from registering.
func TestLanesAreApart(t *testing.T) {
	f := newFar()
	calls := &far{c: f.c, delay: 5 * time.Millisecond, pace: 1000, lane: Calls}
	f.offer(500, 3*time.Second, New)
	calls.now = f.now
	calls.offer(500, 3*time.Second, New)
	calls.busy = calls.now + int64(time.Hour)
	f.now = calls.now
	called := 0
	for range 20 {
		called += calls.offer(1000, time.Second/2, New)
		f.now = max(f.now, calls.now)
		if in := f.offer(500, time.Second/2, New); in < 250 {
			t.Fatalf("%d of 250 REGISTERs let in: %+v", in, f.c.State(f.now))
		}
		calls.now = f.now
	}
	if s := f.c.State(f.now); s.UnderWay[Registers].Open > 10 || called > 2500 || s.UnderWay[Calls].Open != called {
		t.Errorf("%d of 10000 calls let in: %+v", called, s)
	}
}

// Where one of two destinations does not answer calls any more, or all at once takes its
// time, the other's are let in, and where most go there, the few others.
func TestOneOfTwoDestinations(t *testing.T) {
	for _, tt := range []struct {
		name  string
		other func(n int) bool
		takes time.Duration
		rates []float64
	}{
		{"half is silent", func(n int) bool { return n%2 == 0 }, 0, []float64{10, 40, 100, 200, 1000}},
		{"half takes its time", func(n int) bool { return n%2 == 0 }, 150 * time.Millisecond, []float64{10, 40, 100, 200, 1000}},
		{"half takes long", func(n int) bool { return n%2 == 0 }, 280 * time.Millisecond, []float64{10, 40, 100, 200, 1000}},
		{"most is silent", func(n int) bool { return n%20 != 0 }, 0, []float64{10, 100, 200}},
	} {
		for _, rate := range tt.rates {
			f := newFar()
			f.lane, f.pace = Calls, 1e6
			f.offer(rate, 5*time.Second, New)
			f.other, f.takes = tt.other, tt.takes
			for second := range 10 {
				if in := f.offer(rate, time.Second, New); float64(in) < 0.99*rate && second > 0 {
					t.Errorf("%s: %d of %.0f calls let in, in second %d: %+v", tt.name, in, rate, second, f.c.State(f.now))
				}
			}
		}
	}
}

// However few answer, as many calls a second are let in as Config.MinRate.
func TestCallsOfTheLeastRate(t *testing.T) {
	f := newFar()
	f.lane, f.other = Calls, func(int) bool { return true }
	g := &f.c.flights[Calls]
	g.base, g.limit, g.lasted = float64(f.delay), leastOpen, lasts // the least bound is in force
	if in := f.offer(1000, 5*time.Second, New); in < 490 || in > 750 {
		t.Errorf("%d of 5000 let in where nobody answers, want 500 and little more: %+v", in, f.c.State(f.now))
	}
	g.lasted = lasts
	in := 0
	for range 10 { // they come in heaps
		f.offer(1, time.Second/2, Vital)
		in += f.offer(50_000, time.Millisecond, New)
	}
	if in < 490 {
		t.Errorf("%d of 500 let in that come by 50 at once: %+v", in, f.c.State(f.now))
	}
}
