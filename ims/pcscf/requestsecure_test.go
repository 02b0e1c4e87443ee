package pcscf

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

const (
	psEntry = "sip:%s@192.0.2.1:6100;lr"
	mwEntry = "sip:%s@192.0.2.1:5070;lr"
)

// A call from the phone: port_ps towards it, the open Mw port towards the core, and
// our own entry in both forms wherever somebody reads it.
func TestCallFromThePhoneOverIPsec(t *testing.T) {
	conformance.Shows(t, "IP-14", "PT-04", "PO-01")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		token := w.token("alice")
		u.say(u.text("INVITE", "sip:bob@"+domain, "c1", "Route: <sip:192.0.2.1:6100;lr>", "+Route: "+route, "Require: sec-agree", "Security-Verify: "+u.server, "P-Preferred-Identity: <sip:alice@"+domain+">"))
		in := w.scscf.request("INVITE")
		if v := in.First(sip.HVia); !strings.Contains(v, " 192.0.2.1:5070;") {
			t.Errorf("Via towards the core: %s", v)
		}
		ours := fmt.Sprintf("<"+mwEntry+">, <"+psEntry+">", token, token)
		check(t, "Record-Route towards the core", strings.Join(values(in.Message, sip.HRecordRoute), ", "), ours)
		check(t, "Path", len(values(in.Message, sip.HRoute)), 1)
		check(t, "asserted", in.Get(sip.HPAssertedIdentity), "<sip:alice@"+domain+">")
		text := string(sip.NewResponse(in.Message, 200, "", "bob").AddName("Contact", "<sip:bob@192.0.2.99>").Bytes())
		w.scscf.reply(in, strings.Replace(text, "Record-Route: ", "Record-Route: <sip:192.0.2.11:5060;lr>, ", 1))
		ok := u.status(200)
		check(t, "the 200 comes from port_pc to port_us", ok.from, u.pc)
		check(t, "Record-Route for the caller", strings.Join(values(ok.Message, sip.HRecordRoute), ", "), "<sip:192.0.2.11:5060;lr>, "+ours)

		// Within the dialog the phone's route begins with port_ps.
		routes := []string{"To: <sip:bob@" + domain + ">;tag=bob", "Route: " + fmt.Sprintf("<"+psEntry+">", token), "+Route: " + fmt.Sprintf("<"+mwEntry+">", token), "+Route: <sip:192.0.2.11:5060;lr>"}
		for _, method := range []string{"ACK", "BYE"} {
			u.say(u.text(method, "sip:bob@192.0.2.99", "c1", routes...))
			m := w.scscf.request(method)
			check(t, "routes of the "+method, strings.Join(values(m.Message, sip.HRoute), ", "), "<sip:192.0.2.11:5060;lr>")
			if method == "BYE" {
				w.scscf.answer(m, 200)
				u.status(200)
			}
		}
	})
}

func TestCallToThePhoneOverIPsec(t *testing.T) {
	conformance.Shows(t, "IP-14", "PT-04")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		token := w.token("alice")
		s := w.scscf
		s.send(mwAddr, s.text("INVITE", "sip:alice@"+u.addr.String(), "c1", "Route: "+fmt.Sprintf("<"+mwEntry+">", token), "Record-Route: <sip:192.0.2.11:5060;lr>"))
		in := u.request("INVITE")
		check(t, "comes from", in.from, u.pc)
		if v := in.First(sip.HVia); !strings.HasPrefix(v, "SIP/2.0/UDP 192.0.2.1:6100;") {
			t.Errorf("Via towards the phone: %s", v)
		}
		want := fmt.Sprintf("<"+psEntry+">, <"+mwEntry+">, <sip:192.0.2.11:5060;lr>", token, token)
		check(t, "Record-Route towards the phone", strings.Join(values(in.Message, sip.HRecordRoute), ", "), want)
		u.respond(in, 180, "Contact: <sip:alice@"+u.addr.String()+">", "Record-Route: "+want)
		s.status(180)
		// Answered over TCP to a request that came by UDP: the branch tells whose it is.
		c := u.dial(7000, u.ps)
		b := sip.NewResponse(in.Message, 200, "", "alice").AddName("Contact", "<sip:alice@"+u.addr.String()+">").AddName("Record-Route", want)
		if _, err := c.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
		ok := s.status(200)
		check(t, "Record-Route in the 200", strings.Join(values(ok.Message, sip.HRecordRoute), ", "), want)
		s.send(mwAddr, s.text("ACK", "sip:alice@"+u.addr.String(), "c1", "To: <sip:a@b>;tag="+ok.ToTag(), "Route: "+fmt.Sprintf("<"+mwEntry+">", token), "+Route: "+fmt.Sprintf("<"+psEntry+">", token)))
		check(t, "the ACK comes from", u.request("ACK").from, u.pc)
		u.say(u.text("BYE", "sip:scscf@192.0.2.11", "c1", "From: <sip:a@b>;tag="+ok.ToTag(), "To: <sip:scscf@"+domain+">;tag=scscf",
			"Route: "+fmt.Sprintf("<"+psEntry+">", token), "+Route: "+fmt.Sprintf("<"+mwEntry+">", token), "+Route: <sip:192.0.2.11:5060;lr>"))
		bye := s.request("BYE")
		check(t, "routes of the BYE", strings.Join(values(bye.Message, sip.HRoute), ", "), "<sip:192.0.2.11:5060;lr>")
		s.answer(bye, 200)
		u.status(200)
	})
}

