package transaction

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestResponseAddress(t *testing.T) {
	conformance.Shows(t, "TR-06")
	flow := func(proto sip.Proto, remote string) sip.Flow {
		f := sip.Flow{Proto: proto, Role: sip.RoleGm, Local: addr("192.0.2.9:5060"), Remote: addr(remote)}
		if strings.HasPrefix(remote, "[") {
			f.Local = addr("[2001:db8::9]:5060")
		}
		if proto.Stream() {
			f.Conn = 7
		}
		return f
	}
	const b = ";branch=z9hG4bK1"
	for _, c := range []struct {
		name string
		from sip.Flow
		via  string // as it came
		want string // as the User sees it, and as the response carries it
		to   string
	}{
		{"sent-by is the source", flow(sip.UDP, "192.0.2.1:5060"),
			"SIP/2.0/UDP 192.0.2.1" + b, "SIP/2.0/UDP 192.0.2.1" + b, "192.0.2.1:5060"},
		{"sent-by has a port", flow(sip.UDP, "192.0.2.1:40000"),
			"SIP/2.0/UDP 192.0.2.1:5070" + b, "SIP/2.0/UDP 192.0.2.1:5070" + b, "192.0.2.1:5070"},
		{"sent-by has no port: 5060, whatever the source port", flow(sip.UDP, "192.0.2.1:40000"),
			"SIP/2.0/UDP 192.0.2.1" + b, "SIP/2.0/UDP 192.0.2.1" + b, "192.0.2.1:5060"},
		{"sent-by is another address: received", flow(sip.UDP, "192.0.2.1:40000"),
			"SIP/2.0/UDP 10.0.0.1:5070" + b, "SIP/2.0/UDP 10.0.0.1:5070" + b + ";received=192.0.2.1", "192.0.2.1:5070"},
		{"sent-by is a name: received", flow(sip.UDP, "192.0.2.1:5060"),
			"SIP/2.0/UDP ue.example.com" + b, "SIP/2.0/UDP ue.example.com" + b + ";received=192.0.2.1", "192.0.2.1:5060"},
		{"rport: source address and port, received even where equal", flow(sip.UDP, "192.0.2.1:40000"),
			"SIP/2.0/UDP 192.0.2.1:5060;rport" + b, "SIP/2.0/UDP 192.0.2.1:5060;rport=40000" + b + ";received=192.0.2.1", "192.0.2.1:40000"},
		{"rport behind a NAT", flow(sip.UDP, "192.0.2.1:40000"),
			"SIP/2.0/UDP 10.0.0.1:5060" + b + ";RPort;x=y", "SIP/2.0/UDP 10.0.0.1:5060" + b + ";RPort=40000;x=y;received=192.0.2.1", "192.0.2.1:40000"},
		{"what the sender claims is not believed", flow(sip.UDP, "192.0.2.1:40000"),
			"SIP/2.0/UDP 10.0.0.1:5060;received=203.0.113.1;rport=1" + b, "SIP/2.0/UDP 10.0.0.1:5060;rport=40000" + b + ";received=192.0.2.1", "192.0.2.1:40000"},
		{"a false received goes even where none is needed", flow(sip.UDP, "192.0.2.1:5060"),
			"SIP/2.0/UDP 192.0.2.1;received=203.0.113.1" + b, "SIP/2.0/UDP 192.0.2.1" + b, "192.0.2.1:5060"},
		{"maddr", sip.Flow{Proto: sip.UDP, Role: sip.RoleCore, Local: udp.Local, Remote: addr("192.0.2.1:40000")},
			"SIP/2.0/UDP 192.0.2.1:5070;maddr=192.0.2.33;ttl=1" + b, "SIP/2.0/UDP 192.0.2.1:5070;maddr=192.0.2.33;ttl=1" + b, "192.0.2.33:5070"},
		{"maddr of a phone", sip.Flow{Proto: sip.UDP, Role: sip.RoleGm, Local: gmUDP.Local, Remote: addr("192.0.2.1:40000")},
			"SIP/2.0/UDP 192.0.2.1:5070;maddr=192.0.2.33" + b, "SIP/2.0/UDP 192.0.2.1:5070;maddr=192.0.2.33" + b, "192.0.2.1:5070"},
		{"only the top Via is ours to change", flow(sip.UDP, "192.0.2.1:5060"),
			"SIP/2.0/UDP ue.example.com" + b + " , SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK0", "SIP/2.0/UDP ue.example.com" + b + ";received=192.0.2.1 , SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK0", "192.0.2.1:5060"},
		{"IPv6", flow(sip.UDP, "[2001:db8::1]:40000"),
			"SIP/2.0/UDP [2001:DB8:0::1]:5070" + b, "SIP/2.0/UDP [2001:DB8:0::1]:5070" + b, "[2001:db8::1]:5070"},
		{"IPv6 received without brackets (RFC 5118 4.5)", flow(sip.UDP, "[2001:db8::1]:40000"),
			"SIP/2.0/UDP [2001:db8::2]:5070;rport" + b, "SIP/2.0/UDP [2001:db8::2]:5070;rport=40000" + b + ";received=2001:db8::1", "[2001:db8::1]:40000"},
		{"IPv4 in IPv6 form is IPv4", flow(sip.UDP, "[::ffff:192.0.2.1]:5060"),
			"SIP/2.0/UDP 192.0.2.1" + b, "SIP/2.0/UDP 192.0.2.1" + b, "[::ffff:192.0.2.1]:5060"},
		{"a stream answers on its connection", flow(sip.TCP, "192.0.2.1:40000"),
			"SIP/2.0/TCP ue.example.com:5070;maddr=192.0.2.33" + b, "SIP/2.0/TCP ue.example.com:5070;maddr=192.0.2.33" + b + ";received=192.0.2.1", "192.0.2.1:40000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{}, func(r *rig) {
				raw := requestVia("MESSAGE", c.via, "", "X-Odd :  kept\r\n")
				r.tu.request = func(s *Server) {
					r.want("request", s.Req.Raw(), strings.Replace(raw, c.via, c.want, 1))
					if s.Flow != c.from {
						r.Errorf("Flow: %v", s.Flow)
					}
					answer(s, 200)
				}
				r.receive(c.from, raw)
				out := r.wire.take()
				if len(out) != 1 {
					r.Fatalf("sent: %s", lines(out))
				}
				var via []string
				for v := range out[0].msg.Lines(sip.HVia) {
					via = append(via, v)
				}
				r.want("Via of the response", strings.Join(via, " | "), c.want)
				to := c.from
				to.Remote = addr(c.to)
				if out[0].flow != to {
					r.Errorf("sent to %v, not %v", out[0].flow, to)
				}
			})
		})
	}
}

