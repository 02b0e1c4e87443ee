package transaction

import (
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// refuse answers a stranger.
func refuse(s *Server) {
	s.RespondAndForget(403, sip.NewResponse(s.Req, 403, "", s.StatelessTag()).Bytes())
}

// TestStrangersGetOneAnswer: a refused INVITE that came as a datagram is answered
// once for each time it comes, and nothing is kept of it; its ACK ends here.
func TestStrangersGetOneAnswer(t *testing.T) {
	bubble(t, Config{TimersFor: gmTimersFor}, func(r *rig) {
		r.tu.request = refuse
		r.receive(gmUDP, request("INVITE", "1", ""))
		out := r.wire.take()
		r.want("sent", lines(out), "403 INVITE")
		if s := r.l.Stats(); s.Servers+s.Open+s.Lingering+s.Octets != 0 {
			r.Errorf("something is kept: %+v", s)
		}
		tag := out[0].msg.ToTag()
		r.sleepTo(3 * time.Minute)
		r.want("sent within three minutes", lines(r.wire.take()), "")

		r.receive(gmUDP, request("INVITE", "1", ""))
		out = r.wire.take()
		r.want("to the retransmission", lines(out), "403 INVITE")
		r.want("its tag", out[0].msg.ToTag(), tag)
		r.tu.take()
		r.receive(gmUDP, requestVia("ACK", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", tag, ""))
		r.want("of the ACK the User hears", r.tu.take(), "")
		r.receive(gmUDP, request("MESSAGE", "2", ""))
		r.want("to a MESSAGE", lines(r.wire.take()), "403 MESSAGE")
	})
}

// TestStrangersOnStreams: over a connection an INVITE's refusal waits for its ACK as
// any does.
func TestStrangersOnStreams(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.tu.request = refuse
		r.receive(tcp, requestVia("INVITE", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1", "", ""))
		r.want("sent", lines(r.wire.take()), "100 INVITE, 403 INVITE")
		if s := r.l.Stats(); s.Open != 1 {
			r.Errorf("the ACK is not awaited: %+v", s)
		}
	})
}

// TestPhonesHearOfTheirCall: whoever is not refused at once gets the 100.
func TestPhonesHearOfTheirCall(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		for status, want := range map[int]string{0: "100 INVITE", 180: "180 INVITE"} {
			var call *Server
			r.tu.request = func(s *Server) {
				if call = s; status != 0 {
					answer(s, status)
				}
			}
			r.receive(gmUDP, request("INVITE", "b"+want[:3], ""))
			r.want("sent", lines(r.wire.take()), want)
			r.on(func(*Shard) { call.Abandon() })
		}
	})
}

// TestAnswersToStrangersAreBounded: what is more is dropped, and leaves nothing that
// would keep the sender from repeating it.
func TestAnswersToStrangersAreBounded(t *testing.T) {
	bubble(t, Config{RejectRate: 10}, func(r *rig) {
		r.tu.request = refuse
		for i := range 25 {
			r.receive(gmUDP, request("INVITE", string(rune('a'+i)), ""))
		}
		if n := len(r.wire.take()); n != 10 {
			r.Errorf("%d answers, want 10", n)
		}
		if s := r.l.Stats(); s.RateLimited != 15 || s.Servers != 0 {
			r.Errorf("%+v", s)
		}
	})
}
