package transaction

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// retiring is a User that relays what a client brings and retires it, as a proxy does.
type retiring struct {
	tu
	to sip.Flow
	s  *Server
}

func (u *retiring) Request(s *Server) {
	u.note("request %s", s.Req.Method())
	u.s = s
	r := u.client(u.to, "INVITE", "out")
	r.Response = func(c *Client, _ sip.Flow, m *sip.Message) {
		data := sip.NewResponse(s.Req, m.Status(), "", m.ToTag()).Bytes()
		s.Respond(m.Status(), data)
		if m.Status()/100 == 2 {
			u.note("retired %v", c.Retire(s, m, data, "note") && c.Over())
		}
	}
	s.Shard.Client(r)
}

func (u *retiring) Revive(c *Client, s *Server, note string) func(*Client, sip.Flow, *sip.Message) {
	u.note("revived by %q, %s of %v, %v", note, s.Req.Method(), s.Flow.Role, c.Flow() == u.to && s.ResponseFlow() == u.s.ResponseFlow() && s.Flow == u.s.Flow)
	return func(_ *Client, _ sip.Flow, m *sip.Message) {
		u.note("%s", m.ToTag())
		s.Respond(486, []byte("not sent"))
		s.Respond(m.Status(), sip.NewResponse(s.Req, m.Status(), "", m.ToTag()).Bytes())
	}
}

// tags are the To tags of what was sent.
func tags(s []sent) string {
	var out []string
	for _, x := range s {
		out = append(out, x.msg.ToTag())
	}
	return strings.Join(out, " ")
}

// TestRetired: of an INVITE whose 2xx is relayed nothing stays but octets, and all that
// may still come for 64·T1 meets what it has always met.
func TestRetired(t *testing.T) {
	const core = 32 * time.Second
	for name, c := range map[string]struct {
		from, to   sip.Flow
		server, cl time.Duration
	}{
		"core": {udp, udp, core, core}, "from Gm": {gmUDP, udp, 4 * core, core}, "to Gm": {udp, gmUDP, core, 4 * core},
		"from a stream": {tcp, udp, core, core}, "to a stream": {udp, tcp, core, core},
	} {
		t.Run(name, func(t *testing.T) {
			u := &retiring{to: c.to}
			bubble(t, Config{Shards: 1, TimersFor: gmTimersFor}, func(r *rig) {
				r.l.cfg.User, r.l.reviver = u, u
				invite := request("INVITE", "1", "Content-Type: a/b\r\n")
				invite = strings.Replace(invite, "Content-Length: 0\r\n\r\n", "Content-Length: 3\r\n\r\nabc", 1)
				two, other := response(200, "INVITE", "out"), strings.Replace(response(200, "INVITE", "out"), "tag=peer", "tag=fork", 1)
				r.receive(c.from, invite)
				r.receive(c.to, two)
				r.want("log", u.take(), "request INVITE, retired true")
				first := r.wire.take()
				first = first[len(first)-1:]
				r.want("relayed", lines(first), "200 INVITE")
				sh := r.l.shards[0]
				if s := r.l.Stats(); len(sh.servers)+len(sh.clients) != 0 || s.Servers != 1 || s.Clients != 1 || s.Lingering != 2 || s.Octets != 0 || u.s.tx != nil {
					r.Errorf("%d and %d transactions, %+v", len(sh.servers), len(sh.clients), s)
				}

				r.receive(c.from, invite)
				r.receive(c.to, response(180, "INVITE", "out"))
				r.receive(c.to, response(486, "INVITE", "out"))
				r.want("of what is late", lines(r.wire.take()), "")
				r.receive(c.to, two)
				again := r.wire.take()
				if len(again) != 1 || again[0].flow != first[0].flow || again[0].msg.Raw() != first[0].msg.Raw() {
					r.Errorf("repeated\n%v\nas\n%v", first, again)
				}
				r.receive(c.from, requestVia("ACK", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "peer", "")) // an old UA's, with the INVITE's branch
				r.receive(c.from, request("CANCEL", "1", ""))
				r.want("for the CANCEL", lines(r.wire.take()), "200 CANCEL")
				r.want("log", u.take(), "ack peer")

				r.sleepTo(c.cl - time.Second)
				r.receive(c.to, other)
				r.want("log", u.take(), fmt.Sprintf("revived by %q, INVITE of %v, true, fork", "note", c.from.Role))
				r.receive(c.to, other)
				r.receive(c.to, two)
				r.want("log", u.take(), "fork, peer")
				r.want("relayed", tags(r.wire.take()), "fork fork peer")

				r.sleepTo(c.cl + time.Second)
				r.receive(c.to, other)
				r.want("behind Timer M", u.take(), "stray 200 INVITE")
				r.sleepTo(c.server - time.Second)
				if c.server > c.cl {
					u.take()
					r.receive(c.from, invite)
					r.want("before Timer L ends", u.take(), "")
				}
			})
		})
	}
}

