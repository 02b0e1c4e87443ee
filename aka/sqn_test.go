package aka

import (
	"errors"
	"testing"
	"time"

	"github.com/gocscf/gocscf/testbed/conformance"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// sqnOf joins SEQ and IND of 5 bits.
func sqnOf(seq, ind uint64) SQN { return SQN(seq<<5 | ind) }

func TestSQNSchemes(t *testing.T) {
	conformance.Shows(t, "AK-06")
	glc := func(unit time.Duration) uint64 { return uint64(noon.UnixNano() / int64(unit)) }
	const p = 1 << 24 // of SEQ2
	glc2 := glc(time.Second) % p

	for _, c := range []struct {
		name string
		base TimeBase
		last SQN
		dif  int64
		at   time.Duration // after noon
		want SQN
	}{
		{"not time-based: a new USIM", NotTimeBased, 0, 0, 0, sqnOf(1, 1)},
		{"not time-based: SEQ and IND each grow by one", NotTimeBased, sqnOf(7, 9), 0, 0, sqnOf(8, 10)},
		{"not time-based: IND goes round, SEQ does not notice", NotTimeBased, sqnOf(7, 31), 0, 0, sqnOf(8, 0)},
		{"not time-based: the phone's own: 33 before it", NotTimeBased, 0x17242877, 0, 0, 0x17242898},

		{"partly: a clock ahead is taken over", PartlyTimeBased, sqnOf(5*p+glc2-100, 0), 0, 0, sqnOf(5*p+glc2, 1)},
		{"partly: in the same second SEQ counts", PartlyTimeBased, sqnOf(5*p+glc2, 1), 0, 0, sqnOf(5*p+glc2+1, 2)},
		{"partly: a burst runs ahead of the clock", PartlyTimeBased, sqnOf(5*p+glc2+1000, 1), 0, 0, sqnOf(5*p+glc2+1001, 2)},
		{"partly: D-1 ahead is still a burst", PartlyTimeBased, sqnOf(5*p+glc2+1<<16-1, 1), 0, 0, sqnOf(5*p+glc2+1<<16, 2)},
		{"partly: D ahead is a clock that wrapped", PartlyTimeBased, sqnOf(5*p+glc2+1<<16, 1), 0, 0, sqnOf(6*p+glc2, 2)},

		{"time-based: a new USIM starts low", TimeBased, 0, 0, 0, sqnOf(1, 1)},
		{"time-based: SEQ is the clock with the offset", TimeBased, sqnOf(50, 3), 50 - int64(glc(100*time.Millisecond)), time.Minute, sqnOf(650, 4)},
		{"time-based: twice in a tenth of a second", TimeBased, sqnOf(50, 3), 50 - int64(glc(100*time.Millisecond)), 0, sqnOf(51, 4)},
		{"time-based: a clock set back an hour", TimeBased, sqnOf(50, 3), 50 - int64(glc(100*time.Millisecond)), -time.Hour, sqnOf(51, 4)},
		{"time-based: an SQN stored without an offset", TimeBased, sqnOf(50, 3), 0, 0, sqnOf(51, 4)},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := SQNState{SQN: c.last, DIF: c.dif}
			got, err := SQNProfile{Base: c.base}.Next(&st, noon.Add(c.at))
			if err != nil || got != c.want || st.SQN != got {
				t.Errorf("Next = %v (state %v), %v, want %v", got, st.SQN, err, c.want)
			}
		})
	}
}

// Whatever the profile, the clock and the history: SEQ grows, IND goes round, and
// a USIM that has seen all numbers before accepts the next.
func TestSQNsAreAcceptedInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := SQNProfile{
			Base:    TimeBase(rapid.IntRange(0, 2).Draw(t, "base")),
			INDBits: rapid.IntRange(1, 8).Draw(t, "IND bits"),
		}
		usim := must(NewSQNArray(0, SQNArrayOptions{INDBits: p.INDBits}))
		var st SQNState
		now := noon
		for range rapid.IntRange(1, 40).Draw(t, "vectors") {
			now = now.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(300*24*time.Hour)).Draw(t, "step")))
			last := st.SQN
			sqn := must(p.Next(&st, now))
			if sqn>>p.INDBits <= last>>p.INDBits {
				t.Fatalf("SEQ went from %v to %v", last, sqn)
			}
			mask := SQN(1)<<p.INDBits - 1
			if sqn&mask != (last+1)&mask {
				t.Fatalf("IND went from %v to %v", last, sqn)
			}
			if v := usim.Accept(sqn); v != SQNAccepted {
				t.Fatalf("%v after %v is %v", sqn, last, v)
			}
			if usim.SQNMS() != sqn {
				t.Fatalf("SQN_MS = %v, want %v", usim.SQNMS(), sqn)
			}
		}
	})
}

