package transaction

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

func TestAccepted(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		var s *Server
		r.tu.request = func(got *Server) { s = got }
		r.receive(udp, request("INVITE", "1", ""))
		r.on(func(*Shard) { answer(s, 180); answer(s, 200) })
		r.wire.take()

		r.receive(udp, request("INVITE", "1", "")) // the 200 got lost
		r.want("INVITE again", lines(r.wire.take()), "")
		r.on(func(*Shard) { answer(s, 200) }) // the UAS repeats it
		r.want("200 again", lines(r.wire.take()), "200 INVITE")
		r.on(func(*Shard) { answer(s, 487) }) // a CANCEL that came too late
		r.want("487 after 200", lines(r.wire.take()), "")
		r.want("log", r.tu.take(), "request INVITE")

		// The ACK is the User's, with its own branch or with that of the INVITE.
		r.receive(udp, requestVia("ACK", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKack", "us", ""))
		r.receive(udp, requestVia("ACK", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "us", ""))
		r.want("log", r.tu.take(), "ack us, ack us")

		r.sleepTo(31 * time.Second)
		r.receive(udp, request("INVITE", "1", ""))
		r.want("INVITE after 31 s", r.tu.take(), "")
		r.sleepTo(32 * time.Second)
		r.receive(udp, requestVia("ACK", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKack", "us", ""))
		r.want("late ACK", r.tu.take(), "ack us")
	})
}

func TestAcceptedClient(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.on(func(sh *Shard) { sh.Client(r.tu.client(udp, "INVITE", "1")) })
		for _, status := range []int{100, 183, 200, 200, 486, 180, 200} {
			r.receive(udp, response(status, "INVITE", "1"))
		}
		r.want("log", r.tu.take(), "100 INVITE, 183 INVITE, 200 INVITE, 200 INVITE, 200 INVITE")
		r.want("sent", lines(r.wire.take()), "INVITE")
		r.sleepTo(32 * time.Second)
		r.receive(udp, response(200, "INVITE", "1"))
		r.want("after Timer M", r.tu.take(), "stray 200 INVITE")
	})
}

func TestRetransmissionsAbsorbed(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		var s *Server
		r.tu.request = func(got *Server) { s = got }
		r.receive(udp, request("INVITE", "1", ""))
		r.receive(udp, request("INVITE", "1", ""))
		r.want("100, again for the copy", lines(r.wire.take()), "100 INVITE, 100 INVITE")
		r.on(func(*Shard) { answer(s, 183) })
		r.receive(udp, request("INVITE", "1", ""))
		r.want("183, again for the copy", lines(r.wire.take()), "183 INVITE, 183 INVITE")
		r.on(func(*Shard) { answer(s, 486) })
		r.receive(udp, request("INVITE", "1", ""))
		r.want("486, again for the copy", lines(r.wire.take()), "486 INVITE, 486 INVITE")
		r.receive(udp, request("ACK", "1", ""))
		r.receive(udp, request("ACK", "1", ""))
		r.receive(udp, request("INVITE", "1", ""))
		r.want("quiet after the ACK", lines(r.wire.take()), "")
		r.want("log", r.tu.take(), "request INVITE")
		if n := r.l.Stats().Absorbed; n != 6 {
			r.Errorf("absorbed %d, not 6", n)
		}
	})
}

