package pcscf

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

const (
	ecscfAddr    = "192.0.2.20:5060"
	secondECSCF  = "192.0.2.21:5060"
	strangerAddr = "198.51.100.9:5060"
	sos          = "urn:service:sos"
)

// takesEmergencies names an E-CSCF, for everybody.
func takesEmergencies(c *Config) {
	c.Emergency.ECSCF = Addresses{netipAddr(ecscfAddr)}
	c.Emergency.Anonymous = true
	c.Emergency.Numbers = map[string]string{"112": "sos", "110": "sos.police"}
}

// besideTheSCSCF has the E-CSCF where the harness has the S-CSCF, whose Record-Route it
// knows.
func besideTheSCSCF(c *Config) { c.Emergency.ECSCF = Addresses{netipAddr(scscfAddr)} }

// callersKept is how many callers the P-CSCF knows.
func (w *world) callersKept() int {
	c := w.p.callers
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.byKey); n != len(c.byToken) || c.some.Load() != (n > 0) || (len(c.byAddr) > 0) != (n > 0) {
		w.t.Errorf("%d callers by key, %d by token, %d addresses, any: %v", n, len(c.byToken), len(c.byAddr), c.some.Load())
	}
	return len(c.byKey)
}

// drain forgets what has come, retransmissions and CANCELs.
func (p *peer) drain() {
	time.Sleep(time.Minute)
	for len(p.box) > 0 {
		<-p.box
	}
}

// sosCall is an emergency call in clear of a phone that is not registered, as far as
// the INVITE at the E-CSCF.
func (p *peer) sosCall(e *peer, callID string, more ...string) *call {
	p.w.t.Helper()
	p.send(gmAddr, p.text("INVITE", sos, callID, more...))
	return &call{p: p, callID: callID, target: "sip:psap@192.0.2.88", invite: e.request("INVITE")}
}

// With IPsec or without, a phone that is not registered makes an emergency call in
// clear, with all that belongs to it in both directions.
func TestAnonymousEmergencyCall(t *testing.T) {
	conformance.Shows(t, "PR-02")
	conformance.Partly(t, "PE-01", "PE-04", "IP-12")
	for name, start := range map[string]func(*testing.T, func(*world), ...func(*Config)){"over the open port": secure, "without IPsec": run} {
		t.Run(name, func(t *testing.T) {
			start(t, func(w *world) {
				e, p := w.scscf, w.peer("stranger", strangerAddr)
				c := p.sosCall(e, "e1", "Route: <sip:192.0.2.1:5060;lr>", "+Route: <sip:elsewhere.example.net;lr>", "+P-Preferred-Identity: <sip:alice@"+domain+">",
					"+P-Asserted-Identity: <sip:alice@"+domain+">", "+P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=x", "+Geolocation: <cid:x>")
				in := c.invite
				check(t, "Request-URI", in.RequestURI(), sos)
				check(t, "Route", values(in.Message, sip.HRoute), "[<sip:"+scscfAddr+";lr>]")
				check(t, "asserted or preferred", in.Has(sip.HPAssertedIdentity) || in.Has(sip.HPPreferredIdentity), false)
				check(t, "where it is", in.Get(sip.HPAccessNetworkInfo), "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=x")
				check(t, "for charging", strings.HasPrefix(in.Get(sip.HPChargingVector), "icid-value="), true)
				if v := in.First(sip.HVia); !strings.Contains(v, " "+mwAddr+";") {
					t.Errorf("Via towards the core: %s", v)
				}
				token := userOf(t, in.First(sip.HRecordRoute))
				ours := []string{fmt.Sprintf("<sip:%s@%s;lr>", token, mwAddr), fmt.Sprintf("<sip:%s@%s;lr>", token, gmAddr)}
				check(t, "Record-Route", values(in.Message, sip.HRecordRoute), ours)

				early := c.ring(183, "psap")
				check(t, "from", early.from, gmAddr)
				within := func(method string) {
					c.send(method)
					m := e.request(method)
					check(t, "routes of the phone's "+method, values(m.Message, sip.HRoute), "["+farRoute[0]+" "+farRoute[1]+"]")
					check(t, "asserted in the phone's "+method, m.Has(sip.HPAssertedIdentity), false)
					e.answer(m, 200)
					check(t, "its answer comes from", p.status(200).from, gmAddr)
				}
				back := func(method string) {
					c.fromFar(method)
					m := p.request(method)
					check(t, "the "+method+" comes from", m.from, gmAddr)
					check(t, "its Via", strings.HasPrefix(m.First(sip.HVia), "SIP/2.0/UDP "+gmAddr+";"), true)
					p.answer(m, 200)
					e.status(200)
				}
				within("PRACK")
				back("UPDATE")
				within("UPDATE")
				c.ring(200, "psap")
				c.send("ACK")
				e.request("ACK")
				back("INFO")
				c.fromFar("ACK")
				p.request("ACK")
				time.Sleep(5 * time.Minute) // the call lasts
				// Only its own, and only of this phone.
				c.far = "other"
				c.send("BYE")
				p.refused(403, "belongs to no dialog")
				c.far = "psap"
				other := w.peer("stranger", "198.51.100.10:5060")
				other.send(gmAddr, p.text("BYE", c.target, "e1", append(c.lines(), "Via: SIP/2.0/UDP 198.51.100.10:5060;branch="+sip.NewBranch())...))
				other.status(403)
				p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m1"))
				p.status(403)
				e.send(mwAddr, e.text("INVITE", "sip:stranger@"+strangerAddr, "back", "Route: <sip:"+token+"@"+mwAddr+";lr>"))
				e.status(404)
				within("BYE")
				within("BYE") // one that crossed
				time.Sleep(4 * time.Minute)
				c.send("INFO")
				p.status(403)
				check(t, "callers and dialogs kept", fmt.Sprint(w.callersKept(), w.dialogsKept()), "0 0")
			}, takesEmergencies, besideTheSCSCF)
		})
	}
}

