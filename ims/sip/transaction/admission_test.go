package transaction

import (
	"testing"
	"time"

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