func TestServerMatching(t *testing.T) {
	const via = "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"
	for _, c := range []struct {
		name, first, second string
		same                bool
	}{
		{"copy", requestVia("MESSAGE", via, "", ""), requestVia("MESSAGE", via, "", ""), true},
		{"sent-by in another case", requestVia("MESSAGE", "SIP/2.0/UDP Ue.example.com;branch=z9hG4bK1", "", ""),
			requestVia("MESSAGE", "SIP/2.0/UDP uE.EXAMPLE.com;branch=z9hG4bK1", "", ""), true},
		{"another branch", requestVia("MESSAGE", via, "", ""), requestVia("MESSAGE", via+"2", "", ""), false},
		{"another sent-by, same branch", requestVia("MESSAGE", via, "", ""),
			requestVia("MESSAGE", "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1", "", ""), false},
		{"another port, same branch", requestVia("MESSAGE", via, "", ""),
			requestVia("MESSAGE", "SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK1", "", ""), false},
		{"another method, same branch", requestVia("MESSAGE", via, "", ""), requestVia("OPTIONS", via, "", ""), false},
		{"RFC 2543: copy", requestVia("MESSAGE", "SIP/2.0/UDP 192.0.2.1", "", ""),
			requestVia("MESSAGE", "SIP/2.0/UDP 192.0.2.1", "", ""), true},
		{"RFC 2543: a branch without cookie is no identifier", requestVia("MESSAGE", "SIP/2.0/UDP 192.0.2.1;branch=1", "", ""),
			strings.Replace(requestVia("MESSAGE", "SIP/2.0/UDP 192.0.2.1;branch=1", "", ""), "CSeq: 1", "CSeq: 2", 1), false},
		{"RFC 2543: another Request-URI", requestVia("MESSAGE", "SIP/2.0/UDP 192.0.2.1", "", ""),
			strings.Replace(requestVia("MESSAGE", "SIP/2.0/UDP 192.0.2.1", "", ""), "sip:bob@", "sip:carol@", 1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{Shards: 1}, func(r *rig) {
				r.tu.request = func(s *Server) { s.Shard.After(time.Second, s.Abandon) }
				r.receive(udp, c.first)
				r.receive(udp, c.second)
				want := 2
				if c.same {
					want = 1
				}
				if n := r.l.Stats().Servers; n != want {
					r.Errorf("%d transactions, not %d", n, want)
				}
			})
		})
	}
}

// RFC 2543 peers send the ACK without a usable branch; the To tag tells whether
// it is for our answer.
func TestAckRFC2543(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		const via = "SIP/2.0/UDP 192.0.2.1:5060"
		r.tu.request = func(s *Server) { answer(s, 486) }
		r.receive(udp, requestVia("INVITE", via, "", ""))
		r.receive(udp, requestVia("ACK", via, "other", ""))
		r.want("log", r.tu.take(), "request INVITE, ack other")
		r.receive(udp, requestVia("ACK", via, "us", ""))
		r.want("log", r.tu.take(), "")
		r.wire.take()
		r.sleepTo(10 * time.Second)
		r.want("retransmissions after the ACK", lines(r.wire.take()), "")
	})
}

