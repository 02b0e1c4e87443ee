package registrar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func set(until time.Time, impi string, keys ...string) *Registration {
	r := &Registration{IMPIs: []string{impi}}
	for _, k := range keys {
		r.Identities = append(r.Identities, Identity{Key: k, URI: k})
	}
	r.Bindings = []Binding{{IMPI: impi, Contact: "sip:" + impi, Expires: until}}
	return r
}

func TestAllIdentitiesOfASetAreRegisteredTogether(t *testing.T) {
	s := New(Config{})
	r := set(time.Now().Add(time.Hour), "a@x", "sip:a@x", "tel:+1")
	if err := s.Put(nil, r); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"sip:a@x", "tel:+1"} {
		if s.Get(key) != r {
			t.Errorf("%s is not registered", key)
		}
	}
	if got := s.OfIMPI("a@x"); len(got) != 1 || got[0] != r {
		t.Errorf("by IMPI: %v", got)
	}
	// A profile that lost one identity and got another.
	next := set(time.Now().Add(time.Hour), "a@x", "sip:a@x", "tel:+2")
	if err := s.Put(r, next); err != nil {
		t.Fatal(err)
	}
	if s.Get("tel:+1") != nil || s.Get("tel:+2") != next || s.Len() != 1 {
		t.Error("the change of identities did not take")
	}
	if err := s.Remove(next); err != nil {
		t.Fatal(err)
	}
	if s.Get("sip:a@x") != nil || s.OfIMPI("a@x") != nil || s.Len() != 0 || len(s.timers) != 0 {
		t.Error("something is left of the removed set")
	}
}

func TestAStaleChangeIsRefused(t *testing.T) {
	s := New(Config{Max: 1})
	until := time.Now().Add(time.Hour)
	first := set(until, "a@x", "sip:a@x")
	if err := s.Put(nil, first); err != nil {
		t.Fatal(err)
	}
	second := first.With([]Binding{{Contact: "sip:2", Expires: until}})
	if err := s.Put(first, second); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"put over what is gone", s.Put(first, first.With(nil)), ErrConflict},
		{"remove what is gone", s.Remove(first), ErrConflict},
		{"an identity of another set", s.Put(nil, set(until, "b@x", "sip:a@x")), ErrConflict},
		{"no room", s.Put(nil, set(until, "b@x", "sip:b@x")), ErrFull},
	}
	for _, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
		}
	}
	if s.Get("sip:a@x") != second || len(first.Bindings) != 1 || first.Bindings[0].Contact != "sip:a@x" {
		t.Error("a refused change took, or the old registration was changed")
	}
	if s.Put(nil, &Registration{}) == nil {
		t.Error("a set without identities was taken")
	}
}

// Users who are called and not registered take no room from those who register.
func TestSetsWithoutBindingsHaveRoomOfTheirOwn(t *testing.T) {
	s := New(Config{Max: 16})
	until := time.Now().Add(time.Hour)
	bare := func(key string) *Registration { return &Registration{Identities: []Identity{{Key: key}}, Until: until} }
	put := func(old, now *Registration, want error) {
		t.Helper()
		if err := s.Put(old, now); !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", now.Identities[0].Key, err, want)
		}
	}
	a, b := bare("sip:a"), bare("sip:b")
	put(nil, a, nil)
	put(nil, b, nil)
	put(nil, bare("sip:c"), ErrFull)
	first := set(until, "0", "sip:0")
	put(nil, first, nil)
	for i := 1; i < 15; i++ {
		put(nil, set(until, strconv.Itoa(i), "sip:"+strconv.Itoa(i)), nil)
	}
	put(a, a.With(first.Bindings), nil) // one of them registers
	put(b, b.With(first.Bindings), ErrFull)
	put(nil, set(until, "z", "sip:z"), ErrFull)
	put(first, first.With(first.Bindings), nil)
	put(nil, bare("sip:c"), nil)
	put(nil, bare("sip:d"), ErrFull)
	for _, key := range []string{"sip:1", "sip:b"} {
		if err := s.Remove(s.Get(key)); err != nil {
			t.Fatal(err)
		}
	}
	put(nil, bare("sip:d"), nil)
	put(nil, set(until, "z", "sip:z"), nil)
	if s.Len() != 18 {
		t.Errorf("%d sets", s.Len())
	}
}

func TestDefaultIdentityIsTheFirstNotBarred(t *testing.T) {
	barred, sip, tel := Identity{Key: "sip:imsi@x", Barred: true}, Identity{Key: "sip:a@x"}, Identity{Key: "tel:+1"}
	tests := []struct {
		set  []Identity
		want Identity
	}{
		{[]Identity{barred, sip, tel}, sip},
		{[]Identity{barred, tel, sip}, sip}, // a sip identity goes before numbers
		{[]Identity{barred, tel}, tel},
		{[]Identity{barred}, Identity{}},
	}
	for _, tt := range tests {
		if got := (&Registration{Identities: tt.set}).Default(); got != tt.want {
			t.Errorf("default of %v is %v", tt.set, got)
		}
	}
}

