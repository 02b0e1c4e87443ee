package transaction

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// A response belongs to the transaction with its branch and CSeq method: the
// flow by which it comes, and the transport in its Via, do not matter.
func TestResponseMatching(t *testing.T) {
	conformance.Shows(t, "TR-07")
	other := tcp
	other.Remote = addr("198.51.100.1:6000")
	for _, c := range []struct {
		name string
		sent sip.Flow
		from sip.Flow
		raw  string
		want string
	}{
		{"as it went", udp, udp, response(200, "MESSAGE", "1"), "200 MESSAGE"},
		{"sent by UDP, answered by TCP", udp, tcp, response(200, "MESSAGE", "1"), "200 MESSAGE"},
		{"sent by TCP, answered by UDP", tcp, udp, response(200, "MESSAGE", "1"), "200 MESSAGE"},
		{"from somewhere else", udp, other, response(200, "MESSAGE", "1"), "200 MESSAGE"},
		{"another method", udp, udp, response(200, "OPTIONS", "1"), "stray 200 OPTIONS"},
		{"another branch", udp, udp, response(200, "MESSAGE", "11"), "stray 200 MESSAGE"},
		{"a CANCEL's answer is not the INVITE's", udp, udp, response(200, "CANCEL", "1"), "stray 200 CANCEL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				r.on(func(sh *Shard) { sh.Client(r.tu.client(c.sent, "MESSAGE", "1")) })
				r.receive(c.from, c.raw)
				r.want("log", r.tu.take(), c.want)
			})
		})
	}
}

func TestClientAbsorbs(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		r.on(func(sh *Shard) { sh.Client(r.tu.client(udp, "MESSAGE", "1")) })
		r.on(func(sh *Shard) { sh.Client(r.tu.client(udp, "INVITE", "2")) })
		for range 3 {
			r.receive(udp, response(404, "MESSAGE", "1"))
			r.receive(udp, response(404, "INVITE", "2"))
		}
		r.want("log", r.tu.take(), "404 MESSAGE, 404 INVITE")
		r.want("sent", lines(r.wire.take()), "MESSAGE, INVITE, ACK, ACK, ACK")
	})
}

// The ACK to a non-2xx has the top Via alone, the Route of the request and the
// To of the response; the CANCEL has the To of the request.
func TestAckAndCancel(t *testing.T) {
	header := func(m *sip.Message) (out []string) {
		for i := range m.Len() {
			_, name, value := m.Line(i)
			out = append(out, name+": "+value)
		}
		return out
	}
	bubble(t, Config{}, func(r *rig) {
		var c *Client
		r.on(func(sh *Shard) { c = sh.Client(r.tu.client(udp, "INVITE", "1")) })
		r.receive(udp, response(180, "INVITE", "1"))
		r.on(func(*Shard) {
			c.Cancel(sip.Field{Name: "Reason", Value: "SIP;cause=200"})
			c.Cancel()
		})
		r.receive(udp, response(200, "CANCEL", "1"))
		r.receive(udp, response(487, "INVITE", "1"))
		out := r.wire.take()
		if len(out) != 3 {
			r.Fatalf("sent: %s", lines(out))
		}
		for _, x := range out {
			if x.flow != udp {
				r.Errorf("%s to %v", line(x.msg), x.flow)
			}
			r.want("Request-URI", x.msg.RequestURI(), "sip:bob@example.com")
		}
		common := []string{
			"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1", "Max-Forwards: 70",
			"Route: <sip:r1;lr>", "Route: <sip:r2;lr>, <sip:r3;lr>",
			"From: <sip:alice@example.com>;tag=1928301774",
		}
		cancel := append(common[:5:5], "To: <sip:bob@example.com>", "Call-ID: "+callID, "CSeq: 1 CANCEL", "Reason: SIP;cause=200", "Content-Length: 0")
		ack := append(common[:5:5], "To: <sip:bob@example.com>;tag=peer", "Call-ID: "+callID, "CSeq: 1 ACK", "Content-Length: 0")
		if d := cmp.Diff(cancel, header(out[1].msg)); d != "" {
			r.Errorf("CANCEL (-want +got):\n%s", d)
		}
		if d := cmp.Diff(ack, header(out[2].msg)); d != "" {
			r.Errorf("ACK (-want +got):\n%s", d)
		}
		r.want("log", r.tu.take(), "180 INVITE, 487 INVITE")
	})
}