func TestCancel(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.tu.request = func(s *Server) {}
		r.tu.cancel = func(s *Server) {
			if !s.Cancelled() {
				r.Error("Cancelled is false in Cancel")
			}
			answer(s, 487)
		}
		r.receive(udp, request("INVITE", "1", ""))
		r.receive(udp, request("CANCEL", "1", ""))
		out := r.wire.take()
		r.want("sent", lines(out), "100 INVITE, 200 CANCEL, 487 INVITE")
		tag := out[1].msg.ToTag()
		r.receive(udp, request("CANCEL", "1", ""))
		out = r.wire.take()
		r.want("again", lines(out), "200 CANCEL")
		r.want("the same answer to the copy", out[0].msg.ToTag(), tag)
		r.want("log", r.tu.take(), "request INVITE, cancel")
		r.receive(udp, request("ACK", "1", ""))

		r.receive(udp, request("CANCEL", "2", ""))
		out = r.wire.take()
		r.want("without match", lines(out), "481 CANCEL")
		if !strings.HasPrefix(out[0].msg.ToTag(), r.l.tagPrefix) {
			r.Errorf("To: %s", out[0].msg.Get(sip.HTo))
		}
		r.want("log", r.tu.take(), "")
	})
	t.Run("the User hears of it once, however long it takes", func(t *testing.T) {
		bubble(t, Config{NoTrying: true}, func(r *rig) {
			r.tu.cancel = func(s *Server) { s.Shard.After(2*time.Second, func() { answer(s, 487) }) }
			r.receive(udp, request("INVITE", "1", ""))
			r.receive(udp, request("CANCEL", "1", ""))
			r.receive(udp, request("CANCEL", "1", ""))
			r.sleepTo(2 * time.Second)
			r.want("sent", lines(r.wire.take()), "200 CANCEL, 200 CANCEL, 487 INVITE")
			r.want("log", r.tu.take(), "request INVITE, cancel")
		})
	})
	t.Run("after the final response it changes nothing", func(t *testing.T) {
		bubble(t, Config{}, func(r *rig) {
			r.tu.request = func(s *Server) { answer(s, 200) }
			r.receive(udp, request("INVITE", "1", ""))
			r.receive(udp, request("CANCEL", "1", ""))
			r.want("sent", lines(r.wire.take()), "100 INVITE, 200 INVITE, 200 CANCEL")
			r.want("log", r.tu.take(), "request INVITE")
		})
	})
	t.Run("a non-INVITE cannot be cancelled", func(t *testing.T) {
		bubble(t, Config{}, func(r *rig) {
			r.tu.request = func(s *Server) { s.Shard.After(time.Second, func() { answer(s, 200) }) }
			r.receive(udp, request("MESSAGE", "1", ""))
			r.receive(udp, request("CANCEL", "1", ""))
			r.sleepTo(time.Second)
			r.want("sent", lines(r.wire.take()), "200 CANCEL, 200 MESSAGE")
			r.want("log", r.tu.take(), "request MESSAGE")
		})
	})
}

// Messages of one Call-ID reach the User in arrival order, whatever else the
// layer is busy with.
func TestOrder(t *testing.T) {
	bubble(t, Config{Shards: 4}, func(r *rig) {
		var want []string
		r.tu.request = func(s *Server) { r.tu.note("%s", s.Req.First(sip.HSubject)); answer(s, 200) }
		r.on(func(sh *Shard) { sh.Client(r.tu.client(udp, "INVITE", "c")) })
		for i := range 100 {
			n := string(rune('a'+i%26)) + string(rune('a'+i/26))
			r.l.Receive(udp, request("MESSAGE", n, "Subject: "+n+"\r\n"))
			want = append(want, "request MESSAGE", n)
		}
		r.l.Receive(udp, response(183, "INVITE", "c"))
		r.l.Receive(udp, response(200, "INVITE", "c"))
		want = append(want, "183 INVITE", "200 INVITE")
		synctest.Wait()
		r.want("log", r.tu.take(), strings.Join(want, ", "))
	})
}

func TestRespondIsIgnoredWhereTheStateForbids(t *testing.T) {
	bubble(t, Config{NoTrying: true}, func(r *rig) {
		r.tu.request = func(s *Server) {
			answer(s, 486)
			answer(s, 180)
			answer(s, 603)
			if s.Status() != 486 {
				r.Errorf("Status %d", s.Status())
			}
			s.Abandon() // too late
		}
		r.receive(udp, request("MESSAGE", "1", ""))
		r.want("sent", lines(r.wire.take()), "486 MESSAGE")
		r.receive(udp, request("MESSAGE", "1", ""))
		r.want("sent", lines(r.wire.take()), "486 MESSAGE")
	})
}

func TestOnEnd(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.tu.request = func(s *Server) {
			s.OnEnd(func() { r.tu.note("end") })
			answer(s, 200)
			r.tu.note("responded") // OnEnd does not run inside Respond
		}
		r.receive(tcp, requestVia("MESSAGE", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1", "", ""))
		r.want("log", r.tu.take(), "request MESSAGE, responded, end")
		r.receive(udp, request("MESSAGE", "2", ""))
		r.want("log", r.tu.take(), "request MESSAGE, responded")
		r.sleepTo(32 * time.Second)
		r.want("log", r.tu.take(), "end")
	})
}
