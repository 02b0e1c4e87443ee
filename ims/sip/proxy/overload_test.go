package proxy

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

const (
	phoneIP, homeIP = "192.0.2.50", "192.0.2.60"
	homeAddr        = homeIP + ":5060"
)

// guarded gives a core the overload control of a P-CSCF.
func guarded(c *Config) {
	c.Admission = admission.NewController(admission.Config{})
	c.UnderWay = func(f sip.Flow, m *sip.Message) (l admission.Lane) {
		switch {
		case f.Role != sip.RoleGm:
		case m.Method() == "REGISTER":
			l = admission.Registers
		case m.Method() == "INVITE":
			l = admission.Calls
		}
		return l
	}
	c.Heed = true
}

// home answers one request after the other, each of which takes it so long; with 503
// those of which refuse says so. A call it takes with 100, and two seconds later nobody
// is there.
type home struct {
	*peer
	takes  time.Duration
	refuse func(*sip.Message) bool
}

func (h *home) serve(done *sync.WaitGroup) {
	defer done.Done()
	for {
		a, ok := <-h.box
		if !ok {
			return
		}
		switch {
		case a.msg.Method() == "ACK":
		case h.refuse != nil && h.refuse(a.msg):
			h.answer(a, 503, sip.Field{ID: sip.HRetryAfter, Value: "3"})
		case a.msg.Method() == "INVITE":
			time.Sleep(h.takes)
			h.answer(a, 100)
			time.AfterFunc(2*time.Second, func() { h.answer(a, 480) })
		default:
			time.Sleep(h.takes)
			h.answer(a, 200)
		}
	}
}

// tally is what phones have been answered.
type tally struct {
	ok, refused int
	slowest     time.Duration // refusal
	without     int           // refusals that do not say when to come back
}

// offer has requests come, one each every, for d, and counts their answers: 200, or the
// 480 to a call.
func (w *world) offer(phone *peer, method, round string, every, d time.Duration) (t tally) {
	var sent []time.Time
	text := func(n int) string { return phone.text(method, "sip:test", fmt.Sprint(round, n)) }
	count := func() {
		for len(phone.box) > 0 {
			m := (<-phone.box).msg
			n, _ := strconv.Atoi(m.CallID()[len(round):])
			if m.Status() >= 300 && method == "INVITE" {
				phone.sendTo(sip.UDP, gmAddr, phone.ackText(text(n), m))
			}
			switch m.Status() {
			case 200, 480:
				t.ok++
			case 503:
				t.refused++
				t.slowest = max(t.slowest, time.Since(sent[n]))
				if _, ok := sip.ParseRetryAfter(m.Get(sip.HRetryAfter)); !ok {
					t.without++
				}
			}
		}
	}
	for n := range int(d / every) {
		sent = append(sent, time.Now())
		phone.sendTo(sip.UDP, gmAddr, text(n))
		time.Sleep(every)
		count()
	}
	for range 3000 {
		time.Sleep(time.Millisecond)
		count()
	}
	return t
}

