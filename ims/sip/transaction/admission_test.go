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
