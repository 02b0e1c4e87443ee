package proxy

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestLooseAndStrictRouting(t *testing.T) {
	conformance.Shows(t, "TR-04")
	var seen []string
	record := handlerFunc(func(x *Exchange) {
		seen = nil
		for _, u := range x.Routes() {
			seen = append(seen, u.String())
		}
		x.Forward()
	})
	run(t, record, func(w *world) {
		a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", false)
		defer a.close()
		defer b.close()
		for i, tt := range []struct {
			name, uri string
			routes    []string
			own       []string
			wantURI   string
			wantRoute []string
		}{
			{"no Route: by Request-URI", "sip:bob@192.0.2.20", nil, nil, "sip:bob@192.0.2.20", nil},
			{"own entry popped, loose next hop", "sip:bob@far.test", []string{"<sip:orig@192.0.2.1;lr;x=1>, <sip:192.0.2.20;lr>, <sip:last.test;lr>"},
				[]string{"sip:orig@192.0.2.1;lr;x=1"}, "sip:bob@far.test", []string{"<sip:192.0.2.20;lr>", "<sip:last.test;lr>"}},
			{"own entry on a line of its own", "sip:bob@far.test", []string{"<sip:192.0.2.1;lr>", "<sip:192.0.2.20;lr>"},
				[]string{"sip:192.0.2.1;lr"}, "sip:bob@far.test", []string{"<sip:192.0.2.20;lr>"}},
			{"doubled own entry", "sip:bob@far.test", []string{"<sip:192.0.2.1:5080;lr>,<sip:192.0.2.1;lr>", "<sip:192.0.2.20;lr>"},
				[]string{"sip:192.0.2.1:5080;lr", "sip:192.0.2.1;lr"}, "sip:bob@far.test", []string{"<sip:192.0.2.20;lr>"}},
			{"the last entry was ours", "sip:bob@192.0.2.20", []string{"<sip:192.0.2.1;lr>"},
				[]string{"sip:192.0.2.1;lr"}, "sip:bob@192.0.2.20", nil},
			{"strict router before us", "sip:orig@192.0.2.1;lr", []string{"<sip:192.0.2.20;lr>", "<sip:bob@far.test>"},
				[]string{"sip:orig@192.0.2.1;lr"}, "sip:bob@far.test", []string{"<sip:192.0.2.20;lr>"}},
			{"strict router before us, nobody behind", "sip:192.0.2.1;lr", []string{"<sip:bob@192.0.2.20>"},
				[]string{"sip:192.0.2.1;lr"}, "sip:bob@192.0.2.20", nil},
			{"strict router behind us", "sip:bob@far.test", []string{"<sip:192.0.2.1;lr>", "<sip:192.0.2.20>", "<sip:last.test;lr>"},
				[]string{"sip:192.0.2.1;lr"}, "sip:192.0.2.20", []string{"<sip:last.test;lr>", "<sip:bob@far.test>"}},
			{"strict on both sides", "sip:192.0.2.1;lr", []string{"<sip:192.0.2.20>", "<sip:bob@far.test>"},
				[]string{"sip:192.0.2.1;lr"}, "sip:192.0.2.20", []string{"<sip:bob@far.test>"}},
			{"maddr of the next hop", "sip:bob@far.test;maddr=192.0.2.20", nil, nil, "sip:bob@far.test;maddr=192.0.2.20", nil},
			{"our maddr", "sip:bob@192.0.2.20:5060;maddr=192.0.2.1;transport=udp", nil, nil, "sip:bob@192.0.2.20", nil},
		} {
			call := string(rune('a' + i))
			var lines []string
			for _, r := range tt.routes {
				lines = append(lines, "+Route: "+r)
			}
			a.send(a.text("MESSAGE", tt.uri, call, append(lines, "To: <sip:bob@test>")...))
			m := b.request("MESSAGE")
			check(t, tt.name+": Request-URI", m.msg.RequestURI(), tt.wantURI)
			if got := slices.Collect(m.msg.Values(sip.HRoute)); !slices.Equal(got, tt.wantRoute) {
				t.Errorf("%s: Route %q, want %q", tt.name, got, tt.wantRoute)
			}
			if !slices.Equal(seen, tt.own) {
				t.Errorf("%s: own entries %q, want %q", tt.name, seen, tt.own)
			}
			b.answer(m, 200)
			a.status(200)
		}
		w.quiet()
	})
}