func TestSQNNeverWraps(t *testing.T) {
	for _, base := range []TimeBase{NotTimeBased, PartlyTimeBased, TimeBased} {
		st := SQNState{SQN: maxSQN}
		if _, err := (SQNProfile{Base: base}).Next(&st, noon); !errors.Is(err, ErrSQNExhausted) || st.SQN != maxSQN || st.DIF != 0 {
			t.Errorf("base %d after the last SQN: %v, state %+v; want ErrSQNExhausted and no change", base, err, st)
		}
	}
	st := SQNState{SQN: maxSQN + 1}
	if _, err := (SQNProfile{}).Next(&st, noon); !errors.Is(err, ErrSQNRange) {
		t.Errorf("a state of more than 48 bits: %v, want ErrSQNRange", err)
	}
}

func TestSQNProfileCheck(t *testing.T) {
	for name, p := range map[string]SQNProfile{
		"base 3": {Base: 3}, "IND -1": {INDBits: -1}, "IND 17": {INDBits: 17},
		"resolution": {Resolution: -1}, "SEQ2 43": {SEQ2Bits: 43}, "SEQ2 -1": {SEQ2Bits: -1},
		"D": {Base: PartlyTimeBased, D: 1 << 24},
	} {
		st := SQNState{SQN: 5}
		if p.Check() == nil {
			t.Errorf("%s: Check finds nothing", name)
		}
		if _, err := p.Next(&st, noon); err == nil || st.SQN != 5 {
			t.Errorf("%s: Next: error %v, state %v", name, err, st.SQN)
		}
		if _, err := p.Resynchronise(&st, 0, noon); err == nil || st.SQN != 5 {
			t.Errorf("%s: Resynchronise: error %v, state %v", name, err, st.SQN)
		}
	}
	for _, base := range []TimeBase{NotTimeBased, PartlyTimeBased, TimeBased} {
		if err := (SQNProfile{Base: base}).Check(); err != nil {
			t.Errorf("base %d: %v", base, err)
		}
	}
}

func TestUSIMVerdicts(t *testing.T) {
	const delta = 1 << 28
	for _, c := range []struct {
		name  string
		limit uint64
		sqn   SQN
		want  SQNVerdict
		ms    SQN // SQN_MS after it
	}{
		{"the next", 0, sqnOf(1001, 6), SQNAccepted, sqnOf(1001, 6)},
		{"the same again", 0, sqnOf(1000, 5), SQNNotFresh, sqnOf(1000, 5)},
		{"SEQ of another IND, older than SEQ_MS but newer than that entry", 0, sqnOf(901, 7), SQNAccepted, sqnOf(1000, 5)},
		{"equal to that entry", 0, sqnOf(900, 7), SQNNotFresh, sqnOf(1000, 5)},
		{"older than its entry", 0, sqnOf(999, 5), SQNNotFresh, sqnOf(1000, 5)},
		{"a step of exactly delta", 0, sqnOf(1000+delta, 0), SQNAccepted, sqnOf(1000+delta, 0)},
		{"a step of delta and one", 0, sqnOf(1000+delta+1, 0), SQNTooFarAhead, sqnOf(1000, 5)},
		{"the highest there is", 0, maxSQN, SQNTooFarAhead, sqnOf(1000, 5)},
		{"more than 48 bits", 0, maxSQN + 1, SQNTooFarAhead, sqnOf(1000, 5)},
		{"limit 50: behind by 49", 50, sqnOf(951, 7), SQNAccepted, sqnOf(1000, 5)},
		{"limit 50: behind by 50", 50, sqnOf(950, 7), SQNTooOld, sqnOf(1000, 5)},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := must(NewSQNArray(sqnOf(900, 0), SQNArrayOptions{Limit: c.limit}))
			if v := a.Accept(sqnOf(1000, 5)); v != SQNAccepted {
				t.Fatal(v)
			}
			if v := a.Accept(c.sqn); v != c.want {
				t.Errorf("verdict: %v, want: %v", v, c.want)
			}
			if a.SQNMS() != c.ms {
				t.Errorf("SQN_MS = %v, want %v", a.SQNMS(), c.ms)
			}
		})
	}
}