// A home network that can do 500 REGISTERs a second, or take 500 calls, each of which then
// rings for two seconds, is offered less, twice as many, and less again.
func TestOverload(t *testing.T) {
	for method, lane := range map[string]admission.Lane{"REGISTER": admission.Registers, "INVITE": admission.Calls} {
		t.Run(method, func(t *testing.T) {
			run(t, to(homeAddr), func(w *world) {
				phone, h := w.peer("phone", phoneIP, false), &home{peer: w.peer("home", homeIP, false), takes: 2 * time.Millisecond}
				var done sync.WaitGroup
				done.Add(1)
				go h.serve(&done)
				defer func() { phone.close(); h.close(); close(h.box); done.Wait() }()

				if got := w.offer(phone, method, "below", 4*time.Millisecond, 3*time.Second); got.ok != 750 {
					t.Errorf("offered half of what it can do: %+v", got)
				}
				got := w.offer(phone, method, "twice", time.Millisecond, 6*time.Second)
				if got.ok < 2850 || got.ok+got.refused != 6000 {
					t.Errorf("offered twice what it can do: %+v, want 95 %% of 3000 done and the rest refused", got)
				}
				if got.slowest > 100*time.Millisecond || got.without > 0 {
					t.Errorf("refusals: %+v, want each within 100ms and with Retry-After", got)
				}
				if got := w.offer(phone, method, "again", 4*time.Millisecond, 3*time.Second); got.ok != 750 {
					t.Errorf("offered half of what it can do, after an overload: %+v", got)
				}
				if s := w.core.cfg.Admission.State(w.core.layer.Now()); s.UnderWay[lane].Open != 0 || s.Refusing {
					t.Errorf("at rest: %+v", s)
				}
				w.quiet()
			}, guarded)
		})
	}
}

// Places are given back by whatever way a request ends.
func TestPlacesAreGivenBack(t *testing.T) {
	open := func(w *world) int { return w.core.cfg.Admission.UnderWay(admission.Registers).Open }
	run(t, to(homeAddr), func(w *world) {
		phone, h := w.peer("phone", phoneIP, false), w.peer("home", homeIP, false)
		defer phone.close()
		defer h.close()
		for i, status := range []int{200, 401, 503} {
			passed := status
			if status == 503 {
				passed = 500 // RFC 3261 16.7 step 6, where no handler says otherwise
			}
			raw := phone.text("REGISTER", "sip:test", fmt.Sprint("r", i))
			phone.sendTo(sip.UDP, gmAddr, raw)
			a := h.request("REGISTER")
			phone.sendTo(sip.UDP, gmAddr, raw) // a retransmission takes no second place
			phone.nothing(10 * time.Millisecond)
			check(t, "under way", open(w), 1)
			h.answer(a, status)
			phone.status(passed)
			check(t, "under way in the end", open(w), 0)
		}
		phone.sendTo(sip.UDP, gmAddr, phone.text("REGISTER", "sip:test", "silent"))
		h.request("REGISTER")
		check(t, "under way", open(w), 1)
		time.Sleep(2 * time.Second) // an HSS may be as slow
		check(t, "under way after two seconds", open(w), 1)
		time.Sleep(time.Minute) // nobody answers
		check(t, "under way when it has been given up", open(w), 0)
		phone.sendTo(sip.UDP, gmAddr, phone.text("REGISTER", "sip:test", "bad", "CSeq: 1 INVITE"))
		check(t, "under way after nonsense", func() int { time.Sleep(time.Second); return open(w) }(), 0)
		w.quiet()
	}, guarded)
}

