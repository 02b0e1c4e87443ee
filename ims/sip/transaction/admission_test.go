package transaction

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// overloadedFor is a controller that lets as few in as it may.
func overloadedFor(d time.Duration) *admission.Controller {
	c := admission.NewController(admission.Config{})
	for now := int64(0); now < int64(d); now += int64(time.Millisecond) {
		if c.Admit(now, admission.New) {
			c.Began(now, admission.New, 200*time.Millisecond)
		} else {
			c.Refused(now, admission.New, 200*time.Millisecond, admission.Rate)
		}
	}
	return c
}

// Under overload what is inside of a dialog, an emergency or has priority is let in however
// long it has waited, what answers a challenge if it has not waited too long, and for all
// else the bucket is empty.
func TestWhoIsLetInUnderOverload(t *testing.T) {
	const long = time.Second / 2 // more than what Config.MaxWait of the control is
	inDialog := requestVia("BYE", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx", "us", "")
	emergency := strings.Replace(request("INVITE", "x", ""), "sip:bob@example.com", "urn:service:sos", 1)
	priority := request("INVITE", "x", "Resource-Priority: ets.0\r\n")
	sos := request("REGISTER", "x", "Contact: <sip:a@192.0.2.1;sos>\r\n")
	answered := request("REGISTER", "x", `Authorization: Digest username="a", nonce="n"`+"\r\n")
	for _, tt := range []struct {
		name   string
		flow   sip.Flow
		raw    string
		waited time.Duration
		want   string
	}{
		{"a message", gmUDP, request("MESSAGE", "x", ""), 0, "503"},
		{"a call", gmUDP, request("INVITE", "x", ""), 0, "503"},
		{"a first REGISTER", gmUDP, request("REGISTER", "x", ""), 0, "503"},
		{"in a dialog", gmUDP, inDialog, 0, "request BYE"},
		{"in a dialog, late", gmUDP, inDialog, long, "request BYE"},
		{"an emergency", gmUDP, emergency, 0, "request INVITE"},
		{"an emergency, late", gmUDP, emergency, long, "request INVITE"},
		{"an emergency registration", gmUDP, sos, long, "request REGISTER"},
		{"priority of the core", udp, priority, long, "request INVITE"},
		{"priority that a phone claims", gmUDP, priority, 0, "503"},
		{"the answer to a challenge", gmUDP, answered, 0, "request REGISTER"},
		{"the answer to a challenge, late", gmUDP, answered, long, "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, Config{Admission: overloadedFor(time.Second), NoTrying: true}, func(r *rig) {
				r.tu.request = func(s *Server) { s.Shard.After(time.Second, s.Abandon) }
				time.Sleep(time.Second)
				for i := range 200 { // what has come together is used up
					r.receive(udp, request("MESSAGE", fmt.Sprint("m", i), ""))
				}
				r.tu.take()
				r.wire.take()
				r.l.ReceiveWaited(tt.flow, tt.raw, tt.waited)
				synctest.Wait()
				got := r.tu.take()
				for _, s := range r.wire.take() {
					got += fmt.Sprint(s.msg.Status())
					if n, ok := sip.ParseRetryAfter(s.msg.Get(sip.HRetryAfter)); !ok || n < 5 || n > 10 {
						r.Errorf("Retry-After %d, want 5 to 10", n)
					}
				}
				r.want("outcome", got, tt.want)
			})
		})
	}
}

// A retransmission is absorbed, and leaves the room that there is to others.
func TestRetransmissionsTakeNoToken(t *testing.T) {
	c := overloadedFor(time.Second)
	bubble(t, Config{Admission: c}, func(r *rig) {
		time.Sleep(1500 * time.Millisecond) // the bucket fills, and the overload is not over
		if s := c.State(r.l.Now()); !s.Refusing {
			t.Fatalf("no overload: %+v", s)
		}
		r.tu.request = func(s *Server) { s.Shard.After(time.Second, s.Abandon) }
		r.receive(udp, request("MESSAGE", "a", ""))
		for range 1000 {
			r.receive(udp, request("MESSAGE", "a", ""))
		}
		r.receive(udp, request("MESSAGE", "b", ""))
		r.want("let in", r.tu.take(), "request MESSAGE, request MESSAGE")
	})
}

