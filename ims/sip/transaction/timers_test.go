package transaction

import (
	"fmt"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// leg is one row of TS 24.229 table 7.7.1.
type leg struct {
	name string
	flow sip.Flow
	t    Timers
}

var legs = []leg{{"core", udp, DefaultTimers()}, {"Gm", gmUDP, GmTimers()}}

func onLegs(t *testing.T, f func(r *rig, leg leg)) {
	for _, leg := range legs {
		t.Run(leg.name, func(t *testing.T) {
			bubble(t, Config{TimersFor: gmTimersFor}, func(r *rig) { f(r, leg) })
		})
	}
}

// doubling lists when something is sent that repeats from t1 on, doubling up to
// limit (0: without), until end.
func doubling(t1, limit, end time.Duration) []sent {
	out := []sent{{}}
	for at, d := t1, t1; at < end; {
		out = append(out, sent{at: at})
		if d *= 2; limit > 0 {
			d = min(d, limit)
		}
		at += d
	}
	return out
}

func TestTimersOfLegs(t *testing.T) {
	conformance.Shows(t, "TR-11")
	gm := GmTimers()
	if gm.T1 != 2*time.Second || gm.T2 != 16*time.Second || gm.T4 != 17*time.Second {
		t.Errorf("GmTimers: %+v", gm)
	}
	core := DefaultTimers()
	if core.T1 != 500*time.Millisecond || core.T2 != 4*time.Second || core.T4 != 5*time.Second {
		t.Errorf("DefaultTimers: %+v", core)
	}
	t.Run("A and B: INVITE unanswered", func(t *testing.T) {
		onLegs(t, func(r *rig, leg leg) {
			r.on(func(sh *Shard) { sh.Client(r.tu.client(leg.flow, "INVITE", "1")) })
			r.sleepTo(64*leg.t.T1 - 1)
			r.want("log before Timer B", r.tu.take(), "")
			r.sleepTo(64 * leg.t.T1)
			r.want("log", r.tu.take(), "failed: "+ErrTimeout.Error())
			r.want("Timer A", times(r.wire.take()), times(doubling(leg.t.T1, 0, 64*leg.t.T1)))
		})
	})
	t.Run("E and F: non-INVITE unanswered", func(t *testing.T) {
		onLegs(t, func(r *rig, leg leg) {
			r.on(func(sh *Shard) { sh.Client(r.tu.client(leg.flow, "MESSAGE", "1")) })
			r.sleepTo(64*leg.t.T1 - 1)
			r.want("log before Timer F", r.tu.take(), "")
			r.sleepTo(64 * leg.t.T1)
			r.want("log", r.tu.take(), "failed: "+ErrTimeout.Error())
			r.want("Timer E", times(r.wire.take()), times(doubling(leg.t.T1, leg.t.T2, 64*leg.t.T1)))
		})
	})
	t.Run("G and H: no ACK", func(t *testing.T) {
		onLegs(t, func(r *rig, leg leg) {
			r.tu.request = func(s *Server) {
				s.OnEnd(func() { r.tu.note("end: %v", s.Err()) })
				answer(s, 486)
			}
			r.receive(leg.flow, request("INVITE", "1", ""))
			r.sleepTo(64*leg.t.T1 - 1)
			r.want("log before Timer H", r.tu.take(), "request INVITE")
			r.sleepTo(64 * leg.t.T1)
			r.want("log", r.tu.take(), "end: "+ErrNoAck.Error())
			out := r.wire.take()
			if leg.flow.Role != sip.RoleGm { // see RespondAndForget
				r.want("100 first", line(out[0].msg), "100 INVITE")
				out = out[1:]
			}
			r.want("Timer G", times(out), times(doubling(leg.t.T1, leg.t.T2, 64*leg.t.T1)))
		})
	})

	// The states that linger end after D, I, J, K, L, M and not before.
	linger := func(name string, d func(Timers) time.Duration, enter func(r *rig, leg leg)) {
		t.Run(name, func(t *testing.T) {
			onLegs(t, func(r *rig, leg leg) {
				enter(r, leg)
				r.sleepTo(d(leg.t) - 1)
				if s := r.l.Stats(); s.Lingering != 1 || s.Open != 0 {
					r.Errorf("just before the timer: %+v", s)
				}
				r.sleepTo(d(leg.t))
				if s := r.l.Stats(); s.Servers+s.Clients != 0 {
					r.Errorf("after the timer: %+v", s)
				}
			})
		})
	}
	t1x64 := func(t Timers) time.Duration { return 64 * t.T1 }
	t4 := func(t Timers) time.Duration { return t.T4 }
	sends := func(method string, status int) func(r *rig, leg leg) {
		return func(r *rig, leg leg) {
			r.on(func(sh *Shard) { sh.Client(r.tu.client(leg.flow, method, "1")) })
			r.receive(leg.flow, response(status, method, "1"))
		}
	}
	answers := func(method string, status int) func(r *rig, leg leg) {
		return func(r *rig, leg leg) {
			r.tu.request = func(s *Server) { answer(s, status) }
			r.receive(leg.flow, request(method, "1", ""))
			if status >= 300 && method == "INVITE" {
				r.receive(leg.flow, request("ACK", "1", ""))
			}
		}
	}
	linger("D: INVITE refused", t1x64, sends("INVITE", 486))
	linger("I: ACK received", t4, answers("INVITE", 486))
	linger("J: non-INVITE answered", t1x64, answers("MESSAGE", 200))
	linger("K: non-INVITE done", t4, sends("MESSAGE", 200))
	linger("L: INVITE accepted", t1x64, answers("INVITE", 200))
	linger("M: 2xx received", t1x64, sends("INVITE", 200))
}

// A non-INVITE that waits for its User gets a 100 when RFC 4320 §4.1 asks for
// it, and no answer at all when its client must have given up.
func TestNonInviteSlowUser(t *testing.T) {
	onLegs(t, func(r *rig, leg leg) {
		var got *Server
		r.tu.request = func(s *Server) {
			got = s
			answer(s, 100) // too early over UDP
			answer(s, 183) // never
			s.OnEnd(func() { r.tu.note("end: %v", s.Err()) })
		}
		r.receive(leg.flow, request("SUBSCRIBE", "1", ""))
		r.receive(leg.flow, request("SUBSCRIBE", "1", ""))
		due := map[string]time.Duration{"core": 3500 * time.Millisecond, "Gm": 14 * time.Second}[leg.name]
		r.sleepTo(due - 1)
		r.want("before", lines(r.wire.take()), "")
		r.sleepTo(due)
		r.want("then", lines(r.wire.take()), "100 SUBSCRIBE")
		r.receive(leg.flow, request("SUBSCRIBE", "1", ""))
		r.want("repeated", lines(r.wire.take()), "100 SUBSCRIBE")
		r.sleepTo(64 * leg.t.T1)
		r.want("log", r.tu.take(), "request SUBSCRIBE, end: "+ErrTimeout.Error())
		r.on(func(*Shard) { answer(got, 200) })
		r.want("too late", lines(r.wire.take()), "")
	})
}

func TestStreamsDoNotRetransmit(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		var end time.Duration
		r.tu.request = func(s *Server) {
			s.OnEnd(func() { end = time.Since(r.wire.start) })
			answer(s, 486)
		}
		r.on(func(sh *Shard) { sh.Client(r.tu.client(tcp, "MESSAGE", "1")) })
		r.on(func(sh *Shard) { sh.Client(r.tu.client(tcp, "INVITE", "2")) })
		r.receive(tcp, requestVia("INVITE", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK3", "", ""))
		r.sleepTo(31 * time.Second)
		r.want("sent", lines(r.wire.take()), "MESSAGE, INVITE, 100 INVITE, 486 INVITE")
		r.sleepTo(32 * time.Second)
		r.want("log", r.tu.take(), fmt.Sprintf("request INVITE, failed: %v, failed: %v", ErrTimeout, ErrTimeout))
		if end != 32*time.Second {
			r.Errorf("Timer H after %v", end)
		}
	})
	// D, I, J and K are zero: nothing lingers.
	bubble(t, Config{}, func(r *rig) {
		r.tu.request = func(s *Server) { answer(s, 486) }
		r.on(func(sh *Shard) { sh.Client(r.tu.client(tcp, "MESSAGE", "1")) })
		r.on(func(sh *Shard) { sh.Client(r.tu.client(tcp, "INVITE", "2")) })
		r.receive(tcp, response(200, "MESSAGE", "1"))
		r.receive(tcp, response(486, "INVITE", "2"))
		r.receive(tcp, requestVia("MESSAGE", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK3", "", ""))
		r.receive(tcp, requestVia("INVITE", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK4", "", ""))
		r.receive(tcp, requestVia("ACK", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK4", "us", ""))
		if s := r.l.Stats(); s.Servers+s.Clients+s.Lingering != 0 {
			r.Errorf("%+v", s)
		}
		r.want("log", r.tu.take(), "200 MESSAGE, 486 INVITE, request MESSAGE, request INVITE")
	})
}

func TestTimersOfOneRequest(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.on(func(sh *Shard) {
			q := r.tu.client(udp, "INVITE", "1")
			q.Timers = Timers{B: 2 * time.Second} // the rest by default
			sh.Client(q)
		})
		r.sleepTo(2 * time.Second)
		r.want("sent", times(r.wire.take()), "0s 500ms 1.5s")
		r.want("log", r.tu.take(), "failed: "+ErrTimeout.Error())
	})
}

func TestAfter(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		var second, zero Timer
		r.on(func(sh *Shard) {
			sh.After(2*time.Second, func() { r.tu.note("2 s"); second.Stop() })
			sh.After(time.Second, func() { r.tu.note("1 s") })
			second = sh.After(3*time.Second, func() { r.tu.note("3 s") })
			if zero.Stop() {
				r.Error("the zero Timer claims to have run")
			}
		})
		r.sleepTo(10 * time.Second)
		r.want("log", r.tu.take(), "1 s, 2 s")
		r.on(func(*Shard) {
			if second.Stop() {
				r.Error("stopped twice")
			}
		})
	})
}

// The heap keeps its order through any mixture of operations.
func TestHeap(t *testing.T) {
	var h heap
	timers := make([]timer, 200)
	when := make([]int64, len(timers))
	seed := uint64(1)
	random := func(n int) int {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed>>33) % n
	}
	for range 20000 {
		i := random(len(timers))
		switch random(3) {
		case 0:
			h.remove(&timers[i])
		default:
			when[i] = int64(random(1000))
			h.set(&timers[i], when[i])
		}
	}
	running := 0
	for i := range timers {
		if timers[i].running() {
			running++
		}
	}
	if running == 0 || running != len(h.entries) {
		t.Fatalf("%d running, %d in the heap", running, len(h.entries))
	}
	last := int64(-1)
	for h.pop(-1) == nil && len(h.entries) > 0 {
		next, _ := h.next()
		tm := h.pop(next)
		if next < last || tm.running() {
			t.Fatalf("%d behind %d", next, last)
		}
		last = next
	}
}

// The record of a timer is used again; whoever holds the timer that it was before
// stops nothing.
func TestTimersAreUsedAgain(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.on(func(sh *Shard) {
			a := sh.After(time.Second, func() { r.tu.note("a") })
			if !a.Stop() || a.Stop() {
				t.Error("a timer is stopped once")
			}
			b := sh.After(time.Second, func() { r.tu.note("b") })
			if a.t != b.t {
				t.Error("the record is not used again")
			}
			if a.Stop() {
				t.Error("a timer of before has stopped another one")
			}
			var c Timer
			c = sh.After(2*time.Second, func() {
				d := sh.After(time.Second, func() { r.tu.note("d") })
				if c.Stop() || b.Stop() {
					t.Error("a timer that has fired can be stopped")
				}
				_ = d
			})
		})
		time.Sleep(10 * time.Second)
		r.want("log", r.tu.take(), "b, d")
		if (Timer{}).Stop() {
			t.Error("the zero Timer is stopped")
		}
	})
}