// A call that the far side ends, that is cancelled, or not taken leaves nothing behind.
func TestAnonymousEmergencyCallEnds(t *testing.T) {
	conformance.Partly(t, "PE-01")
	secure(t, func(w *world) {
		e, p := w.scscf, w.peer("stranger", strangerAddr)
		c := p.sosCall(e, "e1")
		c.ring(200, "psap")
		c.fromFar("BYE")
		p.answer(p.request("BYE"), 200)
		e.status(200)

		text := p.text("INVITE", sos, "e2")
		p.send(gmAddr, text)
		in := e.request("INVITE")
		e.answer(in, 180)
		p.status(180)
		p.send(gmAddr, strings.NewReplacer("INVITE urn", "CANCEL urn", "1 INVITE", "1 CANCEL", "2 INVITE", "2 CANCEL").Replace(text))
		e.answer(e.request("CANCEL"), 200)
		p.status(200)
		e.answer(in, 487)
		p.status(487)

		c = p.sosCall(e, "e3")
		e.answer(c.invite, 486)
		p.status(486)
		time.Sleep(5 * time.Minute)
		check(t, "callers and dialogs kept", fmt.Sprint(w.callersKept(), w.dialogsKept()), "0 0")
	}, takesEmergencies, besideTheSCSCF)
}

// Over TCP too; and when the connection has ended, to the phone's contact.
func TestAnonymousEmergencyCallOverTCP(t *testing.T) {
	secure(t, func(w *world) {
		e, p := w.scscf, w.peer("stranger", strangerAddr)
		p.listen()
		conn := p.dial(40000, gmAddr)
		writeTo(t, conn, strings.Replace(p.text("INVITE", sos, "e1", "Contact: <sip:stranger@"+strangerAddr+";transport=tcp>"), "SIP/2.0/UDP", "SIP/2.0/TCP", 1))
		c := &call{p: p, callID: "e1", target: "sip:psap@192.0.2.88", invite: e.request("INVITE")}
		if ok := c.ring(200, "psap"); ok.conn != conn {
			t.Error("the 200 did not come over the phone's connection")
		}
		_ = conn.Close()
		time.Sleep(time.Second)
		c.fromFar("BYE")
		bye := p.request("BYE")
		if bye.conn == nil || bye.conn == conn {
			t.Errorf("the BYE came from %v, over no new connection", bye.from)
		}
		p.answer(bye, 200)
		e.status(200)
	}, takesEmergencies, besideTheSCSCF)
}

