package pcscf

import (
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestAssertedIdentity(t *testing.T) {
	conformance.Shows(t, "PO-02")
	conformance.Partly(t, "HD-05")
	const alice = "<sip:alice@" + domain + ">"
	tel := "<tel:+49" + number("alice") + ">"
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"none preferred", nil, alice},
		{"the default one", []string{"P-Preferred-Identity: " + alice}, alice},
		{"another one", []string{"P-Preferred-Identity: \"Alice\" " + tel}, tel},
		{"written another way", []string{"P-Preferred-Identity: <SIP:alice@IMS.Example.ORG:5060;user=phone>"}, alice},
		{"the first that is hers", []string{"P-Preferred-Identity: <sip:bob@" + domain + ">, " + tel, "+P-Preferred-Identity: " + alice}, tel},
		{"another's", []string{"P-Preferred-Identity: <sip:bob@" + domain + ">"}, alice},
		{"nobody's", []string{"P-Preferred-Identity: <sip:alice@other.org>"}, alice},
		{"what cannot be read", []string{"P-Preferred-Identity: <<alice"}, alice},
		{"asserted by herself", []string{"P-Asserted-Identity: <sip:bob@" + domain + ">"}, alice},
		{"asserted by herself, folded, twice", []string{"p-asserted-identity:\r\n <sip:bob@" + domain + ">", "+P-Asserted-Identity: <tel:+1>"}, alice},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				p.register()
				p.send(gmAddr, p.text("INVITE", "sip:bob@"+domain, "c1", tt.lines...))
				a := w.scscf.request("INVITE")
				check(t, "P-Asserted-Identity", strings.Join(values(a.Message, sip.HPAssertedIdentity), " "), tt.want)
				if a.Has(sip.HPPreferredIdentity) {
					t.Errorf("P-Preferred-Identity goes on: %q", a.Get(sip.HPPreferredIdentity))
				}
			})
		})
	}
}

// What a phone says that only the network may say. The mark is one that no random
// token holds.
var smuggled = []string{
	"P-Charging-Vector: icid-value=MiNe", "P-Charging-Function-Addresses: ccf=192.0.2.9", "P-Served-User: <sip:bob@x.org>;sescase=orig",
	"P-User-Database: <aaa://MiNe>", "P-Profile-Key: <sip:MiNe!.*!@x.org>", "P-Asserted-Service: urn:urn-7:MiNe", "P-Visited-Network-ID: MiNe",
	"P-Called-Party-ID: <sip:MiNe@x.org>", "P-Associated-URI: <sip:MiNe@x.org>", "Path: <sip:MiNe@x.org;lr>", "Service-Route: <sip:MiNe@x.org;lr>",
	"P-Private-Network-Indication: MiNe", "Feature-Caps: *;+MiNe", "Restoration-Info: MiNe", "Relayed-Charge: MiNe=MiNe", "Attestation-Info: MiNe", "Origination-Id: MiNe",
	"P-DCS-OSPS: MiNe", "P-DCS-Billing-Info: MiNe", "Security-Client: ipsec-3gpp;MiNe", "Security-Verify: ipsec-3gpp;MiNe", "Security-Server: ipsec-3gpp;MiNe",
	"P-Asserted-Identity: <sip:MiNe@x.org>", "P-Early-Media: sendrecv;MiNe", "Resource-Priority: MiNe.0", "History-Info: <sip:MiNe@x.org>;index=1",
	"Diversion: <tel:+1>;reason=MiNe", "P-Charge-Info: <sip:MiNe@x.org>", "Remote-Party-ID: <sip:MiNe@x.org>;party=calling",
}

