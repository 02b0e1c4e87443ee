package transaction

import (
	"fmt"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// A retransmission is absorbed, and leaves the room that there is to others.
func TestRetransmissionsTakeNoToken(t *testing.T) {
	c := admission.NewController(admission.Config{})
	for now := int64(0); now < int64(time.Second); now += int64(time.Millisecond) {
		if c.Admit(now, admission.New) {
			c.Began(now, admission.New, 200*time.Millisecond)
		} else {
			c.Refused(now, admission.New, 200*time.Millisecond, admission.Rate)
		}
	}
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

// Who is let in for the number under way may have taken nothing of the bucket: repeating
// himself he must not fill it for the rest.
func TestRetransmissionsFillNoBucket(t *testing.T) {
	c := admission.NewController(admission.Config{})
	for now := int64(0); now < int64(time.Second); now += int64(time.Millisecond) {
		if c.Admit(now, admission.New) {
			c.Began(now, admission.New, 200*time.Millisecond)
		} else {
			c.Refused(now, admission.New, 200*time.Millisecond, admission.Rate)
		}
	}
	register := func(_ sip.Flow, m *sip.Message) bool { return m.Method() == "REGISTER" }
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
	all := func(sip.Flow, *sip.Message) bool { return true }
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