// Who may call, and what the others are told.
func TestEmergencyPolicy(t *testing.T) {
	conformance.Shows(t, "PE-01", "PE-02")
	conformance.Partly(t, "IP-12")
	none := func(*Config) {}
	onlyRegistered := func(c *Config) { takesEmergencies(c); c.Emergency.Anonymous = false }
	numbers := func(c *Config) { c.Emergency.Numbers = map[string]string{"112": "sos"} }
	for _, tt := range []struct {
		name       string
		adjust     func(*Config)
		uri        string
		registered bool
		status     int // 0: it arrives
		says       string
	}{
		{"no E-CSCF, not registered", none, sos, false, 403, "only registered phones"},
		{"no E-CSCF, registered", none, sos, true, 380, "told to call elsewhere"},
		{"no E-CSCF, a number that the phone took for no emergency", numbers, "tel:112;phone-context=" + domain, true, 380, "told to call elsewhere"},
		{"only the registered, not registered", onlyRegistered, sos, false, 403, "only registered phones"},
		{"only the registered, registered", onlyRegistered, sos, true, 0, ""},
		{"everybody, not registered", takesEmergencies, sos + ".ambulance", false, 0, ""},
		{"everybody, not registered, a number", takesEmergencies, "tel:112", false, 0, ""},
		{"in clear no number is dialled but those of emergencies", takesEmergencies, "tel:+4912345", false, 403, "in clear"},
		{"nor any other service", takesEmergencies, "urn:service:counseling", false, 403, "in clear"},
		{"nor what only looks like it", takesEmergencies, "urn:service:sosX", false, 403, "in clear"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secure(t, func(w *world) {
				e := w.peer("ecscf", ecscfAddr)
				if !tt.registered {
					p := w.peer("stranger", strangerAddr)
					p.send(gmAddr, p.text("INVITE", tt.uri, "e1"))
					if tt.status == 0 {
						e.answer(e.request("INVITE"), 486)
						p.status(486)
						return
					}
					m := p.refused(tt.status, tt.says)
					check(t, "content", m.Get(sip.HContentType), "")
					return
				}
				u := w.ue("alice", "192.0.2.50").up()
				token := w.token("alice")
				u.say(u.text("INVITE", tt.uri, "e1"))
				if tt.status == 0 {
					e.answer(e.request("INVITE"), 486)
					u.status(486)
					return
				}
				m := u.refused(tt.status, tt.says)
				check(t, "content", m.Get(sip.HContentType), "application/3gpp-ims+xml")
				check(t, "who says so", m.Get(sip.HPAssertedIdentity), fmt.Sprintf("<"+mwEntry+">", token))
				if b := string(m.Body()); !strings.Contains(b, "<alternative-service><type>emergency</type>") {
					t.Errorf("the body is %s", b)
				}
				w.scscf.nothing(0)
			}, tt.adjust)
		})
	}
}