// So are those of calls: by the first answer, of whatever kind, or when none comes.
func TestPlacesOfCallsAreGivenBack(t *testing.T) {
	run(t, to(homeAddr), func(w *world) {
		phone, h := w.peer("phone", phoneIP, false), w.peer("home", homeIP, false)
		defer phone.close()
		defer h.close()
		open := func() int { return w.core.cfg.Admission.UnderWay(admission.Calls).Open }
		ack := func(invite string, status int) {
			t.Helper()
			phone.sendTo(sip.UDP, gmAddr, phone.ackText(invite, phone.status(status)))
		}
		for i, status := range []int{100, 180, 486, 503} {
			invite := phone.text("INVITE", "sip:test", fmt.Sprint("c", i))
			phone.sendTo(sip.UDP, gmAddr, invite)
			a := h.request("INVITE")
			phone.sendTo(sip.UDP, gmAddr, invite) // a retransmission takes no second place
			phone.nothing(10 * time.Millisecond)
			check(t, fmt.Sprint("under way before ", status), open(), 1)
			h.answer(a, status)
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			check(t, fmt.Sprint("under way after ", status), open(), 0)
			if status < 200 {
				h.answer(a, 487)
			}
			if status == 180 {
				phone.status(180)
			}
			h.request("ACK")
			ack(invite, map[int]int{100: 487, 180: 487, 486: 486, 503: 500}[status])
			check(t, "under way in the end", open(), 0)
		}

		// Who hangs up before the core has said anything.
		invite := phone.text("INVITE", "sip:test", "hangs-up")
		phone.sendTo(sip.UDP, gmAddr, invite)
		a := h.request("INVITE")
		phone.sendTo(sip.UDP, gmAddr, cancel(invite, ""))
		phone.status(200)
		check(t, "under way when it is cancelled", open(), 1)
		h.answer(a, 100)
		h.answer(h.request("CANCEL"), 200)
		h.answer(a, 487)
		h.request("ACK")
		ack(invite, 487)
		check(t, "under way behind that", open(), 0)

		// Who is not there is no queue, long before the call has failed.
		invite = phone.text("INVITE", "sip:test", "silent")
		phone.sendTo(sip.UDP, gmAddr, invite)
		h.request("INVITE")
		check(t, "under way", open(), 1)
		time.Sleep(admission.Silence + 10*time.Millisecond)
		check(t, "under way when nobody has answered", open(), 0)
		time.Sleep(time.Minute)
		ack(invite, 408)
		check(t, "under way when it has failed", open(), 0)

		// Who answers after all has taken so long.
		invite = phone.text("INVITE", "sip:test", "late")
		phone.sendTo(sip.UDP, gmAddr, invite)
		a = h.request("INVITE")
		time.Sleep(2 * time.Second)
		h.answer(a, 100)
		time.Sleep(10 * time.Millisecond)
		if u := w.core.cfg.Admission.UnderWay(admission.Calls); u.Open != 0 || u.Answer < 100*time.Millisecond {
			t.Errorf("behind an answer after two seconds: %+v, want a sixteenth of it", u)
		}
		h.answer(a, 486)
		h.request("ACK")
		ack(invite, 486)
		w.quiet()
	}, guarded)
}

// A 503 of the core makes itself felt; one that an emergency call gets from an E-CSCF
// says nothing of what others may expect.
func TestPenaltiesOfTheCore(t *testing.T) {
	even := func(m *sip.Message) bool { id := m.CallID(); return id[len(id)-1]%2 == 0 }
	for _, tt := range []struct {
		class   admission.Class
		limited bool
	}{{admission.New, true}, {admission.Begun, true}, {admission.Vital, false}} {
		t.Run(tt.class.String(), func(t *testing.T) {
			run(t, to(homeAddr), func(w *world) {
				phone, h := w.peer("phone", phoneIP, false), &home{peer: w.peer("home", homeIP, false), refuse: even}
				var done sync.WaitGroup
				done.Add(1)
				go h.serve(&done)
				defer func() { phone.close(); h.close(); close(h.box); done.Wait() }()
				w.offer(phone, "MESSAGE", "m", 2*time.Millisecond, 2*time.Second)
				if s := w.core.cfg.Admission.Counts(); (s.Refused[admission.Rate] > 0) != tt.limited {
					t.Errorf("half of the core's answers are 503: %+v refused here", s.Refused)
				}
			}, guarded, func(c *Config) {
				c.Classify = func(_ sip.Flow, m *sip.Message) admission.Class {
					if even(m) {
						return tt.class
					}
					return admission.New
				}
			})
		})
	}
}

// Whoever does not want to know for how long messages have waited is not told, which
// would cost a system call.
func TestWaitsAreAskedForWhereTheyAreWanted(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		c := Config{}
		if wanted {
			guarded(&c)
		}
		_, asks := handlerOf(&Core{cfg: c}).(interface {
			ReceiveWaited(sip.Flow, string, time.Duration)
		})
		check(t, fmt.Sprint("asked, with admission control ", wanted), asks, wanted)
	}
}