// Vectors fetched in a batch may be used in any order, once each.
func TestUSIMTakesABatchInAnyOrder(t *testing.T) {
	var st SQNState
	batch := make([]SQN, 32)
	for i := range batch {
		batch[i] = must(SQNProfile{}.Next(&st, noon))
	}
	a := must(NewSQNArray(0, SQNArrayOptions{}))
	for i := len(batch) - 1; i >= 0; i-- {
		if v := a.Accept(batch[i]); v != SQNAccepted {
			t.Errorf("%v is %v", batch[i], v)
		}
	}
	for _, sqn := range batch {
		if v := a.Accept(sqn); v != SQNNotFresh {
			t.Errorf("%v again is %v", sqn, v)
		}
	}
}

func TestNewSQNArrayRefusesBadOptions(t *testing.T) {
	var le *LengthError
	for _, bits := range []int{-1, 17, 1 << 30} {
		if _, err := NewSQNArray(0, SQNArrayOptions{INDBits: bits}); !errors.As(err, &le) {
			t.Errorf("IND of %d bits: %v, want a LengthError", bits, err)
		}
	}
	if _, err := NewSQNArray(maxSQN+1, SQNArrayOptions{}); !errors.Is(err, ErrSQNRange) {
		t.Errorf("start of 49 bits: %v, want ErrSQNRange", err)
	}
	if a := must(NewSQNArray(0x17242898, SQNArrayOptions{})); a.SQNMS() != 0x17242898 {
		t.Errorf("SQN_MS = %v, want the start", a.SQNMS())
	}
}

func TestResynchronise(t *testing.T) {
	for _, c := range []struct {
		name    string
		he, ms  SQN
		changed bool
	}{
		{"HSS behind: takes SQN_MS", sqnOf(10, 3), sqnOf(500, 9), true},
		{"HSS just behind", sqnOf(499, 3), sqnOf(500, 9), true},
		{"HSS level: its next is accepted", sqnOf(500, 9), sqnOf(500, 9), false},
		{"HSS ahead within delta: stays", sqnOf(600, 3), sqnOf(500, 9), false},
		{"HSS ahead by more than delta: goes back", sqnOf(600+1<<28, 3), sqnOf(500, 9), true},
		{"HSS at the end of its numbers: goes back", maxSQN, sqnOf(500, 9), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := SQNState{SQN: c.he}
			changed, err := SQNProfile{}.Resynchronise(&st, c.ms, noon)
			if err != nil || changed != c.changed {
				t.Fatalf("changed = %t, %v, want %t", changed, err, c.changed)
			}
			if !changed && st.SQN != c.he {
				t.Errorf("SQN_HE moved to %v", st.SQN)
			}
			usim := must(NewSQNArray(c.ms, SQNArrayOptions{}))
			if next := must(SQNProfile{}.Next(&st, noon)); usim.Accept(next) != SQNAccepted {
				t.Errorf("the USIM does not accept %v", next)
			}
		})
	}
	st := SQNState{}
	if _, err := (SQNProfile{}).Resynchronise(&st, maxSQN+1, noon); !errors.Is(err, ErrSQNRange) {
		t.Errorf("SQN_MS of 49 bits: %v, want ErrSQNRange", err)
	}
}

// After one AUTS any HSS state and any USIM state agree, with every profile.
func TestOneResynchronisationIsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := SQNProfile{Base: TimeBase(rapid.IntRange(0, 2).Draw(t, "base"))}
		// The last steps of Delta before the end of the numbers are not usable.
		sqn := rapid.Uint64Max(uint64(maxSQN) - 1<<40)
		st := SQNState{SQN: SQN(sqn.Draw(t, "SQN_HE")), DIF: rapid.Int64Range(-1<<40, 1<<40).Draw(t, "DIF")}
		usim := must(NewSQNArray(SQN(sqn.Draw(t, "SQN_MS")), SQNArrayOptions{}))
		must(p.Resynchronise(&st, usim.SQNMS(), noon))
		next := must(p.Next(&st, noon))
		if v := usim.Accept(next); v != SQNAccepted {
			t.Errorf("after resynchronisation %v is %v (SQN_MS %v)", next, v, usim.SQNMS())
		}
	})
}