// The call of a registered phone goes to the E-CSCF over its set, whatever its Route
// and Security-Verify say, with both forms of its identity, and when there is no room
// for other calls.
func TestEmergencyCallOfARegisteredPhone(t *testing.T) {
	conformance.Shows(t, "PR-02", "PE-04")
	conformance.Partly(t, "PE-01")
	secure(t, func(w *world) {
		e := w.peer("ecscf", ecscfAddr)
		u := w.ue("alice", "192.0.2.50").up()
		tel := "<tel:+49" + number("alice") + ">"
		for i, tt := range []struct{ uri, service, preferred, asserted string }{
			{sos, sos, "<sip:alice@" + domain + ">", "[<sip:alice@" + domain + "> " + tel + "]"},
			{"URN:service:sos.fire", "URN:service:sos.fire", tel, "[" + tel + " <sip:alice@" + domain + ">]"},
			{"tel:112;phone-context=" + domain, sos, "", "[<sip:alice@" + domain + "> " + tel + "]"},
			{"sip:1-10@elsewhere.org;user=phone", sos + ".police", "", "[<sip:alice@" + domain + "> " + tel + "]"},
			{"sip:112;phone-context=" + domain + "@" + domain, sos, "", "[<sip:alice@" + domain + "> " + tel + "]"},
		} {
			id := fmt.Sprint("e", i)
			more := []string{"Route: " + route, "Security-Verify: ipsec-3gpp;alg=hmac-md5-96;spi-c=1;spi-s=2;port-c=3;port-s=4"}
			if tt.preferred != "" {
				more = append(more, "P-Preferred-Identity: "+tt.preferred)
			}
			u.say(u.text("INVITE", tt.uri, id, more...))
			in := e.request("INVITE")
			check(t, "Request-URI", in.RequestURI(), tt.service)
			check(t, "Route", values(in.Message, sip.HRoute), "[<sip:"+ecscfAddr+";lr>]")
			check(t, "asserted", values(in.Message, sip.HPAssertedIdentity), tt.asserted)
			text := string(sip.NewResponse(in.Message, 200, "", "psap").AddName("Contact", "<sip:psap@"+ecscfAddr+">").Bytes())
			e.reply(in, text)
			ok := u.status(200)
			routes := values(ok.Message, sip.HRecordRoute)
			for _, method := range []string{"ACK", "BYE"} {
				e.seen = map[string]bool{}
				u.say(u.text(method, "sip:psap@"+ecscfAddr, id, "To: <"+tt.uri+">;tag=psap", "Route: "+routes[1], "+Route: "+routes[0]))
				m := e.request(method)
				if method == "BYE" {
					e.answer(m, 200)
					u.status(200)
				}
			}
		}
		// Called 112 in another network, somebody is a user as any other.
		u.say(u.text("MESSAGE", "sip:112@elsewhere.org", "m1"))
		w.scscf.answer(w.scscf.request("MESSAGE"), 200)
		u.status(200)
		u.say(u.text("INVITE", "sip:112@elsewhere.org", "n1"))
		w.scscf.answer(w.scscf.request("INVITE"), 486)
		u.status(486)
		check(t, "callers kept", w.callersKept(), 0)

		for i := 0; ; i++ {
			if i == w.p.cfg.MaxTransactions {
				t.Fatal("there is room for more calls than max_transactions")
			}
			u.say(u.text("INVITE", "sip:bob@"+domain, fmt.Sprint("f", i)))
			m := u.next()
			if m.Status() == 503 {
				break
			}
			check(t, "at first", m.Status(), 100)
		}
		u.say(u.text("INVITE", sos, "last"))
		e.answer(e.request("INVITE"), 486)
		u.status(486)
	}, takesEmergencies, func(c *Config) { c.MaxTransactions = 64 })
}

// An emergency registration begins in clear as any other, from anyone, also from an
// address whose phone has SAs; its contact is marked, and its call goes to the E-CSCF.
func TestEmergencyRegistration(t *testing.T) {
	conformance.Partly(t, "PE-03", "IP-12", "IP-13")
	secure(t, func(w *world) {
		e := w.peer("ecscf", ecscfAddr)
		u := w.ue("alice", "192.0.2.50")
		contact := "<sip:alice@192.0.2.50:6000;sos>"
		u.open.send(gmAddr, u.register("Contact: "+contact, "Via: SIP/2.0/UDP "+u.open.addr.String()+";branch="+sip.NewBranch()))
		check(t, "Contact", w.challenge().First(sip.HContact), contact)
		u.challenged(u.open)
		u.take()
		u.granted = append([]string{"Contact: " + contact + ";expires=3600"}, u.peer.granted()[1:]...)
		u.answer401("Contact: " + contact)
		b := w.p.bindings.ofPhone(phoneKey{"alice@" + domain, u.addr.Addr()}, time.Now())
		check(t, "bound", b.contact, strings.Trim(contact, "<>"))
		u.say(u.text("INVITE", sos, "e1", "Contact: "+contact))
		in := e.request("INVITE")
		check(t, "asserted", len(values(in.Message, sip.HPAssertedIdentity)), 2)
		e.answer(in, 486)
		u.status(486)
		// Another, from the address of a phone that has SAs.
		u.open.send(gmAddr, u.open.text("REGISTER", "sip:"+domain, "reg-other", "To: <sip:carol@"+domain+">", "Contact: <sip:carol@192.0.2.50:6002;sos>",
			"Security-Client: ipsec-3gpp;alg=hmac-sha-1-96;spi-c=3001;spi-s=3002;port-c=7000;port-s=6002", strings.ReplaceAll(u.auth("", ""), "alice", "carol")))
		w.challenge()
		u.open.status(401)
	}, takesEmergencies)
}

