package scscf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/registrar"
)

// runOut registers so many users, u0 and so on, who all run out in a minute.
func (h *homeNet) runOut(users int) {
	h.t.Helper()
	for i := range users {
		p := h.phone(fmt.Sprint("u", i))
		err := h.s.store.Put(nil, &registrar.Registration{
			Identities: []registrar.Identity{{Key: p.impu, URI: p.impu}}, IMPIs: []string{p.impi},
			Bindings: []registrar.Binding{{IMPI: p.impi, IMPU: p.impu, Contact: "sip:u@10.0.0.1", Expires: time.Now().Add(time.Minute)}},
		})
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

// Many registrations run out at once, and the HSS is slow: it hears of all, not of all at
// the same time, and of none whose user has come back meanwhile.
func TestManyRegistrationsRunOutAtOnce(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		const users = 3 * maxOpenEndings
		h.runOut(users)
		back := h.phone(fmt.Sprint("u", users-1))
		h.hss.user(back.impi, user(nil, id(back.impu)))
		back.challenge()
		time.Sleep(59 * time.Second)
		release := h.hss.holdBack()
		time.Sleep(1500 * time.Millisecond)
		first := strings.Split(h.hss.asked(), ", ")
		if len(first) != firstOpenEndings || h.s.store.Len() != 0 {
			t.Errorf("%d SARs are open, want %d; %d users are registered", len(first), firstOpenEndings, h.s.store.Len())
		}
		h.hss.letThrough()
		back.send(200, back.answer())
		h.wantAsked("SAR " + back.impi + " " + back.impu + " REGISTRATION")
		release()
		time.Sleep(time.Second)
		all := append(first, strings.Split(h.hss.asked(), ", ")...)
		slices.Sort(all)
		all = slices.Compact(all)
		if n := len(all); n != users-1 || slices.ContainsFunc(all, func(l string) bool {
			return strings.Contains(l, back.impi) || !strings.HasSuffix(l, " TIMEOUT_DEREGISTRATION")
		}) {
			t.Errorf("the HSS has heard of %d, want %d, none of who is back", n, users-1)
		}
		if h.s.endings.pace.open != 0 || len(h.s.turns.waiting) != 0 {
			t.Errorf("%d endings are open, %d turns taken", h.s.endings.pace.open, len(h.s.turns.waiting))
		}
	})
}

// The HSS answers slowly while it is told of many: a phone that comes gets its challenge,
// and what the HSS takes is not told again.
func TestEndingsLeaveTheHSSToPhones(t *testing.T) {
	for _, tt := range []struct {
		pace  time.Duration // of the HSS
		users int
		told  int // how often a user may be
	}{
		{10 * time.Millisecond, 2000, 1},
		{25 * time.Millisecond, 500, 2},
		{500 * time.Millisecond, 100, 3},
	} {
		t.Run(tt.pace.String(), func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				h.runOut(tt.users)
				h.hss.user("new@"+home, user(nil, id("sip:new@home.test")))
				h.hss.paced(tt.pace)
				time.Sleep(time.Minute)
				for range 50 {
					h.phone("new").challenge()
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(10 * time.Minute)
				told := map[string]int{}
				for _, l := range strings.Split(h.hss.asked(), ", ") {
					told[l]++
				}
				if len(told) != tt.users+1 { // and that the new phone did not answer
					t.Errorf("the HSS was told of %d, want %d", len(told), tt.users+1)
				}
				for l, n := range told {
					if n > tt.told && !strings.Contains(l, "new@") {
						t.Errorf("the HSS was told %d times: %s", n, l)
					}
				}
			})
		})
	}
}

