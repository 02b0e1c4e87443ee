package transaction

import (
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// scribble is what a caller may do with octets that are his again.
func scribble(data []byte) {
	for i := range data {
		data[i] = '#'
	}
}

// same fails unless all that was sent is the same message, so many times.
func (r *rig) same(what string, s []sent, times int) {
	r.Helper()
	if len(s) != times {
		r.Errorf("%s: %d messages are sent (%s), want %d", what, len(s), lines(s), times)
	}
	for i := range s {
		if s[i].msg.Raw() != s[0].msg.Raw() {
			r.Errorf("%s: message %d is\n%s\nthe first was\n%s", what, i+1, s[i].msg.Raw(), s[0].msg.Raw())
		}
	}
}

// traffic has the layer use and free Buffers of the size in question.
func (r *rig) traffic() {
	before := r.wire.take()
	for _, b := range []string{"t1", "t2", "t3", "t4"} {
		r.on(func(sh *Shard) { sh.Client(r.tu.client(udp, "OPTIONS", b)) })
		r.receive(udp, response(200, "OPTIONS", b))
	}
	r.wire.mu.Lock()
	r.wire.sent = before
	r.wire.mu.Unlock()
}

// A response that is sent again is the one that was given, whatever has become of the
// octets since.
func TestRespondBorrows(t *testing.T) {
	for _, c := range []struct {
		name, method string
		flow         sip.Flow
		status       int
		onEnd        bool
		again        int // how often it is sent
	}{
		{"what is past", "MESSAGE", udp, 200, false, 3},
		{"what stays for OnEnd", "MESSAGE", udp, 200, true, 3},
		{"on Gm", "MESSAGE", gmUDP, 404, false, 3},
		{"a provisional", "INVITE", udp, 180, false, 3},
		{"Timer G", "INVITE", udp, 486, false, 2 + 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{NoTrying: true, Shards: 1, TimersFor: gmTimersFor}, func(r *rig) {
				r.tu.request = func(s *Server) {
					if c.onEnd {
						s.OnEnd(func() {})
					}
					data := sip.NewResponse(s.Req, c.status, "", "us").AddName("X-Long", strings.Repeat("x", 500)).Bytes()
					s.Respond(c.status, data)
					scribble(data)
				}
				in := request(c.method, "1", "")
				for range 2 {
					r.receive(c.flow, in)
					r.traffic()
				}
				r.sleepTo(4 * time.Second) // Timer G at 0.5, 1.5 and 3.5 s
				r.receive(c.flow, in)
				r.same(c.name, r.wire.take(), c.again)
				r.on(func(sh *Shard) {
					for _, t := range sh.servers {
						if t.server != nil && c.method == "INVITE" && c.status < 200 {
							t.server.Respond(487, sip.NewResponse(t.server.Req, 487, "", "us").Bytes())
						}
					}
				})
			})
		})
	}
}

// So it is where a stream fails long after Respond has returned.
func TestRespondBorrowsOnStreams(t *testing.T) {
	bubble(t, Config{Shards: 1}, func(r *rig) {
		var broken func(error)
		var first string
		r.l.cfg.Sender = senderFunc(func(f sip.Flow, data []byte, fail func(error)) {
			if broken == nil {
				broken, first = fail, string(data)
				return
			}
			r.wire.Send(f, data, nil)
		})
		r.tu.request = func(s *Server) {
			data := sip.NewResponse(s.Req, 200, "", "us").Bytes()
			s.Respond(200, data)
			scribble(data)
		}
		r.receive(tcp, strings.Replace(request("MESSAGE", "1", ""), "/UDP", "/TCP", 1))
		broken(ErrTimeout)
		r.on(func(*Shard) {})
		if s := r.wire.take(); len(s) != 1 || s[0].msg.Raw() != first {
			t.Errorf("sent %v, want once\n%s", s, first)
		}
	})
}

// A request that is sent again is the one that was rendered, and its ACK and CANCEL are
// made of it.
func TestRequestIsKept(t *testing.T) {
	for _, method := range []string{"MESSAGE", "INVITE"} {
		t.Run(method, func(t *testing.T) {
			bubble(t, Config{Shards: 1}, func(r *rig) {
				var c *Client
				r.on(func(sh *Shard) { c = sh.Client(r.tu.client(udp, method, "1")) })
				r.traffic()
				r.sleepTo(4 * time.Second)
				first := r.wire.take()
				r.same(method, first, 4)
				if method == "MESSAGE" {
					return
				}
				r.receive(udp, response(180, method, "1"))
				r.on(func(*Shard) { c.Cancel() })
				r.traffic()
				r.receive(udp, response(487, method, "1"))
				r.traffic()
				r.receive(udp, response(487, method, "1"))
				s := r.wire.take()
				r.want("sent", lines(s), "CANCEL, ACK, ACK")
				for _, x := range s {
					if x.msg.RequestURI() != first[0].msg.RequestURI() || x.msg.First(sip.HVia) != first[0].msg.First(sip.HVia) || x.msg.CallID() != callID {
						t.Errorf("of another request:\n%s", x.msg.Raw())
					}
				}
				r.same("ACK", s[1:], 2)
				r.receive(udp, response(200, "CANCEL", "1"))
			})
		})
	}
}