func TestCancelClient(t *testing.T) {
	for _, c := range []struct {
		name       string
		do         func(r *rig, c func() *Client)
		sent, log_ string
	}{
		{"not before a provisional", func(r *rig, c func() *Client) {
			r.on(func(*Shard) { c().Cancel() })
			r.sleepTo(time.Second - 1)
			r.want("until then", lines(r.wire.take()), "INVITE, INVITE")
			r.receive(udp, response(100, "INVITE", "1"))
			r.receive(udp, response(487, "INVITE", "1"))
			r.receive(udp, response(200, "CANCEL", "1"))
		}, "CANCEL, ACK", "100 INVITE, 487 INVITE"},
		{"never when the final comes first", func(r *rig, c func() *Client) {
			r.on(func(*Shard) { c().Cancel() })
			r.receive(udp, response(486, "INVITE", "1"))
			r.receive(udp, response(486, "INVITE", "1"))
			r.on(func(*Shard) { c().Cancel() })
		}, "INVITE, ACK, ACK", "486 INVITE"},
		{"a 200 crosses it", func(r *rig, c func() *Client) {
			r.receive(udp, response(180, "INVITE", "1"))
			r.on(func(*Shard) { c().Cancel() })
			r.receive(udp, response(200, "INVITE", "1"))
			r.receive(udp, response(481, "CANCEL", "1"))
			r.receive(udp, response(200, "INVITE", "1"))
		}, "INVITE, CANCEL", "180 INVITE, 200 INVITE, 200 INVITE"},
		{"nobody answers the INVITE any more", func(r *rig, c func() *Client) {
			r.receive(udp, response(180, "INVITE", "1"))
			r.sleepTo(100 * time.Second)
			r.on(func(*Shard) { c().Cancel() })
			r.receive(udp, response(200, "CANCEL", "1"))
			r.sleepTo(132*time.Second - 1)
			r.want("before 64·T1", r.tu.take(), "180 INVITE")
			r.sleepTo(132 * time.Second)
		}, "INVITE, CANCEL", "failed: " + ErrTimeout.Error()},
		{"the CANCEL is retransmitted", func(r *rig, c func() *Client) {
			r.receive(udp, response(180, "INVITE", "1"))
			r.on(func(*Shard) { c().Cancel() })
			r.sleepTo(time.Second)
			r.receive(udp, response(200, "CANCEL", "1"))
			r.receive(udp, response(487, "INVITE", "1"))
		}, "INVITE, CANCEL, CANCEL, ACK", "180 INVITE, 487 INVITE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				var cl *Client
				r.on(func(sh *Shard) { cl = sh.Client(r.tu.client(udp, "INVITE", "1")) })
				c.do(r, func() *Client { return cl })
				r.want("sent", lines(r.wire.take()), c.sent)
				r.want("log", r.tu.take(), c.log_)
			})
		})
	}
}

func TestFallback(t *testing.T) {
	refused := errors.New("refused")
	failTCP := func(f sip.Flow) error {
		if f.Proto == sip.TCP {
			return refused
		}
		return nil
	}
	t.Run("to UDP, with the timers of UDP and its own Via", func(t *testing.T) {
		bubble(t, Config{}, func(r *rig) {
			r.wire.fail = failTCP
			var c *Client
			r.on(func(sh *Shard) {
				q := r.tu.client(tcp, "MESSAGE", "1")
				q.Fallback = func(failed sip.Flow, err error) (sip.Flow, bool) {
					r.tu.note("fallback %v: %v", failed.Proto, err)
					return udp, true
				}
				c = sh.Client(q)
			})
			r.sleepTo(time.Second)
			out := r.wire.take()
			r.want("sent", lines(out), "MESSAGE, MESSAGE, MESSAGE")
			via, _ := out[1].msg.TopVia()
			r.want("Via", via.Transport, "UDP")
			if c.Flow() != udp {
				r.Errorf("Flow %v", c.Flow())
			}
			r.receive(udp, response(200, "MESSAGE", "1"))
			r.want("log", r.tu.take(), "fallback TCP: refused, 200 MESSAGE")
		})
	})
	t.Run("nowhere", func(t *testing.T) {
		bubble(t, Config{}, func(r *rig) {
			r.wire.fail = func(sip.Flow) error { return refused }
			r.on(func(sh *Shard) {
				q := r.tu.client(tcp, "INVITE", "1")
				left := 2
				q.Fallback = func(sip.Flow, error) (sip.Flow, bool) { left--; return udp, left > 0 }
				sh.Client(q)
			})
			r.want("log", r.tu.take(), "failed: refused")
			r.want("sent", lines(r.wire.take()), "INVITE, INVITE")
		})
	})
	t.Run("not after an answer; a failed ACK is not the User's", func(t *testing.T) {
		bubble(t, Config{}, func(r *rig) {
			var failing bool
			r.wire.fail = func(sip.Flow) error {
				if failing {
					return refused
				}
				return nil
			}
			r.on(func(sh *Shard) {
				q := r.tu.client(udp, "INVITE", "1")
				q.Fallback = func(sip.Flow, error) (sip.Flow, bool) { r.Error("fallback"); return tcp, true }
				sh.Client(q)
			})
			failing = true
			r.receive(udp, response(486, "INVITE", "1"))
			r.want("log", r.tu.take(), "486 INVITE")
			if s := r.l.Stats(); s.Clients != 0 {
				r.Errorf("%+v", s)
			}
			r.receive(udp, response(486, "INVITE", "1"))
			r.want("behind its end", r.tu.take(), "stray 486 INVITE")
		})
	})
	t.Run("a failure of an attempt given up is ignored", func(t *testing.T) {
		bubble(t, Config{}, func(r *rig) {
			var late func(error)
			r.l.cfg.Sender = senderFunc(func(f sip.Flow, _ []byte, fail func(error)) {
				if late == nil {
					late = fail
					fail(refused)
				}
			})
			r.on(func(sh *Shard) {
				q := r.tu.client(tcp, "MESSAGE", "1")
				q.Fallback = func(sip.Flow, error) (sip.Flow, bool) { r.tu.note("fallback"); return udp, true }
				sh.Client(q)
			})
			late(refused)
			r.receive(udp, response(200, "MESSAGE", "1"))
			r.want("log", r.tu.take(), "fallback, 200 MESSAGE")
		})
	})
}

type senderFunc func(f sip.Flow, data []byte, fail func(error))

func (fn senderFunc) Send(f sip.Flow, data []byte, fail func(error)) { fn(f, data, fail) }