// An HSS far away, slow and not overloaded, is asked by phones all the time: the endings
// have a part of it.
func TestEndingsBesideManyPhones(t *testing.T) {
	for _, rate := range []int{10, 25, 100} {
		t.Run(fmt.Sprint(rate, " a second"), func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				const users = 50
				h.runOut(users)
				h.hss.user("new@"+home, user(nil, id("sip:new@home.test")))
				h.hss.mu.Lock()
				h.hss.slow = 600 * time.Millisecond
				h.hss.mu.Unlock()
				refused := 0
				for range 120 * rate {
					h.phone("new").write(h.phone("new").digest("", nil))
					time.Sleep(time.Second / time.Duration(rate))
					for len(h.p.box) > 0 {
						if m := <-h.p.box; m.Status() == 503 {
							refused++
						}
					}
				}
				if n := strings.Count(h.hss.asked(), "TIMEOUT_DEREGISTRATION"); n != users {
					t.Errorf("the HSS was told of %d, want %d", n, users)
				}
				if refused > 120*rate/100 {
					t.Errorf("%d of %d REGISTERs were refused", refused, 120*rate)
				}
			})
		})
	}
}

// Of what may be open at a slow HSS the endings take an eighth, while phones take the rest.
func TestEndingsTakeTheirPart(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		h.runOut(50)
		h.hss.user("new@"+home, user(nil, id("sip:new@home.test")))
		h.hss.mu.Lock()
		h.hss.slow = 600 * time.Millisecond
		h.hss.mu.Unlock()
		const rate = 25
		most := 0
		come := func(d time.Duration) {
			for range rate * int(d/time.Second) {
				h.phone("new").write(h.phone("new").digest("", nil))
				time.Sleep(time.Second / rate)
				for len(h.p.box) > 0 {
					<-h.p.box
				}
				h.s.endings.mu.Lock()
				most = max(most, h.s.endings.pace.open)
				h.s.endings.mu.Unlock()
			}
		}
		come(58 * time.Second)
		release := h.hss.holdBack()
		come(3 * time.Second)
		if most < 1 || most > rate/8+1 { // 25 may be open: as many as are answered in a second
			t.Errorf("%d endings were open at once", most)
		}
		release()
	})
}

// What has become of a SAR says how many may be open. One that cannot be delivered says
// nothing of how much the HSS has to do.
func TestWhatPacesEndings(t *testing.T) {
	for _, tt := range []struct {
		name string
		hss  func(h *homeHSS)
		most func(n int) bool
		rest bool
	}{
		{"all are taken", func(h *homeHSS) {}, func(n int) bool { return n > firstOpenEndings }, false},
		{"refused for good", func(h *homeHSS) { h.answering("SAR", cx.ErrorUserUnknown.Result()) }, func(n int) bool { return n > firstOpenEndings }, false},
		{"not delivered", func(h *homeHSS) { h.answering("SAR", diameter.Base(diameter.UnableToDeliver)) }, func(n int) bool { return n == firstOpenEndings }, false},
		{"too busy", func(h *homeHSS) { h.answering("SAR", diameter.Base(diameter.TooBusy)) }, func(n int) bool { return n < firstOpenEndings }, true},
		{"silent", func(h *homeHSS) { h.silent("SAR") }, func(n int) bool { return n < firstOpenEndings }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				h.runOut(100)
				tt.hss(h.hss)
				time.Sleep(64 * time.Second)
				q := h.s.endings
				q.mu.Lock()
				if len(q.first) != 0 && !tt.rest {
					t.Errorf("%d are not told yet", len(q.first))
				}
				if !tt.most(q.pace.most) || tt.rest != (q.pace.rest > 0) || q.pace.open != 0 && !tt.rest {
					t.Errorf("%+v", q.pace)
				}
				q.mu.Unlock()
			})
		})
	}
}