// A response in clear does not end what went over a set.
func TestResponseOfThePhoneInClear(t *testing.T) {
	conformance.Partly(t, "IP-12", "IP-13")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		s := w.scscf
		s.send(mwAddr, s.text("MESSAGE", "sip:alice@"+u.addr.String(), "m1", "Route: "+fmt.Sprintf("<"+mwEntry+">", w.token("alice"))))
		m := u.request("MESSAGE")
		text := string(sip.NewResponse(m.Message, 200, "", "alice").Bytes())
		u.open.send(gmAddr, text)
		u.open.send(u.ps, text)
		u.open.send(u.pc, text)
		s.nothing(time.Second)
		u.respond(m, 200)
		s.status(200)
	})
}

// over writes a REGISTER for TCP.
func (u *ue) overTCP(text string) string {
	return strings.Replace(text, "SIP/2.0/UDP", "SIP/2.0/TCP", 1)
}

func writeTo(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// A phone with TCP: its responses stay on the connection, requests take it, or the
// one that we dial from port_pc to port_us when it has closed its own.
func TestTCPOverIPsec(t *testing.T) {
	conformance.Shows(t, "IP-16")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.begin()
		c := u.dial(7000, u.ps)
		writeTo(t, c, u.overTCP(u.register("Security-Verify: "+u.server, u.auth("n", "ok"))))
		a := w.icscf.request("REGISTER")
		w.icscf.answer(a, 200, u.peer.granted()...)
		if ok := u.status(200); ok.conn != c {
			t.Errorf("the 200 came from %v, not over the phone's connection", ok.from)
		}
		token := w.token("alice")
		s := w.scscf
		ask := func(call string) arrival {
			s.send(mwAddr, s.text("MESSAGE", "sip:alice@"+u.addr.String(), call, "Route: "+fmt.Sprintf("<"+mwEntry+">", token)))
			m := u.request("MESSAGE")
			if v := m.First(sip.HVia); !strings.HasPrefix(v, "SIP/2.0/TCP 192.0.2.1:6100;") {
				t.Errorf("Via: %s", v)
			}
			u.respond(m, 200)
			s.status(200)
			return m
		}
		if m := ask("m1"); m.conn != c {
			t.Errorf("a request came from %v, not over the phone's connection", m.from)
		}
		// The phone closes it, and listens.
		u.listen()
		_ = c.Close()
		time.Sleep(time.Second)
		m := ask("m2")
		check(t, "dialled from", m.from, u.pc)
		if again := ask("m3"); again.conn != m.conn {
			t.Error("the connection is dialled for each request")
		}
		// It opens its own again: both may be open.
		c2 := u.dial(7000, u.ps)
		writeTo(t, c2, u.overTCP(u.text("MESSAGE", "sip:bob@"+domain, "m4")))
		in := s.request("MESSAGE")
		s.answer(in, 200)
		if ok := u.status(200); ok.conn != c2 {
			t.Error("the 200 did not come over the connection of its request")
		}
		if got := ask("m5"); got.conn != c2 {
			t.Errorf("a request came from %v, not over the phone's connection", got.from)
		}
		// However long nothing is said, we do not close it.
		time.Sleep(50 * time.Minute)
		if got := ask("m6"); got.conn != c2 {
			t.Error("the connection was closed by us")
		}
	})
}