// A response whose connection is gone goes to the source address, at the port of
// sent-by, over another one (RFC 3261 18.2.2).
func TestResponseConnectionGone(t *testing.T) {
	bubble(t, Config{}, func(r *rig) {
		gone := errors.New("connection closed")
		r.wire.fail = func(f sip.Flow) error {
			if f.Conn != 0 {
				return gone
			}
			return nil
		}
		r.tu.request = func(s *Server) { answer(s, 200) }
		r.receive(tcp, requestVia("MESSAGE", "SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bK1", "", ""))
		out := r.wire.take()
		r.want("sent", lines(out), "200 MESSAGE, 200 MESSAGE")
		want := tcp
		want.Conn, want.Remote = 0, addr("192.0.2.1:5070")
		if out[1].flow != want {
			r.Errorf("second to %v, not %v", out[1].flow, want)
		}
	})
	bubble(t, Config{}, func(r *rig) {
		r.wire.fail = func(f sip.Flow) error { return errors.New("refused") }
		r.tu.request = func(s *Server) {
			s.OnEnd(func() { r.tu.note("end: %v", s.Err()) })
			s.Shard.After(1, func() { answer(s, 200) })
		}
		r.receive(tcp, requestVia("INVITE", "SIP/2.0/TCP 10.0.0.1;branch=z9hG4bK1", "", ""))
		r.sleepTo(40e9)
		// 100 on the connection and beside it, then the 200 where the 100 went.
		r.want("sent", lines(r.wire.take()), "100 INVITE, 100 INVITE, 200 INVITE")
		r.want("log", r.tu.take(), "request INVITE, end: refused")
	})
}

