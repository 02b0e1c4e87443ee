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

// The 100 to an INVITE that waits for the next hop's: what is sent within a second, and
// when, by what the User does and when.
func TestLateTrying(t *testing.T) {
	trying := func(s *Server) { s.Trying() }
	says := func(status int) func(*Server) { return func(s *Server) { answer(s, status) } }
	type act struct {
		after time.Duration
		do    func(*Server)
	}
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		flow  sip.Flow
		acts  []act
		again time.Duration // when the INVITE comes again
		want  string
	}{
		{"nobody says anything", udp, nil, 0, "150ms 100 INVITE"},
		{"nobody says anything, over a stream", tcp, nil, 0, "150ms 100 INVITE"},
		{"the next hop has it", udp, []act{{10 * ms, trying}}, 0, "10ms 100 INVITE"},
		{"the next hop says so twice", udp, []act{{10 * ms, trying}, {20 * ms, trying}}, 0, "10ms 100 INVITE"},
		{"it says so late", udp, []act{{160 * ms, trying}}, 0, "150ms 100 INVITE"},
		{"it rings before", udp, []act{{10 * ms, says(180)}, {20 * ms, trying}}, 0, "10ms 180 INVITE"},
		{"it is answered before", udp, []act{{10 * ms, says(200)}, {20 * ms, trying}}, 0, "10ms 200 INVITE"},
		{"it is refused before, over a stream", tcp, []act{{10 * ms, says(486)}, {20 * ms, trying}}, 0, "10ms 486 INVITE"},
		{"it is refused before: timer G alone repeats it", udp, []act{{10 * ms, says(486)}}, 0, "10ms 486 INVITE, 510ms 486 INVITE"},
		{"it comes again", udp, nil, 50 * ms, "50ms 100 INVITE"},
		{"it comes again behind its 100", udp, []act{{10 * ms, trying}}, 50 * ms, "10ms 100 INVITE, 50ms 100 INVITE"},
		{"it is let go", udp, []act{{10 * ms, func(s *Server) { s.Abandon() }}, {20 * ms, trying}}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{LateTrying: func(sip.Flow, *sip.Message) bool { return true }}, func(r *rig) {
				r.tu.request = func(s *Server) {
					for _, a := range c.acts {
						s.Shard.After(a.after, func() { a.do(s) })
					}
					s.Shard.After(2*time.Second, s.Abandon)
				}
				r.receive(c.flow, request("INVITE", "1", ""))
				if c.again > 0 {
					r.sleepTo(c.again)
					r.receive(c.flow, request("INVITE", "1", ""))
				}
				r.sleepTo(time.Second)
				r.want("sent", timed(r.wire.take()), c.want)
				r.receive(c.flow, request("ACK", "1", ""))
				r.tu.take()
			})
		})
	}
}

// Not every INVITE waits, and nothing else does.
func TestWhichTryingIsLate(t *testing.T) {
	core := func(f sip.Flow, _ *sip.Message) bool { return f.Role == sip.RoleCore }
	says := func(r *rig) {
		r.tu.request = func(s *Server) {
			s.Shard.After(10*time.Millisecond, s.Trying)
			s.Shard.After(time.Second, s.Abandon)
		}
	}
	for _, c := range []struct {
		name   string
		flow   sip.Flow
		raw    string
		waited time.Duration
		want   string
	}{
		{"a MESSAGE", tcp, request("MESSAGE", "1", ""), 0, ""},
		{"a phone's", gmUDP, request("INVITE", "1", ""), 0, "0s 100 INVITE"},
		{"a core node's", udp, request("INVITE", "1", ""), 0, "10ms 100 INVITE"},
		{"one that has waited for a while", udp, request("INVITE", "1", ""), 145 * time.Millisecond, "5ms 100 INVITE"},
		{"one that has waited for long", udp, request("INVITE", "1", ""), 300 * time.Millisecond, "0s 100 INVITE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{LateTrying: core, Admission: admission.NewController(admission.Config{})}, func(r *rig) {
				says(r)
				r.l.ReceiveWaited(c.flow, c.raw, c.waited)
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
				r.want("sent", timed(r.wire.take()), c.want)
				r.tu.take()
			})
		})
	}
	bubble(t, Config{LateTrying: core, NoTrying: true}, func(r *rig) {
		says(r)
		r.receive(udp, request("INVITE", "1", ""))
		r.sleepTo(time.Second / 2)
		r.want("with NoTrying", lines(r.wire.take()), "")
		r.tu.take()
	})
}

// timed is lines with the moments at which they were sent.
func timed(s []sent) string {
	var out []string
	for _, x := range s {
		out = append(out, fmt.Sprint(x.at, " ", line(x.msg)))
	}
	return strings.Join(out, ", ")
}