// RFC 3261 16.6 step 4 and RFC 5658.
func TestRecordRoute(t *testing.T) {
	h := handlerFunc(func(x *Exchange) {
		own := &Own{User: "orig", Params: "x=1"}
		hop := Hop{Addr: netip.MustParseAddrPort("192.0.2.20:5060")}
		if x.Req.CallID() != "core" {
			hop.Role = sip.RoleISC
		}
		if x.Req.CallID() == "isc" {
			own.Facing = func(f sip.Flow) string { return "side=" + f.Role.String() }
		}
		x.Forward(Target{Hop: hop, RecordRoute: own})
	})
	run(t, h, func(w *world) {
		a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", false)
		defer a.close()
		defer b.close()
		for _, tt := range []struct{ call, want, via string }{
			{"core", "<sip:orig@192.0.2.1:5060;lr;x=1>", "192.0.2.1:5060"},
			{"plain", "<sip:orig@192.0.2.1:5090;lr;x=1>, <sip:orig@192.0.2.1:5060;lr;x=1>", "192.0.2.1:5090"},
			{"isc", "<sip:orig@192.0.2.1:5090;lr;x=1;side=isc>, <sip:orig@192.0.2.1:5060;lr;x=1;side=core>", "192.0.2.1:5090"},
		} {
			a.send(a.text("SUBSCRIBE", "sip:bob@test", tt.call, "Record-Route: <sip:before.test;lr>"))
			m := b.request("SUBSCRIBE")
			check(t, "Record-Route", strings.Join(slices.Collect(m.msg.Values(sip.HRecordRoute)), ", "), tt.want+", <sip:before.test;lr>")
			v, _ := m.msg.TopVia()
			check(t, "sent-by", netip.AddrPortFrom(netip.MustParseAddr(v.Host), v.Port).String(), tt.via)
			check(t, "source", m.flow.Remote.String(), tt.via)
			b.answer(m, 200)
			a.status(200)
		}
		check(t, "URI", w.core.URI(sip.RoleISC, Own{User: "term", Params: "y"}), "sip:term@192.0.2.1:5090;lr;y")
		w.quiet()
	})
}

// A response belongs to its branch, by whichever way it comes.
func TestResponseOverAnotherTransport(t *testing.T) {
	conformance.Shows(t, "TR-07")
	run(t, to("192.0.2.20:5060"), func(w *world) {
		a, b := w.peer("alice", "192.0.2.10", true), w.peer("bob", "192.0.2.20", true)
		defer a.close()
		defer b.close()
		invite := a.text("INVITE", "sip:bob@test", "c1")
		a.send(invite)
		m := b.request("INVITE")
		check(t, "request over", m.flow.Proto, sip.UDP)
		for _, code := range []int{180, 200} {
			b.sendTo(sip.TCP, coreAddr, string(sip.NewResponse(m.msg, code, "", "bob").Add(sip.HContact, "<sip:bob@192.0.2.20>").Bytes()))
			a.status(code)
		}
		// The same branch with another method in CSeq is another transaction.
		stray := strings.ReplaceAll(string(sip.NewResponse(m.msg, 200, "", "bob").Bytes()), "1 INVITE", "1 UPDATE")
		b.send(stray)
		a.nothing(time.Second)
		if n := w.core.Stats().Strays; n != 1 {
			t.Errorf("%d strays, want 1", n)
		}
		w.quiet()
	})
}

// wideNet knows that packets of 3000 octets pass.
type wideNet struct{ transport.Net }

func (wideNet) PathMTU(netip.Addr, netip.Addr) int { return 3000 }

// big is a header that makes a request too long for a datagram.
var big = "Subject: " + strings.Repeat("x", 1200)