// A repeated 2xx that a stream does not take goes to the address in the Via.
func TestRetiredFallsBack(t *testing.T) {
	u := &retiring{to: udp}
	bubble(t, Config{Shards: 1}, func(r *rig) {
		r.l.cfg.User, r.l.reviver = u, u
		r.receive(tcp, strings.Replace(request("INVITE", "1", ""), "/UDP", "/TCP", 1))
		r.receive(udp, response(200, "INVITE", "out"))
		r.wire.take()
		r.wire.fail = func(f sip.Flow) error {
			if f == tcp {
				return ErrTimeout
			}
			return nil
		}
		r.receive(udp, response(200, "INVITE", "out"))
		s := r.wire.take()
		if len(s) != 2 || s[1].flow.Conn != 0 || s[1].flow.Remote != addr("192.0.2.1:5060") || s[1].msg.Raw() != s[0].msg.Raw() {
			r.Errorf("sent %v", s)
		}

		// The transport may say so late, when the record has gone and its octets are others'.
		var fail func(error)
		var sent []string
		r.l.cfg.Sender = senderFunc(func(f sip.Flow, data []byte, failed func(error)) {
			if sent = append(sent, string(data)); failed != nil {
				fail = failed
			}
		})
		r.receive(udp, response(200, "INVITE", "out"))
		was := bytes.Clone(r.l.shards[0].past.chunks[0])
		r.on(func(sh *Shard) { clear(sh.past.chunks[0]) })
		fail(ErrTimeout)
		synctest.Wait()
		if len(sent) != 2 || sent[0] != sent[1] {
			r.Errorf("sent %q", sent)
		}
		r.on(func(sh *Shard) { copy(sh.past.chunks[0], was) })
	})
}

// What is sent again leaves a second time only where a stream has failed and there is
// another way: of a datagram the sender's repetition is the remedy.
func TestRelayedAgainAtMostTwice(t *testing.T) {
	elsewhere := tcp
	elsewhere.Conn, elsewhere.Remote = 0, addr("192.0.2.1:5060")
	other := udp
	other.Remote = addr("192.0.2.1:5070")
	for name, tt := range map[string]struct {
		to, fallback sip.Flow
		want         int
	}{
		"a stream":                 {tcp, elsewhere, 2},
		"a stream, no other way":   {elsewhere, elsewhere, 1},
		"a datagram":               {udp, udp, 1},
		"a datagram, another port": {udp, other, 1},
	} {
		bubble(t, Config{Shards: 1}, func(r *rig) {
			r.wire.fail = func(sip.Flow) error { return ErrTimeout }
			r.on(func(sh *Shard) { sh.relayAgain(tt.to, tt.fallback, []byte(response(200, "INVITE", "1"))) })
			synctest.Wait()
			if s := r.wire.take(); len(s) != tt.want || s[len(s)-1].flow != tt.fallback && tt.want > 1 {
				t.Errorf("%s: sent %v, want %d", name, s, tt.want)
			}
		})
	}
}