func TestNothingIsSmuggledIn(t *testing.T) {
	conformance.Shows(t, "PO-03", "PO-17")
	conformance.Partly(t, "PR-10", "PO-13", "HD-06", "HD-08", "HD-11")
	more := append([]string{
		"Require: sec-agree", "Proxy-Require: sec-agree",
		`Authorization: Digest username="a", INTEGRITY-protected=yes, ik="MiNe"`, `Proxy-Authorization: Digest username="a", nonce="n", integrity-protected="yes"`,
		`+Proxy-Authorization: Digest username="MiNe`, "Record-Route: <sip:MiNe@198.51.100.1;lr>",
		"P-Preferred-Service: urn:urn-7:stays", "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;MiNe;network-provided, 3GPP-E-UTRAN-FDD;stays",
	}, smuggled...)
	// Long names in other letters, and compact ones where there are any.
	odd := make([]string, len(more))
	for i, l := range more {
		name, value, _ := strings.Cut(l, ":")
		odd[i] = strings.ToUpper(name) + " :\r\n\t" + strings.TrimSpace(value)
	}
	clean := func(t *testing.T, m arrival) {
		t.Helper()
		if strings.Contains(m.Raw(), "MiNe") || strings.Contains(strings.ToLower(m.Raw()), "integrity-protected") || strings.Contains(strings.ToLower(m.Raw()), "sec-agree") {
			t.Errorf("forwarded:\n%s", m.Raw())
		}
		for _, id := range []sip.ID{sip.HPAccessNetworkInfo, sip.HPPreferredService} {
			if !strings.Contains(m.Get(id), "stays") {
				t.Errorf("%v is gone:\n%s", id, m.Raw())
			}
		}
	}
	for _, tt := range []struct {
		name  string
		lines []string
	}{{"as written usually", more}, {"in capitals and folded", odd}} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				p.register()
				p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m1", tt.lines...))
				a := w.scscf.request("MESSAGE")
				clean(t, a)
				v, err := sip.ParseChargingVector(a.Get(sip.HPChargingVector))
				if err != nil || a.Count(sip.HPChargingVector) != 1 || v.ICID == "" {
					t.Errorf("P-Charging-Vector is %q", values(a.Message, sip.HPChargingVector))
				}

				d := newCall(p, "c1")
				p.send(gmAddr, p.text("INFO", d.target, "c1", append(d.lines(), tt.lines...)...))
				clean(t, w.scscf.request("INFO"))
				p.send(gmAddr, p.text("ACK", d.target, "c1", append(d.lines(), tt.lines...)...))
				clean(t, w.scscf.request("ACK"))
			})
		})
	}
}

// Where one value of P-Access-Network-Info ends, not everybody reads alike.
func TestNoPhoneSpeaksForTheAccessNetwork(t *testing.T) {
	const stays = "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=stays"
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		for _, said := range []string{
			"3GPP-E-UTRAN-FDD;x=<,3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=001010001;network-provided,y>",
			"3GPP-E-UTRAN-FDD;x=<, 3GPP-E-UTRAN-FDD;Network-Provided",
			`3GPP-E-UTRAN-FDD;x="a,3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=001010001;network-provided,b"`,
			`3GPP-E-UTRAN-FDD;x=", 3GPP-E-UTRAN-FDD;NETWORK-provided`,
			"3GPP-E-UTRAN-FDD;network-provided=x", "3GPP-E-UTRAN-FDD;network-provided>", "<3GPP-E-UTRAN-FDD;network-provided",
		} {
			p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, sip.NewCallID(), "P-Access-Network-Info: "+stays, "+P-Access-Network-Info: "+said))
			a := w.scscf.request("MESSAGE")
			check(t, said, values(a.Message, sip.HPAccessNetworkInfo), []string{stays})
			w.scscf.answer(a, 200)
			p.status(200)
		}
	})
}

func TestEarlyMediaIsNotAuthorizedByPhones(t *testing.T) {
	conformance.Partly(t, "PO-13")
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register()
		p.send(gmAddr, p.text("INVITE", "sip:bob@"+domain, "c1", "P-Early-Media: Supported, sendrecv"))
		check(t, "P-Early-Media", values(w.scscf.request("INVITE").Message, sip.HPEarlyMedia), []string{"Supported"})
	})
}

func TestServiceRouteIsEnforced(t *testing.T) {
	conformance.Shows(t, "PO-04")
	tests := []struct {
		name, lines string
		replaced    bool
	}{
		{"as it should be, behind us", "Route: <sip:" + gmAddr + ";lr>, " + route, false},
		{"as it should be, without us", "Route: " + route, false},
		{"on two lines", "Route: <sip:" + gmAddr + ";lr>\r\nRoute: " + route, false},
		{"none", "X: y", true},
		{"past the S-CSCF", "Route: <sip:198.51.100.66;lr>", true},
		{"the S-CSCF as if for the called user", "Route: <sip:" + scscfAddr + ";lr>", true},
		{"in other letters, which mean something else there", "Route: " + strings.Replace(route, "orig", "ORIG", 1), true},
		{"with a parameter more", "Route: " + strings.Replace(route, ";lr", ";lr;orig", 1), true},
		{"with an entry more", "Route: " + route + ", <sip:198.51.100.66;lr>", true},
		{"to the core's side of us, as another phone's", "Route: <sip:" + gmAddr + ";lr>, <sip:TOKEN@" + mwAddr + ";lr>", true},
		{"the same, deeper than we look", "Route: " + strings.Repeat("<sip:"+gmAddr+";lr>, ", 4) + "<sip:TOKEN@" + mwAddr + ";lr>, " + route, true},
		{"as many of ours as are taken off, and one", "Route: " + strings.Repeat("<sip:"+gmAddr+";lr>, ", 5) + route, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p, q := w.peer("alice", "198.51.100.1:5060"), w.peer("bob", "198.51.100.2:5060")
				p.register()
				victim := q.register()
				p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m1", strings.ReplaceAll(tt.lines, "TOKEN", victim)))
				a := w.scscf.request("MESSAGE")
				check(t, "Route", values(a.Message, sip.HRoute), []string{route})
				q.nothing(time.Second)
				n := w.logs.FilterMessageSnippet("replaced").Len()
				check(t, "replaced", n > 0, tt.replaced)
			})
		})
	}
}