// What does not fit a datagram takes the phone's open connection, one of ours, or
// goes as it is.
func TestLargeRequestToAPhoneWithUDP(t *testing.T) {
	conformance.Shows(t, "IP-16", "IP-14")
	for _, c := range []string{"the phone's connection", "a connection of ours", "a datagram"} {
		t.Run(c, func(t *testing.T) {
			secure(t, func(w *world) {
				u := w.ue("alice", "192.0.2.50").up()
				var open net.Conn
				switch c {
				case "the phone's connection":
					open = u.dial(7000, u.ps)
					writeTo(t, open, u.overTCP(u.text("MESSAGE", "sip:bob@"+domain, "m0")))
					w.scscf.answer(w.scscf.request("MESSAGE"), 200)
					u.status(200)
				case "a connection of ours":
					u.listen()
				}
				s := w.scscf
				s.send(mwAddr, s.text("NOTIFY", "sip:alice@"+u.addr.String(), "n1", "Route: "+fmt.Sprintf("<"+mwEntry+">", w.token("alice")),
					"To: <sip:a@b>;tag=x", "Event: reg", "Subscription-State: active", "body:"+strings.Repeat("x", 2000)))
				n := u.request("NOTIFY")
				switch c {
				case "the phone's connection":
					check(t, "over it", n.conn == open, true)
				case "a connection of ours":
					check(t, "over TCP from", fmt.Sprint(n.conn != nil, n.from), "true "+u.pc)
				default:
					check(t, "over UDP from", fmt.Sprint(n.conn == nil, n.from), "true "+u.pc)
				}
				u.respond(n, 200)
				s.status(200)
			})
		})
	}
}

// Of two phones with the same ports each gets its own; and of two behind one NAT with
// the same address.
func TestPhonesApart(t *testing.T) {
	secure(t, func(w *world) {
		a, b := w.ue("alice", "192.0.2.50").up(), w.ue("bob", "192.0.2.51").up()
		for _, u := range []*ue{a, b} {
			u.say(u.text("MESSAGE", "sip:x@"+domain, "m-"+u.name))
			m := w.scscf.request("MESSAGE")
			check(t, "asserted", m.Get(sip.HPAssertedIdentity), "<sip:"+u.name+"@"+domain+">")
			w.scscf.answer(m, 200)
			u.status(200)
			u.message(w.token(u.name), "t-"+u.name)
		}
		// A phone that says it is another asserts its own identity all the same.
		a.say(a.text("MESSAGE", "sip:x@"+domain, "m9", "P-Preferred-Identity: <sip:bob@"+domain+">"))
		check(t, "asserted", w.scscf.request("MESSAGE").Get(sip.HPAssertedIdentity), "<sip:alice@"+domain+">")
	})
}

// The next set begins where the packets of the one before come from.
func TestNextSetKnowsTheWay(t *testing.T) {
	conformance.Partly(t, "IP-19")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		w.p.sec.stack.outer = w.p.sec.mappedTo
		w.p.sec.mapped(w.ipsec.installed()[0].ID, netipAddr("198.51.100.7:34567"))
		u.again(7001)
		check(t, "outer", w.ipsec.installed()[1].Outer, "198.51.100.7:34567")
	})
}