// Those of whom the HSS need not hear any more leave no trace, in whatever way that is so.
func TestEndingsThatAreNotTold(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		h.hss.asked()
		q := h.s.endings
		for range 3 * firstOpenEndings {
			q.add(ending{impi: p.impi, impu: p.impu, kind: cx.AuthenticationTimeout})
			q.add(ending{impi: p.impi, impu: p.impu, kind: cx.TimeoutDeregistration})
			time.Sleep(10 * time.Millisecond)
		}
		q.mu.Lock()
		if q.pace != newEndingPace() || len(q.first)+len(q.again)+len(q.challenges)+len(q.challengesAgain) != 0 {
			t.Errorf("%+v; %d, %d and %d wait", q.pace, len(q.first), len(q.again), len(q.challenges))
		}
		q.mu.Unlock()
		// Whose turn is taken by many waits, and the HSS is no reason.
		h.hss.silent("SAR")
		p.protected = "yes"
		for range maxWaiting + 1 {
			p.write(p.answer())
		}
		time.Sleep(100 * time.Millisecond)
		q.add(ending{impi: p.impi, impu: p.impu, kind: cx.TimeoutDeregistration})
		time.Sleep(100 * time.Millisecond)
		q.mu.Lock()
		if q.pace != newEndingPace() || len(q.again) != 1 {
			t.Errorf("%+v; %d wait", q.pace, len(q.again))
		}
		q.mu.Unlock()
	})
}

// Neither those that are told again nor those that are new keep the others waiting, and
// challenges keep nobody.
func TestOrderOfEndings(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		q, now := newEndings(h.s), time.Now()
		for i := range 3 {
			q.challenges = append(q.challenges, ending{impi: fmt.Sprint("c", i), kind: cx.AuthenticationTimeout})
			q.first = append(q.first, ending{impi: fmt.Sprint("f", i)})
			q.again = append(q.again, ending{impi: fmt.Sprint("a", i), tries: 1, after: now.Add(time.Duration(i) * time.Minute)})
		}
		var got []string
		var waits []time.Duration
		q.challengesAgain = append(q.challengesAgain, ending{impi: "d", kind: cx.AuthenticationTimeout, tries: 1, after: now.Add(30 * time.Second)})
		for len(q.first)+len(q.again)+len(q.challenges)+len(q.challengesAgain) > 0 {
			q.pace.open = 0
			e, wait := q.next(now)
			if wait == 0 {
				got = append(got, e.impi)
				continue
			}
			waits, now = append(waits, wait), now.Add(wait)
		}
		if want := "[f0 a0 f1 f2 c0 c1 c2 d a1 a2] [30s 30s 1m0s]"; fmt.Sprint(got, waits) != want {
			t.Errorf("%v %v, want %s", got, waits, want)
		}
		if e, wait := q.next(now); wait != time.Hour {
			t.Errorf("%v in %v", e, wait)
		}
	})
}

func TestEndingPace(t *testing.T) {
	p, now := newEndingPace(), time.Now()
	want := func(what string, most int, wait time.Duration) {
		t.Helper()
		if got := p.wait(now); p.most != most || got != wait {
			t.Errorf("%s: %d may be open, the next in %v; want %d and %v", what, p.most, got, most, wait)
		}
	}
	for range 8 + 9 {
		p.taken()
	}
	p.until = now
	want("two rounds of answers", 10, 0)
	p.failed(now)
	p.failed(now)
	want("two were not taken", 5, time.Second)
	for range 10 {
		now = now.Add(maxEndingRest)
		p.failed(now)
	}
	want("none was for long", 1, maxEndingRest)
	p.taken()
	now = now.Add(maxEndingRest)
	p.failed(now)
	want("one was not taken behind one that was", 1, time.Second)
	p.open = 1
	want("one is open", 1, time.Hour)
	for range 100_000 {
		p.taken()
	}
	p.open, p.until = 0, now
	want("all are taken", maxOpenEndings, 0)
	p.undelivered(now)
	want("one is not delivered", maxOpenEndings, undeliveredRest)
	p.until = now.Add(time.Second)
	p.undelivered(now)
	want("and one before was not taken", maxOpenEndings, time.Second)
}