// Who is not registered, or sends from elsewhere, is refused; the log and the phone
// know why.
func TestSenderMustBeRegistered(t *testing.T) {
	conformance.Partly(t, "PO-01")
	run(t, func(w *world) {
		h := w.net.Host("198.51.100.1")
		p := w.peerOn(h, "alice", "198.51.100.1:5060")
		q := w.peerOn(h, "mallory", "198.51.100.1:5061")
		p.register()
		for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH", "FOO"} {
			q.send(gmAddr, q.text(method, "sip:bob@"+domain, "x"+method, "From: <sip:alice@"+domain+">;tag=a", "Contact: <sip:alice@198.51.100.1:5060>"))
			q.refused(403, "No phone is registered from 198.51.100.1:5061")
		}
		q.send(gmAddr, q.text("BYE", "sip:bob@"+domain, "y", "To: <sip:bob@"+domain+">;tag=b"))
		q.refused(403, "No phone is registered from 198.51.100.1:5061")
		w.scscf.nothing(time.Second)

		// A keep-alive for ourselves needs nobody.
		q.send(gmAddr, q.text("OPTIONS", "sip:"+gmAddr, "o"))
		q.status(200)
		// Nor do phones register at the core's side.
		q.send(mwAddr, q.text("REGISTER", "sip:"+domain, "r"))
		q.refused(403, "phones register at "+gmAddr)
	})
}

func TestStandaloneRequests(t *testing.T) {
	conformance.Shows(t, "PO-05", "PO-10", "PO-12")
	for method, recorded := range map[string]bool{
		"INVITE": true, "SUBSCRIBE": true, "REFER": true,
		"MESSAGE": false, "OPTIONS": false, "PUBLISH": false, "FOO": false,
	} {
		t.Run(method, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				token := p.register()
				p.send(gmAddr, p.text(method, "sip:bob@"+domain, "c1", "Route: <sip:198.51.100.66;lr>"))
				a := w.scscf.request(method)
				check(t, "P-Asserted-Identity", a.Get(sip.HPAssertedIdentity), "<sip:alice@"+domain+">")
				check(t, "Route", values(a.Message, sip.HRoute), []string{route})
				var want []string
				if recorded {
					want = []string{"<sip:" + token + "@" + mwAddr + ";lr>", "<sip:" + token + "@" + gmAddr + ";lr>"}
				}
				check(t, "Record-Route", strings.Join(values(a.Message, sip.HRecordRoute), " "), strings.Join(want, " "))
				v, err := sip.ParseChargingVector(a.Get(sip.HPChargingVector))
				if typ, _ := sip.IOIType(v.OrigIOI); err != nil || typ != 1 {
					t.Errorf("P-Charging-Vector is %q", a.Get(sip.HPChargingVector))
				}
				w.scscf.answer(a, 486, `P-Charging-Vector: icid-value="x"`, "P-Charging-Function-Addresses: ccf=x", "Reason: Q.850;cause=17")
				m := p.status(486)
				if m.Has(sip.HPChargingVector) || m.Has(sip.HPChargingFunctionAddresses) {
					t.Errorf("the phone sees:\n%s", m.Raw())
				}
				check(t, "Reason", m.Get(sip.HReason), "Q.850;cause=17")
			})
		})
	}
}

