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

// Many registrations run out at once, and the HSS is slow: it hears of all, not of all at
// the same time, and of none whose user has come back meanwhile.
func TestManyRegistrationsRunOutAtOnce(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		const users = 3 * maxOpenEndings
		var back *phone
		for i := range users {
			back = h.phone(fmt.Sprint("u", i))
			err := h.s.store.Put(nil, &registrar.Registration{
				Identities: []registrar.Identity{{Key: back.impu, URI: back.impu}}, IMPIs: []string{back.impi},
				Bindings: []registrar.Binding{{IMPI: back.impi, IMPU: back.impu, Contact: "sip:u@10.0.0.1", Expires: time.Now().Add(time.Minute)}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		h.hss.user(back.impi, user(nil, id(back.impu)))
		back.challenge()
		time.Sleep(59 * time.Second)
		release := h.hss.holdBack()
		time.Sleep(1500 * time.Millisecond)
		first := strings.Split(h.hss.asked(), ", ")
		if len(first) != maxOpenEndings || h.s.store.Len() != 0 {
			t.Errorf("%d SARs are open, want %d; %d users are registered", len(first), maxOpenEndings, h.s.store.Len())
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
		if h.s.endings.open != 0 || len(h.s.turns.waiting) != 0 {
			t.Errorf("%d endings are open, %d turns taken", h.s.endings.open, len(h.s.turns.waiting))
		}
	})
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
		h.hss = newHomeHSS(h.t, h.hss.host)
		defer h.hss.close()
		time.Sleep(2 * time.Minute)
		h.wantAsked("SAR alice@home.test sip:alice@home.test TIMEOUT_DEREGISTRATION")
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
	})
}