// The ports of one SA set at our side and at the peer's (TS 33.203 7.1).
var (
	portPS, portPC = addr("192.0.2.9:6100"), addr("192.0.2.9:5100")
	portUS, portUC = addr("192.0.2.1:6000"), addr("192.0.2.1:5000")
)

// protectedReturn is what whoever knows the set gives as Config.ReturnFlow.
func protectedReturn(f sip.Flow, _ uint16) (sip.Flow, bool) {
	if f.Local != portPS || f.Remote != portUC {
		return sip.Flow{}, false
	}
	return sip.Flow{Proto: f.Proto, Role: sip.RoleProtectedClient, Local: portPC, Remote: portUS}, true
}

// A datagram that came to port_ps is answered from port_pc to port_us, even with
// rport; a stream on its connection, and over one from port_pc when that has ended.
func TestResponseOverSASet(t *testing.T) {
	conformance.Partly(t, "IP-15")
	back := sip.Flow{Role: sip.RoleProtectedClient, Local: portPC, Remote: portUS}
	open := sip.Flow{Proto: sip.TCP, Role: sip.RoleProtectedServer, Local: portPS, Remote: portUC, Conn: 4}
	overTCP := back
	overTCP.Proto = sip.TCP
	for _, c := range []struct {
		name string
		from sip.Flow
		gone bool // the connection has ended
		want []sip.Flow
	}{
		{"datagram", sip.Flow{Role: sip.RoleProtectedServer, Local: portPS, Remote: portUC}, false, []sip.Flow{back}},
		{"stream", open, false, []sip.Flow{open}},
		{"ended stream", open, true, []sip.Flow{open, overTCP}},
		{"other flow", udp, false, []sip.Flow{udp}},
	} {
		bubble(t, Config{ReturnFlow: protectedReturn}, func(r *rig) {
			r.wire.fail = func(f sip.Flow) error {
				if c.gone && f.Conn != 0 {
					return errors.New("connection closed")
				}
				return nil
			}
			r.tu.request = func(s *Server) { answer(s, 200) }
			r.receive(c.from, requestVia("MESSAGE", fmt.Sprintf("SIP/2.0/%v 192.0.2.1:6000;rport;branch=z9hG4bK1", c.from.Proto), "", ""))
			var got []sip.Flow
			for _, s := range r.wire.take() {
				got = append(got, s.flow)
			}
			if c.from == udp { // rport
				c.want[0].Remote = udp.Remote
			}
			if d := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
				r.Errorf("%s: sent over (-want +got):\n%s", c.name, d)
			}
		})
	}
}

// A CANCEL whose connection has ended finds the peer over its SA set, and dials
// from no other port.
func TestCancelOverSASet(t *testing.T) {
	open := sip.Flow{Proto: sip.TCP, Role: sip.RoleProtectedServer, Local: portPS, Remote: portUC, Conn: 4}
	for _, c := range []struct {
		name   string
		config Config
		want   string
	}{
		{"the set is known", Config{ReturnFlow: protectedReturn}, "[protected-client TCP 192.0.2.9:5100->192.0.2.1:6000]"},
		{"the set is gone", Config{}, "[]"},
	} {
		bubble(t, c.config, func(r *rig) {
			var cl *Client
			r.on(func(sh *Shard) { cl = sh.Client(r.tu.client(open, "INVITE", "1")) })
			r.receive(open, response(180, "INVITE", "1"))
			r.wire.take()
			r.wire.fail = func(f sip.Flow) error {
				if f.Conn != 0 {
					return errors.New("connection closed")
				}
				return nil
			}
			r.on(func(*Shard) { cl.Cancel() })
			again := []sip.Flow{}
			for _, s := range r.wire.take() {
				if line(s.msg) == "CANCEL" && s.flow != open {
					again = append(again, s.flow)
				}
			}
			r.want(c.name+": CANCEL again over", fmt.Sprint(again), c.want)
		})
	}
}