func TestPrivacyTowardsThePhone(t *testing.T) {
	conformance.Shows(t, "PO-15")
	tests := []struct {
		privacy string
		shown   bool
	}{
		{"", true}, {"Privacy: none", true}, {"Privacy: header", true},
		{"Privacy: id", false}, {"Privacy: header; ID;critical", false}, {"Privacy: user, id", false},
	}
	for _, tt := range tests {
		t.Run(tt.privacy, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				token := p.register()
				lines := []string{"P-Asserted-Identity: <sip:bob@" + domain + ">"}
				if tt.privacy != "" {
					lines = append(lines, tt.privacy)
				}
				// In the answer to the caller, and in a request to the called one.
				p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m1", lines...))
				a := w.scscf.request("MESSAGE")
				check(t, "towards the core", a.Get(sip.HPAssertedIdentity), "<sip:alice@"+domain+">")
				w.scscf.answer(a, 200, lines...)
				check(t, "in the answer", p.status(200).Has(sip.HPAssertedIdentity), tt.shown)
				w.scscf.send(mwAddr, w.scscf.text("MESSAGE", "sip:alice@198.51.100.1:5060", "m2", append(lines, "Route: <sip:"+token+"@"+mwAddr+";lr>")...))
				check(t, "in the request", p.request("MESSAGE").Has(sip.HPAssertedIdentity), tt.shown)
			})
		})
	}
}

// Phones may ask for priority in the namespaces that the operator allows; whether a
// user may have it, his S-CSCF knows.
func TestPriorityOfPhones(t *testing.T) {
	conformance.Partly(t, "HD-11")
	for _, tt := range []struct {
		allowed []string
		want    []string
	}{
		{nil, nil}, {[]string{"q735"}, nil}, {[]string{"WPS", "dsn"}, []string{"wps.2", "Dsn.flash"}},
	} {
		run(t, func(w *world) {
			p := w.peer("alice", "198.51.100.1:5060")
			p.register()
			p.send(gmAddr, p.text("INVITE", "sip:bob@"+domain, "c1", "Resource-Priority: wps.2, ets.0", "+Resource-Priority: Dsn.flash"))
			check(t, "Resource-Priority", values(w.scscf.request("INVITE").Message, sip.HResourcePriority), tt.want)
		}, func(c *Config) { c.ResourcePriority = tt.allowed })
	}
}

// A phone hears one sip and one tel identity of its peer, whoever says more.
func TestTwoAssertedIdentitiesAtMost(t *testing.T) {
	conformance.Partly(t, "HD-05")
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		token := p.register()
		for said, want := range map[string][]string{
			`"B, B" <sip:b@x.org>, <tel:+1>`:            {`"B, B" <sip:b@x.org>`, "<tel:+1>"},
			"<tel:+1>, <tel:+2>, <sips:b@x.org>":        {"<tel:+1>", "<sips:b@x.org>"},
			"<sip:b@x.org>, <sip:c@x.org>, <sip:d@x.y>": {"<sip:b@x.org>"},
		} {
			w.scscf.send(mwAddr, w.scscf.text("MESSAGE", "sip:alice@198.51.100.1:5060", sip.NewCallID(), "P-Asserted-Identity: "+said, "Route: <sip:"+token+"@"+mwAddr+";lr>"))
			a := p.request("MESSAGE")
			check(t, said, values(a.Message, sip.HPAssertedIdentity), want)
			p.answer(a, 200)
			w.scscf.status(200)
		}
	})
}

// Who has diverted a call is told to the phones at both ends, but for those who do
// not want it.
func TestHistoryTowardsThePhone(t *testing.T) {
	conformance.Shows(t, "HD-09")
	const open, hidden = "<sip:eve@far.test>;index=1", "<sip:mallory@far.test;cause=302?Privacy=history>;index=1.1;mp=1"
	const nobody, nobody1 = "<sip:anonymous@anonymous.invalid>;index=1", "<sip:anonymous@anonymous.invalid;cause=302>;index=1.1;mp=1"
	for privacy, want := range map[string][]string{
		"X: y":             {open, nobody1},
		"Privacy: history": {nobody, nobody1},
	} {
		run(t, func(w *world) {
			p := w.peer("alice", "198.51.100.1:5060")
			token := p.register()
			lines := []string{privacy, "History-Info: " + open + "," + hidden}
			p.send(gmAddr, p.text("INVITE", "sip:bob@"+domain, "c1"))
			a := w.scscf.request("INVITE")
			w.scscf.answer(a, 180, lines...)
			check(t, "in a response", values(p.status(180).Message, sip.HHistoryInfo), want)
			w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@198.51.100.1:5060", "c2", append(lines, "Route: <sip:"+token+"@"+mwAddr+";lr>")...))
			check(t, "in a request", values(p.request("INVITE").Message, sip.HHistoryInfo), want)
		})
	}
}