func TestDatagramOrStream(t *testing.T) {
	conformance.Shows(t, "TR-08")
	const bobAddr = "192.0.2.20:5060"
	// forward sends a request and returns how it arrived and how long that took.
	forward := func(a, b *peer, call string, field string) (arrival, time.Duration) {
		start := time.Now()
		// Without a Content-Length, which a datagram may lack and a stream may not.
		a.send(strings.Replace(a.text("MESSAGE", "sip:bob@test", call, field), "Content-Length: 0\r\n", "", 1))
		m := b.request("MESSAGE")
		took := time.Since(start)
		v, err := m.msg.TopVia()
		if err != nil || v.Transport != m.flow.Proto.String() {
			b.w.t.Errorf("came over %v with Via %v", m.flow.Proto, v)
		}
		if n := m.msg.Count(sip.HContentLength); m.flow.Proto.Stream() && n != 1 {
			b.w.t.Errorf("%d Content-Length", n)
		}
		b.answer(m, 200)
		a.status(200)
		return m, took
	}
	for _, tt := range []struct {
		name  string
		tcp   bool
		spoil func(w *world)
		first sip.Proto
		least time.Duration // that the first large request takes
		most  time.Duration
	}{
		{"stream", true, nil, sip.TCP, 0, 100 * time.Millisecond},
		{"refused", false, nil, sip.UDP, 0, 100 * time.Millisecond},
		{"no connection within a second", true, func(w *world) {
			w.net.SetHook(func(p memnet.Packet) memnet.Verdict {
				if p.Kind == memnet.Connect {
					return memnet.Drop
				}
				return memnet.Pass
			})
		}, sip.UDP, time.Second, 1100 * time.Millisecond},
		{"ICMP host unreachable", true, func(w *world) {
			w.net.SetHook(func(p memnet.Packet) memnet.Verdict {
				if p.Kind == memnet.Connect {
					w.net.SetLink("192.0.2.1", "192.0.2.20", memnet.Link{Delay: 5 * time.Millisecond, Unreachable: true})
					time.AfterFunc(time.Millisecond, func() {
						w.net.SetLink("192.0.2.1", "192.0.2.20", memnet.Link{Delay: 5 * time.Millisecond})
					})
				}
				return memnet.Pass
			})
		}, sip.UDP, 0, 100 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, to(bobAddr), func(w *world) {
				a, b := w.peer("alice", "192.0.2.10", true), w.peer("bob", "192.0.2.20", tt.tcp)
				defer a.close()
				defer b.close()
				if tt.spoil != nil {
					tt.spoil(w)
				}
				m, _ := forward(a, b, "small", "-Subject")
				check(t, "a small one", m.flow.Proto, sip.UDP)
				m, took := forward(a, b, "big1", big)
				check(t, "a large one", m.flow.Proto, tt.first)
				if took < tt.least || took > tt.most {
					t.Errorf("the large one took %v, want %v to %v", took, tt.least, tt.most)
				}
				// Remembered: the next one does not try again.
				m, took = forward(a, b, "big2", big)
				check(t, "the next large one", m.flow.Proto, tt.first)
				if took > 50*time.Millisecond {
					t.Errorf("the next large one took %v", took)
				}
				w.quiet()
			})
		})
	}

	t.Run("a path whose MTU is known", func(t *testing.T) {
		run(t, to(bobAddr), func(w *world) {
			a, b := w.peer("alice", "192.0.2.10", true), w.peer("bob", "192.0.2.20", true)
			defer a.close()
			defer b.close()
			m, _ := forward(a, b, "big1", big)
			check(t, "within it", m.flow.Proto, sip.UDP)
			m, _ = forward(a, b, "big2", "Subject: "+strings.Repeat("x", 2800))
			check(t, "within 200 octets of it", m.flow.Proto, sip.TCP)
			w.quiet()
		}, func(c *Config) { c.Net = wideNet{c.Net} })
	})

	t.Run("ICMP about the datagram itself", func(t *testing.T) {
		run(t, to(bobAddr), func(w *world) {
			a := w.peer("alice", "192.0.2.10", false)
			defer a.close()
			w.net.Host("192.0.2.20") // nothing listens there
			a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
			check(t, "reason", a.status(500).Reason(), "Next Hop Unreachable")
			w.quiet()
		})
	})

	// The phone's connection, from a port that nobody could dial.
	t.Run("a phone's open connection", func(t *testing.T) {
		var phone sip.Flow
		h := handlerFunc(func(x *Exchange) {
			if x.Req.Method() == "REGISTER" {
				phone = x.Flow
				x.Reply(200, "")
				return
			}
			x.Forward(Target{Hop: Hop{Addr: netip.MustParseAddrPort(bobAddr), Role: sip.RoleGm, Stream: phone}})
		})
		run(t, h, func(w *world) {
			a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", true)
			defer a.close()
			b.sendTo(sip.TCP, gmAddr, b.text("REGISTER", "sip:test", "r", "Via: SIP/2.0/TCP 192.0.2.20:5060;branch=z9hG4bKr"))
			b.status(200)
			m, _ := forward(a, b, "small", "-Subject")
			check(t, "a small one", m.flow.Proto, sip.UDP)
			m, _ = forward(a, b, "big", big)
			check(t, "a large one", m.flow.Proto, sip.TCP)
			check(t, "over the phone's connection", m.flow.Local.Port() != 5060, true)
			v, _ := m.msg.TopVia()
			check(t, "sent-by port", v.Port, uint16(5080))
			// It closes and listens no more: back to datagrams.
			b.close()
			time.Sleep(time.Second)
			b2 := w.again("bob", b, false)
			defer b2.close()
			m, _ = forward(a, b2, "big2", big)
			check(t, "a large one without a connection", m.flow.Proto, sip.UDP)
			w.quiet()
		})
	})
}