// One E-CSCF after the other; and when none takes the call, the phone is not left
// waiting.
func TestECSCFThatDoesNotServe(t *testing.T) {
	conformance.Partly(t, "PE-02", "PE-04")
	secure(t, func(w *world) {
		first, second := w.peer("ecscf", ecscfAddr), w.peer("ecscf2", secondECSCF)
		u, p := w.ue("alice", "192.0.2.50").up(), w.peer("stranger", strangerAddr)
		for i, silent := range []bool{true, false} {
			id := fmt.Sprint("e", i)
			p.send(gmAddr, p.text("INVITE", sos, id))
			if in := first.request("INVITE"); !silent {
				first.answer(in, 503)
			}
			in := second.request("INVITE")
			check(t, "Route", values(in.Message, sip.HRoute), "[<sip:"+secondECSCF+";lr>]")
			second.answer(in, 486)
			p.status(486)
			first.drain()
		}
		u.say(u.text("INVITE", sos, "e2"))
		first.request("INVITE")
		second.answer(second.request("INVITE"), 503)
		u.refused(380, "No E-CSCF takes the emergency call")
		first.drain()
		p.send(gmAddr, p.text("INVITE", sos, "e3"))
		first.answer(first.request("INVITE"), 503)
		second.request("INVITE")
		p.refused(503, "No E-CSCF takes the emergency call")
	}, takesEmergencies, func(c *Config) { c.Emergency.ECSCF = append(c.Emergency.ECSCF, netipAddr(secondECSCF)) })
}

// What strangers can make us keep is bounded: one of them is not everybody, and calls
// that are over make room.
func TestAnonymousCallersAreBounded(t *testing.T) {
	conformance.Partly(t, "PE-01")
	secure(t, func(w *world) {
		e := w.scscf
		p := w.peer("stranger", strangerAddr)
		var calls []*call
		for i := range maxCallersOfOne {
			calls = append(calls, p.sosCall(e, fmt.Sprint("e", i)))
		}
		p.send(gmAddr, p.text("INVITE", sos, "more"))
		p.refused(503, "from that address")
		// One that has ended makes room at once.
		calls[0].ring(200, "psap")
		calls[0].send("BYE")
		e.answer(e.request("BYE"), 200)
		p.status(200)
		p.sosCall(e, "again")

		q := w.peer("other", "198.51.100.10:5060")
		for i := range w.p.cfg.Emergency.MaxAnonymous - maxCallersOfOne {
			q.sosCall(e, fmt.Sprint("q", i))
		}
		r := w.peer("third", "198.51.100.11:5060")
		r.send(gmAddr, r.text("INVITE", sos, "r1"))
		r.refused(503, "emergency.max_anonymous")
		calls[1].ring(200, "psap")
		calls[1].send("BYE")
		e.answer(e.request("BYE"), 200)
		p.status(200)
		time.Sleep(lookAgain)
		r.sosCall(e, "r2")
		// A call whose end nobody tells does not last for ever.
		time.Sleep(maxEmergencyCall + time.Minute)
		check(t, "callers kept", w.callersKept(), 0)
	}, takesEmergencies, besideTheSCSCF, func(c *Config) { c.Emergency.MaxAnonymous = maxCallersOfOne + 4 })
}

// Nobody knows whether a refused call comes from where its datagram says: the refusal
// goes there once, and nothing is kept for it.
func TestRefusedEmergencyCallOnce(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("stranger", strangerAddr)
		p.send(gmAddr, p.text("INVITE", sos, "e1"))
		p.refused(403, "only registered phones")
		check(t, "open transactions", w.p.core.Stats().Transaction.Open, 0)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		check(t, "further answers", len(p.box), 0)
	})
}