// The S-CSCF is not there, has lost its state, or has no time.
func TestSCSCFThatDoesNotServe(t *testing.T) {
	conformance.Shows(t, "PO-16")
	conformance.Partly(t, "TR-14", "RS-04")
	const body = `<ims-3gpp version="1"><alternative-service><type>restoration</type><reason>x</reason><action>initial-registration</action></alternative-service></ims-3gpp>`
	anew := func(t *testing.T, m arrival, by string) {
		t.Helper()
		check(t, "Content-Type", m.Get(sip.HContentType), "application/3gpp-ims+xml")
		check(t, "P-Asserted-Identity", m.Get(sip.HPAssertedIdentity), by)
		for _, part := range []string{"<type>restoration</type>", "<action>initial-registration</action>"} {
			if !strings.Contains(m.Body(), part) {
				t.Errorf("the body is %q", m.Body())
			}
		}
	}
	tests := []struct {
		name, method string
		script       func(w *world, p *peer, token string)
	}{
		{"silent to a call", "INVITE", func(w *world, p *peer, token string) {
			start := time.Now()
			w.scscf.request("INVITE")
			anew(t, p.refused(504, "INVITE did not reach the home network"), "<sip:"+token+"@"+mwAddr+";lr>")
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("the phone has waited %v", took)
			}
		}},
		{"silent to a message", "MESSAGE", func(w *world, p *peer, token string) {
			w.scscf.request("MESSAGE")
			anew(t, p.refused(504, "MESSAGE did not reach the home network"), "<sip:"+token+"@"+mwAddr+";lr>")
		}},
		{"not running", "SUBSCRIBE", func(w *world, p *peer, token string) {
			start := time.Now()
			anew(t, p.refused(504, "SUBSCRIBE did not reach the home network"), "<sip:"+token+"@"+mwAddr+";lr>")
			if took := time.Since(start); took > time.Second {
				t.Errorf("the phone has waited %v", took)
			}
		}},
		{"has lost its state", "MESSAGE", func(w *world, p *peer, _ string) {
			a := w.scscf.request("MESSAGE")
			b := sip.NewResponse(a.Message, 504, "", "s").Add(sip.HPAssertedIdentity, route).Body("application/3gpp-ims+xml", body)
			w.scscf.reply(a, string(b.Bytes()))
			anew(t, p.status(504), route)
		}},
		{"has no time", "MESSAGE", func(w *world, p *peer, _ string) {
			w.scscf.answer(w.scscf.request("MESSAGE"), 503, "Retry-After: 9 (soon)")
			check(t, "Retry-After", p.refused(503, "answered 503").Get(sip.HRetryAfter), "9 (soon)")
		}},
		{"has no time and does not say how long", "INVITE", func(w *world, p *peer, _ string) {
			a := w.scscf.request("INVITE")
			w.scscf.answer(a, 503)
			check(t, "Retry-After", p.refused(503, "answered 503").Get(sip.HRetryAfter), "5")
		}},
		{"slow, and serves", "MESSAGE", func(w *world, p *peer, _ string) {
			a := w.scscf.request("MESSAGE")
			w.scscf.answer(a, 100)
			time.Sleep(25 * time.Second)
			w.scscf.answer(a, 202)
			p.status(202)
		}},
		{"never answers what it has taken", "MESSAGE", func(w *world, p *peer, _ string) {
			w.scscf.answer(w.scscf.request("MESSAGE"), 100)
			p.nothing(3 * time.Minute) // the phone gives up by itself (RFC 4320 4.2)
		}},
		{"rings, and nobody answers", "INVITE", func(w *world, p *peer, _ string) {
			a := w.scscf.request("INVITE")
			w.scscf.answer(a, 180)
			p.status(180)
			c := w.scscf.request("CANCEL") // Timer C
			w.scscf.answer(c, 200)
			w.scscf.answer(a, 487)
			m := p.refused(408, "The called side has not answered the call to sip:bob@"+domain)
			if m.Has(sip.HContentType) {
				t.Errorf("a call that is not answered has the phone register anew:\n%s", m.Raw())
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				token := p.register()
				if tt.name == "not running" {
					w.net.SetHook(func(k memnet.Packet) memnet.Verdict {
						if k.To.String() == scscfAddr {
							return memnet.Refuse
						}
						return memnet.Pass
					})
				}
				p.send(gmAddr, p.text(tt.method, "sip:bob@"+domain, "c1"))
				tt.script(w, p, token)
			})
		})
	}
}

// A Service-Route that cannot be resolved is no reason to register anew: that would
// go on for ever.
func TestServiceRouteWithoutAddress(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register("Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: <sip:scscf.nowhere.org;lr>")
		p.send(gmAddr, p.text("INVITE", "sip:bob@"+domain, "c1"))
		m := p.refused(504, "scscf.nowhere.org")
		if m.Has(sip.HContentType) {
			t.Errorf("the phone got:\n%s", m.Raw())
		}
	})
}