// answers is a Resolver that answers later, from another goroutine.
type answers map[string][]Hop

func (r answers) Resolve(ctx context.Context, q Query, done func([]Hop, error)) {
	go func() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
		hops, ok := r[q.Host]
		if !ok {
			done(nil, errors.New("no such host"))
			return
		}
		done(hops, nil)
		done(hops, nil) // a resolver's mistake must do no harm
	}()
}

// Addresses of the next hop are tried in order (RFC 3263 4.3).
func TestNextAddress(t *testing.T) {
	hop := func(s string) Hop { return Hop{Addr: netip.MustParseAddrPort(s)} }
	resolver := answers{
		"two.test":  {hop("192.0.2.20:5060"), hop("192.0.2.21:5060")},
		"gone.test": {hop("192.0.2.20:6000"), hop("192.0.2.20:6001")},
	}
	h := handlerFunc(func(x *Exchange) {
		timeout := time.Duration(0)
		if x.Req.CallID() == "silent" {
			timeout = 2 * time.Second
		}
		x.Forward(Target{Timeout: timeout})
	})
	for _, host := range []string{"two.test", "static.test"} {
		t.Run(host, func(t *testing.T) {
			run(t, h, func(w *world) {
				a, b, c := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", false), w.peer("carol", "192.0.2.21", false)
				defer a.close()
				defer b.close()
				defer c.close()
				uri := "sip:bob@" + host

				a.send(a.text("MESSAGE", uri, "first"))
				b.answer(b.request("MESSAGE"), 200)
				a.status(200)

				a.send(a.text("MESSAGE", uri, "503"))
				m := b.request("MESSAGE")
				b.answer(m, 503)
				m2 := c.request("MESSAGE")
				v, _ := m.msg.TopVia()
				v2, _ := m2.msg.TopVia()
				check(t, "another branch", v.Branch != v2.Branch, true)
				c.answer(m2, 200)
				a.status(200)

				a.send(a.text("MESSAGE", uri, "both503"))
				b.answer(b.request("MESSAGE"), 503, sip.Field{ID: sip.HRetryAfter, Value: "9"})
				c.answer(c.request("MESSAGE"), 503)
				check(t, "Retry-After", a.status(500).Get(sip.HRetryAfter), "")

				a.send(a.text("MESSAGE", uri, "404"))
				b.answer(b.request("MESSAGE"), 404)
				a.status(404)

				start := time.Now()
				invite := a.text("INVITE", uri, "silent")
				a.send(invite)
				b.request("INVITE")
				m = c.request("INVITE")
				if d := time.Since(start).Round(100 * time.Millisecond); d != 2*time.Second && d != 2100*time.Millisecond {
					t.Errorf("the second address was tried after %v, want 2 s", d)
				}
				c.answer(m, 200)
				a.ack(invite, a.status(200))
				c.request("ACK")

				// What the address that was given up says later is not its branch's end.
				invite = strings.ReplaceAll(a.text("INVITE", uri, "silent"), "z9hG4bKsilent", "z9hG4bKsilent2")
				a.send(invite)
				first := b.request("INVITE")
				m = c.request("INVITE")
				c.answer(m, 180)
				a.status(180)
				b.answer(first, 486)
				b.request("ACK")
				a.nothing(5 * time.Second)
				c.answer(m, 603)
				c.request("ACK")
				a.ack(invite, a.status(603))

				// Cancelled: no other address is tried.
				invite = a.text("INVITE", uri, "cancelled")
				a.send(invite)
				m = b.request("INVITE")
				b.answer(m, 100)
				a.send(cancel(invite, ""))
				a.status(200)
				b.answer(b.request("CANCEL"), 200)
				b.answer(m, 503)
				b.request("ACK")
				a.ack(invite, a.status(500))
				c.nothing(time.Minute)
				w.quiet()
			}, func(c *Config) {
				c.Resolver = resolver
				c.Hosts = map[string][]netip.AddrPort{"Static.test": {netip.MustParseAddrPort("192.0.2.20:0"), netip.MustParseAddrPort("192.0.2.21:0")}}
			})
		})
	}
	t.Run("none", func(t *testing.T) {
		run(t, h, func(w *world) {
			a := w.peer("alice", "192.0.2.10", false)
			defer a.close()
			w.net.Host("192.0.2.20")
			for i, uri := range []string{"sip:x@unknown.test", "sip:x@gone.test", "sip:x@192.0.2.20:7000", "sip:x@192.0.2.20;transport=sctp"} {
				a.send(a.text("MESSAGE", uri, string(rune('a'+i))))
				a.status(500)
			}
			a.send(a.text("MESSAGE", "tel:+15550001", "t", "To: <sip:b@test>"))
			a.status(416)
			w.quiet()
		}, func(c *Config) { c.Resolver = resolver })
	})
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
	}{
		{"Timer C too short", Config{TimerC: 3 * time.Minute}},
		{"Max-Forwards", Config{MaxForwards: 256}},
		{"Max-Breadth", Config{MaxBreadth: -1}},
		{"alias", Config{Aliases: []string{"sip:x"}}},
		{"host without addresses", Config{Hosts: map[string][]netip.AddrPort{"a": nil}}},
	} {
		if c, err := New(tt.cfg, to()); err == nil {
			c.Close()
			t.Errorf("%s: accepted", tt.name)
		}
	}
}