// Two phones with one address and the same ports: behind one NAT, or in a lab on
// one machine. Our ports tell them apart.
func TestPhonesWithOneAddress(t *testing.T) {
	secure(t, func(w *world) {
		a := w.ue("alice", "192.0.2.50").up()
		set := w.ipsec.installed()[0]
		// The other has the same sockets here, and its own SPIs.
		b := *a
		b.client = strings.NewReplacer("=1002;", "=2002;", "=1003;", "=2003;").Replace(a.client)
		as := func(text string) string { return strings.ReplaceAll(text, "alice", "bob") }
		b.open.send(gmAddr, as(b.register("Via: SIP/2.0/UDP 192.0.2.50:5060;rport;branch="+sip.NewBranch())))
		w.challenge()
		b.challenged(b.open)
		b.take()
		if b.ps == a.ps || b.pc == a.pc {
			t.Fatalf("both have %s and %s", a.ps, a.pc)
		}
		b.say(as(b.register("Security-Verify: "+b.server, b.auth("n", "ok"))))
		in := w.icscf.request("REGISTER")
		w.icscf.answer(in, 200, "Contact: <sip:bob@192.0.2.50:6000>;expires=3600", "Service-Route: "+route)
		b.status(200)
		for _, c := range []struct{ name, ps, pc string }{{"alice", a.ps, a.pc}, {"bob", b.ps, b.pc}} {
			s := w.scscf
			s.send(mwAddr, s.text("MESSAGE", "sip:"+c.name+"@192.0.2.50:6000", "t-"+c.name, "Route: "+fmt.Sprintf("<"+mwEntry+">", w.token(c.name))))
			m := a.request("MESSAGE")
			check(t, c.name+" is reached from", m.from, c.pc)
			a.respond(m, 200)
			s.status(200)
			a.out.send(c.ps, a.text("MESSAGE", "sip:x@"+domain, "o-"+c.name))
			o := s.request("MESSAGE")
			check(t, "asserted", o.Get(sip.HPAssertedIdentity), "<sip:"+c.name+"@"+domain+">")
			s.answer(o, 200)
			a.status(200)
		}
		check(t, "sets", fmt.Sprint(len(w.ipsec.installed()), w.ipsec.installed()[0] == set, w.p.SASetsEstablished()), "2 true 2")
	})
}

// IPv6, and no set with both families.
func TestIPv6OverIPsec(t *testing.T) {
	conformance.Shows(t, "TR-19")
	secure(t, func(w *world) {
		u := w.ue("alice", "2001:db8::50").up()
		for _, s := range w.ipsec.installed() {
			if s.Local.Addr.Is4() || s.Remote.Addr.Is4() {
				t.Errorf("a set of mixed families: %v", s)
			}
		}
		s := w.scscf
		s.send(mwAddr, s.text("MESSAGE", "sip:alice@"+u.addr.String(), "m1", "Route: "+fmt.Sprintf("<"+mwEntry+">", w.token("alice"))))
		m := u.request("MESSAGE")
		if v := m.First(sip.HVia); !strings.HasPrefix(v, "SIP/2.0/UDP [2001:db8::1]:6100;") {
			t.Errorf("Via: %s", v)
		}
		u.respond(m, 200)
		s.status(200)
	}, func(c *Config) { c.Listen.Gm = netipAddr("[2001:db8::1]:5060") })
}

// A phone behind a NAT: its Via is not where its packets come from.
func TestPhoneBehindANAT(t *testing.T) {
	conformance.Partly(t, "IP-19")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		inside := "Via: SIP/2.0/UDP 10.1.2.3:5060;rport;branch="
		u.open.send(gmAddr, u.register(inside+sip.NewBranch()))
		u.open.refused(494, "NAT")
		if said := fmt.Sprint(w.p.Report("alice@" + domain).Explanation); !strings.Contains(said, "NAT between phone and P-CSCF") {
			t.Errorf("the explanation says %s", said)
		}
		var first uint16
		for i, name := range []string{"alice", "carol"} { // both with the same address inside
			u.name = name
			u.client = strings.Replace(u.client, "mod=trans", "mod=UDP-enc-tun", 1)
			u.open.send(gmAddr, u.register(inside+sip.NewBranch(), "From: <sip:"+name+"@"+domain+">;tag="+name, "Call-ID: nat-"+name))
			w.challenge()
			u.challenged(u.open)
			s := w.ipsec.installed()[i]
			check(t, "the set", fmt.Sprint(s.Mode, " ", s.Remote.Addr, " ", s.Outer.Addr()), "UDP-enc-tun 192.0.2.50 192.0.2.50")
			if i == 1 && s.Local.PortS == first {
				t.Errorf("two phones behind one NAT have port_ps %d", first)
			}
			first = s.Local.PortS
		}
	})
}