// What went over SAs is answered, acknowledged and cancelled over them, by the same
// phone: anybody else may have read the branch.
func TestOutsideOfTheSAs(t *testing.T) {
	conformance.Partly(t, "IP-12", "IP-13")
	out := sip.Flow{Role: sip.RoleProtectedClient, Local: portPC, Remote: portUS}
	in := sip.Flow{Role: sip.RoleProtectedServer, Local: portPS, Remote: portUC}
	other := in
	other.Remote = addr("192.0.2.77:5000")
	overTCP := in
	overTCP.Proto, overTCP.Conn = sip.TCP, 5
	for _, c := range []struct {
		name string
		by   sip.Flow
		good bool
	}{
		{"the open port", gmUDP, false},
		{"the core", udp, false},
		{"another phone's SAs", other, false},
		{"port_ps", in, true},
		{"port_ps over TCP", overTCP, true},
		{"port_pc", out, true},
	} {
		counted := func(r *rig) {
			if n := r.l.Stats().Unprotected; (n == 0) != c.good {
				r.Errorf("over %s: %d counted", c.name, n)
			}
		}
		want := func(s string) string {
			if c.good {
				return s
			}
			return ""
		}
		bubble(t, Config{}, func(r *rig) {
			r.on(func(sh *Shard) { sh.Client(r.tu.client(out, "MESSAGE", "1")) })
			r.receive(c.by, response(200, "MESSAGE", "1"))
			r.want("response over "+c.name, r.tu.take(), want("200 MESSAGE"))
			counted(r)
		})
		bubble(t, Config{ReturnFlow: protectedReturn}, func(r *rig) {
			var invite *Server
			r.tu.request = func(s *Server) { invite = s }
			r.receive(in, request("INVITE", "1", ""))
			r.tu.take()
			r.receive(c.by, request("CANCEL", "1", ""))
			r.want("CANCEL over "+c.name, r.tu.take(), want("cancel"))
			counted(r)
			r.on(func(*Shard) { answer(invite, 487) })
		})
		bubble(t, Config{ReturnFlow: protectedReturn}, func(r *rig) {
			r.tu.request = func(s *Server) { answer(s, 486) }
			r.receive(in, request("INVITE", "1", ""))
			r.wire.take()
			r.receive(c.by, requestVia("ACK", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "us", ""))
			r.sleepTo(10 * time.Second)
			r.want("still repeated after an ACK over "+c.name, fmt.Sprint(len(r.wire.take()) > 0), fmt.Sprint(!c.good))
		})
	}
}

// A phone reads the branches of all who have passed its INVITE on. It neither answers
// nor ends what is between us and the core: it would do so past its own P-CSCF.
func TestPhoneAnswersForTheCore(t *testing.T) {
	conformance.Partly(t, "IP-12")
	for _, c := range []struct {
		name string
		by   sip.Flow
		good bool
	}{
		{"the open port", gmUDP, false},
		{"its SAs", sip.Flow{Role: sip.RoleProtectedServer, Local: portPS, Remote: portUC}, false},
		{"the core", udp, true},
		{"an application server", sip.Flow{Role: sip.RoleISC, Local: udp.Local, Remote: udp.Remote}, true},
	} {
		want := func(s string) string {
			if c.good {
				return s
			}
			return ""
		}
		bubble(t, Config{}, func(r *rig) {
			r.on(func(sh *Shard) { sh.Client(r.tu.client(udp, "INVITE", "1")) })
			r.receive(c.by, response(200, "INVITE", "1"))
			r.want("200 over "+c.name, r.tu.take(), want("200 INVITE"))
		})
		bubble(t, Config{}, func(r *rig) {
			var invite *Server
			r.tu.request = func(s *Server) { invite = s }
			r.receive(udp, request("INVITE", "1", ""))
			r.tu.take()
			r.receive(c.by, request("CANCEL", "1", ""))
			r.want("CANCEL over "+c.name, r.tu.take(), want("cancel"))
			r.on(func(*Shard) { answer(invite, 487) })
		})
	}
}