func TestSentBy(t *testing.T) {
	var s sentBys
	ap := netip.MustParseAddrPort
	check(t, "without sockets", s.of(sip.Flow{Local: ap("192.0.2.1:1")}), "192.0.2.1:1")
	s.add(sip.RoleCore, ap("192.0.2.1:5060"))
	s.add(sip.RoleCore, ap("[2001:db8::1]:5060"))
	s.add(sip.RoleCore, ap("192.0.2.1:5062"))
	s.add(sip.RoleProtectedClient, ap("192.0.2.1:6001"))
	s.add(sip.RoleProtectedServer, ap("192.0.2.1:6000"))
	for _, tt := range []struct {
		name string
		flow sip.Flow
		want string
	}{
		{"socket", sip.Flow{Local: ap("192.0.2.1:5062")}, "192.0.2.1:5062"},
		{"IPv6", sip.Flow{Local: ap("[2001:db8::1]:5060")}, "[2001:db8::1]:5060"},
		{"dialled", sip.Flow{Proto: sip.TCP, Local: ap("192.0.2.1:40000")}, "192.0.2.1:5060"},
		{"dialled over IPv6", sip.Flow{Proto: sip.TCP, Local: ap("[2001:db8::1]:40000")}, "[2001:db8::1]:5060"},
		// TS 33.203 7.1: from port_pc, and back to port_ps.
		{"port_pc", sip.Flow{Role: sip.RoleProtectedClient, Local: ap("192.0.2.1:6001")}, "192.0.2.1:6000"},
		{"port_ps", sip.Flow{Role: sip.RoleProtectedServer, Local: ap("192.0.2.1:6000")}, "192.0.2.1:6000"},
	} {
		check(t, tt.name, s.of(tt.flow), tt.want)
	}
	check(t, "of a role", s.ofRole(sip.RoleCore), "192.0.2.1:5060")
	check(t, "of no role", s.ofRole(sip.RoleISC), "")
}
