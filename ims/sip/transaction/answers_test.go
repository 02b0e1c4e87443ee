package transaction

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// kept is what the tables have to send again, in octets.
func (r *rig) kept() (n int) {
	r.on(func(sh *Shard) {
		for _, tb := range []table{sh.servers, sh.clients} {
			for _, t := range tb {
				for ; t != nil; t = t.next {
					if t.class > classOpen {
						n += len(t.last) + len(t.ack)
					}
				}
			}
		}
	})
	return n
}

// A response copies every Via, and stays for 128 s where no ACK comes, or where past has
// no room: a few thousand a second of 20 KiB would fill any memory.
func TestAnswersAreBounded(t *testing.T) {
	for _, c := range []struct {
		name, method string
		flow         sip.Flow
		most         int
		onEnd        bool
		kept, past   int // responses
	}{
		{"no ACK", "INVITE", gmUDP, 50_000, false, 4, 0},
		{"no ACK over a connection", "INVITE", tcp, 50_000, false, 4, 0},
		{"no ACK, for a User who waits for the end", "INVITE", gmUDP, 50_000, true, 4, 0},
		{"past takes nothing", "MESSAGE", gmUDP, 50_000, false, 4, 0},
		{"past is full", "MESSAGE", gmUDP, 100_000, false, 9, 6},
		{"a MESSAGE whose User waits for the end", "MESSAGE", gmUDP, 50_000, true, 4, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{Shards: 1, NoTrying: true, MaxOctets: c.most, TimersFor: gmTimersFor}, func(r *rig) {
				ended := 0
				r.tu.request = func(s *Server) {
					if c.onEnd {
						s.OnEnd(func() { ended++ })
					}
					answer(s, 403)
				}
				large := func(b string) string {
					return requestVia(c.method, "SIP/2.0/"+c.flow.Proto.String()+" 192.0.2.1;branch=z9hG4bK"+b, "",
						"Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx;x="+strings.Repeat("x", 10_000)+"\r\n")
				}
				for i := range 100 {
					r.receive(c.flow, large(fmt.Sprint(i)))
				}
				if n := len(r.wire.take()); n != 100 {
					r.Errorf("%d answers, want 100", n)
				}
				s, all := r.l.Stats(), c.kept+c.past
				if s.Servers != all || s.Cut != uint64(100-all) || s.Answers > c.most || s.Answers < c.kept*10_000 || s.Answers != r.kept() {
					r.Errorf("%d octets are kept, of %d transactions; %+v", r.kept(), all, s)
				}
				if want := 100 - all; c.onEnd && ended != want {
					r.Errorf("%d have heard of the end, want %d", ended, want)
				}
				r.receive(c.flow, large("0"))
				r.want("to a copy", lines(r.wire.take()), "403 "+c.method)

				r.tu.request = func(s *Server) { answer(s, 200) }
				r.receive(c.flow, strings.ReplaceAll(large("call"), "MESSAGE", "INVITE"))
				if now := r.l.Stats(); now.Cut != s.Cut || now.Lingering+now.Open != s.Lingering+s.Open+1 {
					r.Errorf("a call is cut, for which nothing would be kept: %+v", now)
				}
			})
		})
	}
}

// What a client keeps is its ACK, where past does not take it.
func TestClientsAcksAreBounded(t *testing.T) {
	for most, kept := range map[int]int{30_000: 1, 100: 0} {
		bubble(t, Config{Shards: 1, MaxOctets: most}, func(r *rig) {
			r.on(func(sh *Shard) { sh.Client(r.tu.client(udp, "INVITE", "1")) })
			r.receive(udp, response(486, "INVITE", "1"))
			r.want("log", r.tu.take(), "486 INVITE")
			out := r.wire.take()
			r.want("sent", lines(out), "INVITE, ACK")
			if s := r.l.Stats(); s.Answers != kept*len(out[1].msg.Raw()) || s.Clients != kept || s.Lingering != kept || s.Cut != uint64(1-kept) {
				r.Errorf("of %d octets: %+v", most, s)
			}
		})
	}
}

// However a transaction ends, what it kept is counted no more; the rigs ask, too.
func TestAnswersAreGivenBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		via    string
		status int
		ack    bool
		counts bool // behind the ACK
		ends   time.Duration
	}{
		{"ACK", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", 486, true, false, 0},
		{"ACK of a peer of RFC 2543, told by the response", "SIP/2.0/UDP 192.0.2.1", 486, true, true, 6 * time.Second},
		{"Timer H", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", 486, false, true, 33 * time.Second},
		{"a 2xx is its maker's", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", 200, false, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{Shards: 1, NoTrying: true}, func(r *rig) {
				r.tu.request = func(s *Server) { answer(s, c.status) }
				r.receive(udp, requestVia("INVITE", c.via, "", ""))
				n := len(r.wire.take()[0].msg.Raw())
				if c.status == 486 && r.l.Stats().Answers != n {
					r.Errorf("%d octets are counted, want %d", r.l.Stats().Answers, n)
				}
				if c.ack {
					r.receive(udp, requestVia("ACK", c.via, "us", ""))
				}
				if !c.counts {
					n = 0
				}
				if s := r.l.Stats(); s.Answers != n || n != r.kept() {
					r.Errorf("%d octets are counted, want %d", s.Answers, n)
				}
				r.sleepTo(c.ends)
				if s := r.l.Stats(); s.Answers != 0 {
					r.Errorf("%d octets are counted at the end", s.Answers)
				}
			})
		})
	}
}

// Where no ACKs come nothing is cut that past has room for.
func TestMissingACKsLeavePastAlone(t *testing.T) {
	bubble(t, Config{Shards: 1, NoTrying: true, MaxOctets: 100_000, TimersFor: gmTimersFor}, func(r *rig) {
		r.tu.request = func(s *Server) { answer(s, 403) }
		for i := range 200 {
			r.receive(gmUDP, request("INVITE", fmt.Sprint(i), "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx;x="+strings.Repeat("x", 1000)+"\r\n"))
		}
		full := r.l.Stats()
		r.receive(gmUDP, request("MESSAGE", "m", "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx;x="+strings.Repeat("x", 3000)+"\r\n"))
		if s := r.l.Stats(); full.Cut == 0 || s.Cut != full.Cut || s.Lingering != 1 || s.Past != pastChunk {
			r.Errorf("%+v, before the MESSAGE %+v", s, full)
		}
	})
}