func TestAnIdentityOfAnotherSetIsNamed(t *testing.T) {
	s := New(Config{})
	until := time.Now().Add(time.Hour)
	other := set(until, "a@x", "sip:a@x", "tel:+1")
	if err := s.Put(nil, other); err != nil {
		t.Fatal(err)
	}
	b := set(until, "b@x", "sip:b@x")
	if err := s.Put(nil, b); err != nil {
		t.Fatal(err)
	}
	var taken *TakenError
	if err := s.Put(b, set(until, "b@x", "sip:b@x", "tel:+1")); !errors.As(err, &taken) || !errors.Is(err, ErrConflict) || taken.Key != "tel:+1" || taken.By != other {
		t.Errorf("error %v", err)
	}
	if s.Get("sip:b@x") != b || s.Get("tel:+1") != other {
		t.Error("a refused change took")
	}
	if err := s.Put(other, set(until, "a@x", "sip:a@x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(b, set(until, "b@x", "sip:b@x", "tel:+1")); err != nil {
		t.Errorf("the identity is free: %v", err)
	}
}

func TestChangesSayWhy(t *testing.T) {
	var got []Cause
	s := New(Config{Changed: func(_, _ *Registration, why Cause) { got = append(got, why) }})
	r := set(time.Now().Add(time.Hour), "a@x", "sip:a@x")
	put := func(old, now *Registration) *Registration {
		if err := s.Put(old, now); err != nil {
			t.Fatal(err)
		}
		return now
	}
	r = put(nil, r)
	next := r.With(r.Bindings)
	next.Cause = Expired
	r = put(r, next)
	r = put(r, r.With(r.Bindings)) // the cause of one change is not that of the next
	if !r.Has("a@x") || r.Has("b@x") || r.With(nil).Has("a@x") {
		t.Error("Has does not tell whose contacts there are")
	}
	if err := s.RemoveFor(r, Moved); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(put(nil, r.With(r.Bindings))); err != nil {
		t.Fatal(err)
	}
	if want := []Cause{Unregistered, Expired, Unregistered, Moved, Unregistered, Unregistered}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

func TestExpiryFiresOncePerSetInOrderAndAfterRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var s *Store
		var fired []string
		s = New(Config{Expired: func(r *Registration) {
			gone, left := r.Expired(time.Now())
			fired = append(fired, fmt.Sprintf("%v %s gone %d left %d", time.Since(start), r.Identities[0].Key, len(gone), len(left)))
			var err error
			if len(left) == 0 {
				err = s.Remove(r)
			} else {
				err = s.Put(r, r.With(left))
			}
			if err != nil {
				t.Error(err)
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { s.Run(ctx) })
		put := func(old, r *Registration) {
			if err := s.Put(old, r); err != nil {
				t.Error(err)
			}
		}
		a := set(start.Add(10*time.Second), "a", "sip:a")
		put(nil, a)
		put(nil, set(start.Add(5*time.Second), "b", "sip:b"))
		two := set(start.Add(20*time.Second), "c", "sip:c")
		two.Bindings = append(two.Bindings, Binding{Expires: start.Add(30 * time.Second)})
		put(nil, two)
		time.Sleep(6 * time.Second)
		put(a, a.With([]Binding{{Expires: start.Add(40 * time.Second)}}))
		time.Sleep(time.Minute)
		cancel()
		wg.Wait()
		want := []string{"5s sip:b gone 1 left 0", "20s sip:c gone 1 left 1", "30s sip:c gone 1 left 0", "40s sip:a gone 1 left 0"}
		if !slices.Equal(fired, want) {
			t.Errorf("fired\n%q, want\n%q", fired, want)
		}
		if s.Len() != 0 {
			t.Errorf("%d sets left", s.Len())
		}
	})
}

func TestAnExpiryThatIsNotDealtWithIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked int
		s := New(Config{Expired: func(*Registration) { asked++ }})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { s.Run(ctx) })
		if err := s.Put(nil, set(time.Now().Add(time.Second), "a", "sip:a")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3500 * time.Millisecond)
		cancel()
		wg.Wait()
		if asked != 3 {
			t.Errorf("asked %d times in 3.5 s, want 3", asked)
		}
	})
}

// TestTheStoreIsWhatTheChangesSay drives random changes and holds the store
// against a map, and the changes reported against both.
func TestTheStoreIsWhatTheChangesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := map[*Registration]bool{}
		s := New(Config{Changed: func(old, now *Registration, _ Cause) {
			if old != nil && !seen[old] {
				t.Fatal("a change from what never was")
			}
			delete(seen, old)
			if now != nil {
				seen[now] = true
			}
		}})
		model := map[string]*Registration{}
		far := time.Now().Add(time.Hour)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := rapid.IntRange(0, 5).Draw(t, "user")
			key := "sip:" + strconv.Itoa(n)
			old := s.Get(key)
			if old != model[key] {
				t.Fatalf("%s: store and model differ", key)
			}
			if old != nil && rapid.Bool().Draw(t, "remove") {
				if err := s.Remove(old); err != nil {
					t.Fatal(err)
				}
				delete(model, key)
				continue
			}
			now := set(far, "impi"+strconv.Itoa(n%2), key)
			if err := s.Put(old, now); err != nil {
				t.Fatal(err)
			}
			model[key] = now
		}
		if s.Len() != len(model) || len(seen) != len(model) || len(s.timers) != len(model) {
			t.Fatalf("%d sets, %d seen, %d timers, model %d", s.Len(), len(seen), len(s.timers), len(model))
		}
		var byIMPI, several int
		for _, impi := range []string{"impi0", "impi1"} {
			n := len(s.OfIMPI(impi))
			byIMPI += n
			if n > 1 {
				several++
			}
		}
		if len(s.byIMPI.others) != several {
			t.Fatalf("%d private identities are filed as having several sets, %d have", len(s.byIMPI.others), several)
		}
		var each int
		s.Each(func(r *Registration) bool { each++; return seen[r] })
		if byIMPI != len(model) || each != len(model) {
			t.Fatalf("%d by IMPI, %d by Each, model %d", byIMPI, each, len(model))
		}
	})
}

func BenchmarkGet(b *testing.B) {
	s := New(Config{})
	for i := range 50_000 {
		if err := s.Put(nil, set(time.Now().Add(time.Hour), strconv.Itoa(i), "sip:"+strconv.Itoa(i))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if s.Get("sip:777") == nil {
			b.Fatal("gone")
		}
	}
}