// What nobody works on leaves the room that there is to others as well, whether it would
// be counted by how many come or by how many are under way.
func TestMalformedRequestsTakeNoToken(t *testing.T) {
	const via = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
	register := func(_ sip.Flow, m *sip.Message) (l admission.Lane) {
		if m.Method() == "REGISTER" {
			l = admission.Registers
		}
		return l
	}
	for name, raw := range map[string]string{
		"malformed":            strings.Replace(request("MESSAGE", "x", ""), "To: ", "To: <<\"", 1),
		"malformed, under way": strings.Replace(request("REGISTER", "x", ""), "To: ", "To: <<\"", 1),
		"nobody to answer":     strings.Replace(request("MESSAGE", "x", ""), via, "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			c := overloadedFor(time.Second)
			bubble(t, Config{Admission: c, UnderWay: register}, func(r *rig) {
				time.Sleep(1500 * time.Millisecond) // the bucket fills, and the overload is not over
				if s := c.State(r.l.Now()); !s.Limiting {
					t.Fatalf("no overload: %+v", s)
				}
				r.tu.request = func(s *Server) { s.Shard.After(time.Second, s.Abandon) }
				for range 1000 {
					r.receive(udp, raw)
				}
				s := r.l.Stats()
				if got := s.Malformed + s.BadRequests + s.RateLimited; got != 1000 || s.Unavailable != 0 {
					t.Fatalf("%+v", s)
				}
				r.receive(udp, request("MESSAGE", "a", ""))
				r.want("let in", r.tu.take(), "request MESSAGE")
				if open := c.UnderWay(admission.Registers).Open; open != 0 {
					t.Errorf("%d under way", open)
				}
			})
		})
	}
}

// A repetition that has taken no token gives none back, as when a REGISTER is let in for
// the number under way: nobody fills the bucket by repeating himself.
func TestRetransmissionsFillNoBucket(t *testing.T) {
	c := overloadedFor(time.Second)
	register := func(_ sip.Flow, m *sip.Message) (l admission.Lane) {
		if m.Method() == "REGISTER" {
			l = admission.Registers
		}
		return l
	}
	bubble(t, Config{Admission: c, UnderWay: register}, func(r *rig) {
		time.Sleep(1500 * time.Millisecond)
		r.tu.request = func(s *Server) { s.Shard.After(time.Second, s.Abandon) }
		let := func(branch string) bool {
			r.receive(udp, request("MESSAGE", branch, ""))
			return r.tu.take() != ""
		}
		n := 0
		for let(fmt.Sprint("m", n)) {
			if n++; n > 10000 {
				t.Fatal("the bucket has no ground")
			}
		}
		r.receive(udp, request("REGISTER", "r", ""))
		r.want("let in", r.tu.take(), "request REGISTER")
		for range 100 {
			r.receive(udp, request("REGISTER", "r", ""))
		}
		if let("behind") {
			t.Error("a hundred repetitions of one REGISTER have made room for another request")
		}
	})
}

// What waits in the socket that this element itself is too slow to empty counts as under
// way: who works on what he reads has no other queue.
func TestUnreadRequestsCount(t *testing.T) {
	c := admission.NewController(admission.Config{})
	all := func(sip.Flow, *sip.Message) admission.Lane { return admission.Calls }
	bubble(t, Config{Admission: c, UnderWay: all, Shards: 1}, func(r *rig) {
		r.tu.request = func(s *Server) {
			s.Shard.After(5*time.Millisecond, func() { s.Heard(200); answer(s, 200) })
		}
		refused, n := 0, 0
		offer := func(d time.Duration, waited time.Duration) int {
			before := refused
			for end := time.Since(r.wire.start) + d; time.Since(r.wire.start) < end; time.Sleep(time.Millisecond) {
				n++
				r.l.ReceiveNow(udp, request("MESSAGE", fmt.Sprint("b", n), ""), waited, 0)
				for _, s := range r.wire.take() {
					if s.msg.Status() == 503 {
						refused++
					}
				}
			}
			return refused - before
		}
		if n := offer(time.Second, 0); n > 0 {
			t.Errorf("%d refused while none waits", n)
		}
		offer(time.Second/2, 150*time.Millisecond)
		if n := offer(time.Second/2, 150*time.Millisecond); n < 400 {
			t.Errorf("%d of 500 refused that have waited 150 ms: %+v", n, c.State(r.l.Now()))
		}
		offer(time.Second/4, 0)
		if n := offer(time.Second, 0); n > 0 {
			t.Errorf("%d refused a quarter of a second after the queue is gone: %+v", n, c.State(r.l.Now()))
		}
	})
}