// What the HSS has not taken it is told again, while it is so.
func TestEndThatTheHSSDoesNotTake(t *testing.T) {
	const of = "SAR alice@home.test sip:alice@home.test "
	const timeout, left, unanswered = of + "TIMEOUT_DEREGISTRATION", of + "USER_DEREGISTRATION", of + "AUTHENTICATION_TIMEOUT"
	runsOut := func(*homeNet, *phone) { time.Sleep(time.Hour + time.Second) }
	tests := []struct {
		name  string
		ends  func(h *homeNet, p *phone)
		while func(h *homeNet, p *phone) // the HSS is itself again; nil for nothing
		asked string                     // afterwards
		first string
	}{
		{"it runs out", runsOut, nil, timeout, timeout},
		{"the phone leaves", func(_ *homeNet, p *phone) { p.again(200, "Expires: 0") }, nil, left, left},
		{"nobody answers", func(h *homeNet, p *phone) {
			p.again(200, "Expires: 0")
			h.hss.silent("")
			time.Sleep(2 * time.Minute)
			h.hss.asked()
			p.challenge()
			h.hss.silent("SAR")
			time.Sleep(4*time.Minute + time.Second)
		}, nil, unanswered, unanswered},
		{"the phone is back", runsOut, func(_ *homeNet, p *phone) { p.register() }, of + "REGISTRATION", timeout},
		{"somebody calls", runsOut, func(h *homeNet, _ *phone) {
			if err := h.s.store.Put(nil, &registrar.Registration{Identities: []registrar.Identity{{Key: aliceSIP, URI: aliceSIP}}, Until: time.Now().Add(time.Hour)}); err != nil {
				t.Error(err)
			}
		}, "", timeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.register()
				h.hss.asked()
				h.hss.silent("SAR")
				tt.ends(h, p)
				h.wantAsked(tt.first)
				time.Sleep(5 * time.Second)
				h.wantAsked("")
				h.hss.silent("")
				if tt.while != nil {
					tt.while(h, p)
				}
				time.Sleep(10 * time.Minute)
				h.wantAsked(tt.asked)
			})
		})
	}
	for _, tt := range []struct {
		result diameter.Result
		times  int
	}{
		{diameter.Base(diameter.TooBusy), maxEndingTries},
		{diameter.Base(diameter.UnableToComply), 1},
		{cx.ErrorUserUnknown.Result(), 1},
	} {
		t.Run(fmt.Sprint("never, ", tt.result), func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.register()
				h.hss.asked()
				h.hss.answering("SAR", tt.result)
				time.Sleep(3 * time.Hour)
				if n := strings.Count(h.hss.asked(), "TIMEOUT_DEREGISTRATION"); n != tt.times {
					t.Errorf("the HSS was told %d times, want %d", n, tt.times)
				}
			})
		})
	}
}

// No HSS is connected for longer than one that is silent would be told.
func TestEndWithoutAnHSS(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		h.hss.close()
		time.Sleep(4 * time.Hour)
		h.wantBindings(aliceSIP, "")
		if n := h.s.endings.len(); n != 1 {
			t.Errorf("%d endings wait", n)
		}
		h.hss = newHomeHSS(h.t, h.hss.host)
		defer h.hss.close()
		time.Sleep(2 * time.Minute)
		h.wantAsked("SAR alice@home.test sip:alice@home.test TIMEOUT_DEREGISTRATION")
		if n := h.s.endings.len(); n != 0 {
			t.Errorf("%d endings wait when the HSS has taken it", n)
		}
	})
}

func TestBoundOfEndings(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		q := newEndings(h.s)
		q.max = 2
		for i, tries := range []int{0, 1, 0, 1} {
			q.add(ending{impi: fmt.Sprint("u", i), tries: tries})
		}
		if len(q.first) != 1 || len(q.again) != 1 || q.first[0].impi != "u0" || q.again[0].impi != "u1" {
			t.Errorf("%v and %v wait", q.first, q.again)
		}
		// Strangers can make those of challenges: they leave the others their room.
		for i := range 3 {
			q.add(ending{impi: fmt.Sprint("c", i), kind: cx.AuthenticationTimeout})
		}
		q.add(ending{impi: "again", kind: cx.AuthenticationTimeout, tries: 1})
		if len(q.challenges) != 1 || len(q.challengesAgain) != 0 || q.challenges[0].impi != "c0" {
			t.Errorf("%v wait, want one challenge that was not answered", q.challenges)
		}
		q.first = q.first[1:]
		q.add(ending{impi: "u4"})
		if len(q.first) != 1 || q.first[0].impi != "u4" {
			t.Errorf("%v wait", q.first)
		}
	})
}