// Why a phone does not come up, over HTTP and in sentences.
func TestExplain(t *testing.T) {
	secure(t, func(w *world) {
		a := &node.Admin{}
		Admin(w.p, a)
		ask := func(from, path string) *httptest.ResponseRecorder {
			rec, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
			req.RemoteAddr = from
			a.Handle["GET /debug/ipsec"].ServeHTTP(rec, req)
			return rec
		}
		get := func() *ipsec.Report {
			rec := ask("127.0.0.1:4711", Questions()[0].Path("alice@"+domain))
			if rec.Code != 200 {
				t.Fatalf("%d %s", rec.Code, rec.Body)
			}
			if s := rec.Body.String(); strings.Contains(s, testCK) || strings.Contains(s, testIK) {
				t.Error("the keys are shown")
			}
			var r ipsec.Report
			if err := json.Unmarshal(rec.Body.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := Questions()[0].Print(&out, rec.Body.Bytes()); err != nil || len(r.Explanation) == 0 || !strings.Contains(out.String(), r.Explanation[0].String()) {
				t.Errorf("printed %q, %v", out.String(), err)
			}
			return &r
		}
		says := func(words string) {
			t.Helper()
			if said := fmt.Sprint(get().Explanation); !strings.Contains(said, words) {
				t.Errorf("want %q, said %s", words, said)
			}
		}
		says("no REGISTER")
		u := w.ue("alice", "192.0.2.50")
		u.begin()
		says("401 sent, SAs stand")
		time.Sleep(5 * time.Second)
		says("no ESP packet has arrived")
		id := w.ipsec.installed()[0].ID
		w.ipsec.mu.Lock()
		w.ipsec.stats[id] = ipsec.SetStats{In: [2]ipsec.SAStats{{BadICV: 3}}}
		w.ipsec.mu.Unlock()
		says("integrity fails (3 packets)")
		u.answer401()
		w.ipsec.mu.Lock()
		w.ipsec.stats[id] = ipsec.SetStats{In: [2]ipsec.SAStats{{Packets: 9, Last: time.Now()}}}
		w.ipsec.mu.Unlock()
		r := get()
		check(t, "sets", len(r.Sets), 1)
		check(t, "registered", r.Facts.Registered, true)
		says("registered")
		check(t, "without an identity", ask("[::1]:4711", "/debug/ipsec").Code, 400)
		check(t, "from elsewhere", ask("192.0.2.9:4711", "/debug/ipsec?impi=x").Code, 403)
	})
}

// No log line, trace event or answer shows a key, and the trace tells of the sets.
func TestKeysOfASetAreNeverShown(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		u.again(7001)
		u.message(w.token("alice"), "m1")
		synctest.Wait()
		told := 0
		for len(w.events.C()) > 0 {
			e := <-w.events.C()
			if e.Kind == trace.SA {
				told++
			}
			if s := fmt.Sprintf("%+v %s", e, e.Raw); strings.Contains(s, testCK) || strings.Contains(s, testIK) {
				t.Errorf("the trace shows a key: %s", s)
			}
		}
		if told < 4 {
			t.Errorf("%d events of SAs, want at least two set up, one lifetime, one move", told)
		}
		for _, e := range w.logs.All() {
			if s := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(s, testCK) || strings.Contains(s, testIK) {
				t.Errorf("the log shows a key: %s", s)
			}
		}
	})
}

// What an operator watches.
func TestSecurityMetrics(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		w.ue("bob", "192.0.2.51").begin()
		u.again(7001)
		u.open.send(gmAddr, u.open.text("OPTIONS", "sip:bob@"+domain, "o1"))
		u.open.status(403)
		u.open.send("192.0.2.1:6101", "x")
		u.open.send(gmAddr, u.register("Via: SIP/2.0/UDP 192.0.2.50:5060;branch="+sip.NewBranch(), "Security-Client: tls"))
		u.open.status(494)
		families, err := w.p.deps.Metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
		for name, want := range map[string]float64{
			"gocscf_pcscf_sa_sets in use": 1, "gocscf_pcscf_sa_sets unused": 1, "gocscf_pcscf_sa_sets temporary": 1, "gocscf_pcscf_sa_sets old": 0,
			"gocscf_pcscf_sec_agree_failures_total unacceptable_proposal": 1,
			"gocscf_pcscf_clear_messages_total open_port":                 1, "gocscf_pcscf_clear_messages_total protected_port": 1,
		} {
			if v, there := got[name]; !there || v != want {
				t.Errorf("%s is %v, want %v", name, v, want)
			}
		}
	})
}