// Only INVITEs that are answered with 2xx, and of which nobody awaits the end, retire.
func TestWhatDoesNotRetire(t *testing.T) {
	zone := udp
	var u *retiring
	zone.Remote = addr("[fe80::1%eth0]:5060")
	for name, c := range map[string]struct {
		from   sip.Flow
		before func(r *rig)
	}{
		"its end is awaited": {udp, func(r *rig) { r.on(func(*Shard) { u.s.OnEnd(func() { u.note("end") }) }) }},
		"a zone":             {zone, func(*rig) {}},
		"no Reviver":         {udp, func(r *rig) { r.l.reviver = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{Shards: 1}, func(r *rig) {
				u = &retiring{to: udp}
				r.l.cfg.User, r.l.reviver = u, u
				r.receive(c.from, request("INVITE", "1", ""))
				c.before(r)
				r.receive(udp, response(200, "INVITE", "out"))
				r.want("log", u.take(), "request INVITE, retired false")
				r.wire.take()
				r.receive(udp, response(200, "INVITE", "out"))
				r.want("again", lines(r.wire.take()), "200 INVITE")
			})
		})
	}
}

// TestRefusedPasses: a refused INVITE is octets behind its ACK, and so is its client.
func TestRefusedPasses(t *testing.T) {
	bubble(t, Config{Shards: 1, TimersFor: gmTimersFor}, func(r *rig) {
		r.tu.request = func(s *Server) { answer(s, 486) }
		sh := r.l.shards[0]
		r.receive(gmUDP, request("INVITE", "1", ""))
		r.wire.take()
		ack := requestVia("ACK", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "us", "")
		for range 2 {
			r.receive(gmUDP, ack)
			r.receive(gmUDP, request("INVITE", "1", ""))
			if s := r.l.Stats(); len(sh.servers) != 0 || s.Lingering != 1 || s.Open != 0 {
				r.Errorf("%d transactions, %+v", len(sh.servers), s)
			}
		}
		r.want("sent behind the ACK", lines(r.wire.take()), "")
		r.want("log", r.tu.take(), "request INVITE")

		var c *Client
		r.on(func(sh *Shard) { c = sh.Client(r.tu.client(gmUDP, "INVITE", "2")) })
		for range 3 {
			r.receive(gmUDP, response(486, "INVITE", "2"))
		}
		r.want("sent", lines(r.wire.take()), "INVITE, ACK, ACK, ACK")
		r.want("log", r.tu.take(), "486 INVITE")
		if s := r.l.Stats(); len(sh.clients) != 0 || s.Clients != 1 || c.req.Response != nil {
			r.Errorf("%d transactions, %+v", len(sh.clients), s)
		}
		// Another request with the INVITE's branch does not take its ACK.
		r.tu.request = func(s *Server) { answer(s, 200) }
		r.receive(gmUDP, request("MESSAGE", "1", ""))
		r.receive(gmUDP, ack)
		r.want("log", r.tu.take(), "request MESSAGE")
		r.wire.take()

		r.sleepTo(127 * time.Second)
		r.receive(gmUDP, response(486, "INVITE", "2"))
		r.want("until Timer D ends", lines(r.wire.take()), "ACK")
	})
}

// A peer of RFC 2543 sends its ACK again when the response has come again; it ends here
// all the same (RFC 3261 17.2.1, Confirmed).
func TestAnOldPeersAckAgain(t *testing.T) {
	bubble(t, Config{Shards: 1}, func(r *rig) {
		r.tu.request = func(s *Server) { answer(s, 486) }
		r.receive(udp, requestVia("INVITE", "SIP/2.0/UDP 192.0.2.1", "", ""))
		ack := requestVia("ACK", "SIP/2.0/UDP 192.0.2.1", "us", "")
		r.receive(udp, ack)
		r.receive(udp, ack)
		r.want("log", r.tu.take(), "request INVITE")
	})
}
