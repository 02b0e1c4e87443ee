package pcscf

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestRegisterGoesHomeWithWhatItNeeds(t *testing.T) {
	conformance.Shows(t, "PR-03", "PR-04", "PR-05", "PR-06", "PR-35")
	conformance.Partly(t, "PR-01", "PR-31", "HD-02", "HD-03", "HD-06")
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r1",
			"To: <sip:alice@"+domain+">", p.authorization(),
			"Expires: 600000",
			"Require: sec-agree, pref", "+Proxy-Require: sec-agree", "+Require: SEC-AGREE",
			"Supported: path, gruu",
			"Security-Client: ipsec-3gpp;alg=hmac-md5-96;spi-c=1;spi-s=2;port-c=3;port-s=4",
			"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=00101\r\n 0001, 3GPP-E-UTRAN-FDD;\r\n network-provided",
			"P-Charging-Vector: icid-value=mine;orig-ioi=mine",
			"P-Visited-Network-ID: mine", "p-visited-network-id: mine too",
			"Path: <sip:mine@198.51.100.1;lr>",
			"P-Served-User: <sip:bob@"+domain+">",
			"Route: <sip:198.51.100.66;lr>",
			"X-Unknown: stays  as it is"))
		a := w.icscf.request("REGISTER")
		check(t, "Request-URI", a.RequestURI(), "sip:"+domain)
		check(t, "Path", a.Count(sip.HPath), 1)
		user := userOf(t, a.Get(sip.HPath))
		check(t, "Path", a.Get(sip.HPath), "<sip:"+user+"@"+mwAddr+";lr>")
		check(t, "Require", a.Get(sip.HRequire), "pref")
		if !a.HasOption(sip.HRequire, "path") || a.HasOption(sip.HRequire, "sec-agree") {
			t.Errorf("Require is %q", values(a.Message, sip.HRequire))
		}
		for _, id := range []sip.ID{sip.HProxyRequire, sip.HSecurityClient, sip.HPServedUser, sip.HRoute, sip.HRecordRoute} {
			if a.Has(id) {
				t.Errorf("%v is still there: %q", id, a.Get(id))
			}
		}
		check(t, "P-Access-Network-Info", values(a.Message, sip.HPAccessNetworkInfo), []string{"3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=00101 0001"})
		check(t, "P-Visited-Network-ID", values(a.Message, sip.HPVisitedNetworkID), []string{`"` + domain + `"`})
		check(t, "P-Charging-Vector lines", a.Count(sip.HPChargingVector), 1)
		v, err := sip.ParseChargingVector(a.Get(sip.HPChargingVector))
		if typ, operator := sip.IOIType(v.OrigIOI); err != nil || typ != 1 || operator != domain || v.TermIOI != "" || len(v.ICID) < 16 {
			t.Errorf("P-Charging-Vector is %q", a.Get(sip.HPChargingVector))
		}
		// Expires, Contact and what nobody knows stay.
		check(t, "Expires", a.Get(sip.HExpires), "600000")
		check(t, "Contact", a.Get(sip.HContact), "<sip:alice@198.51.100.1:5060>")
		if !strings.Contains(a.Raw(), "X-Unknown: stays  as it is\r\n") {
			t.Error("an unknown header has been touched")
		}

		w.icscf.answer(a, 200, append(p.granted(), "Path: "+a.Get(sip.HPath), `P-Charging-Vector: icid-value="x"`)...)
		m := p.status(200)
		check(t, "Path of the 200", m.Get(sip.HPath), a.Get(sip.HPath))
		check(t, "Service-Route of the 200", m.Get(sip.HServiceRoute), route)

		// Another REGISTER has another icid, and for the same contact the same Path.
		p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r1", "To: <sip:alice@"+domain+">", p.authorization()))
		b := w.icscf.request("REGISTER")
		check(t, "Path of the re-registration", b.Get(sip.HPath), a.Get(sip.HPath))
		if v2, err := sip.ParseChargingVector(b.Get(sip.HPChargingVector)); err != nil || v2.ICID == v.ICID {
			t.Errorf("icid %q again", v2.ICID)
		}
	})
}

func TestRegisterAuthorization(t *testing.T) {
	conformance.Shows(t, "PR-07", "PR-08")
	const digest = `Digest username="alice@ims.example.org", realm="ims.example.org", nonce="n", uri="sip:ims.example.org", response="r"`
	tests := []struct {
		name  string
		lines []string
		want  string // "" for none
	}{
		{"none", nil, ""},
		{"without a claim", []string{digest}, "no"},
		{"claims yes", []string{digest + `, integrity-protected="yes"`}, "no"},
		{"without quotes, in capitals", []string{digest + `,INTEGRITY-PROTECTED = YES`}, "no"},
		{"folded", []string{digest + ",\r\n\t integrity-protected=\r\n \"ip-assoc-yes\""}, "no"},
		{"first of all parameters, with keys", []string{`Digest integrity-protected=yes,ik="00",ck="00",` + digest[7:]}, "no"},
		{"on a second line", []string{digest, digest + `, integrity-protected="yes"`}, "no"},
		{"behind another scheme", []string{`Basic integrity-protected="yes"`, digest + `, integrity-protected="yes"`}, "no"},
		{"of another scheme alone", []string{`Bearer integrity-protected="yes"`}, ""},
		{"without a username", []string{`Digest realm="x", integrity-protected="yes"`}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				lines := []string{"To: <sip:alice@" + domain + ">"}
				for _, l := range tt.lines {
					lines = append(lines, "+Authorization: "+l)
				}
				p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r1", lines...))
				a := w.icscf.request("REGISTER")
				if tt.want == "" {
					if a.Has(sip.HAuthorization) {
						t.Errorf("forwarded: %q", a.Get(sip.HAuthorization))
					}
					return
				}
				c, err := sip.ParseCredentials(a.Get(sip.HAuthorization))
				if err != nil || a.Count(sip.HAuthorization) != 1 || c.IK != "" || c.CK != "" {
					t.Fatalf("forwarded: %q, %v", values(a.Message, sip.HAuthorization), err)
				}
				check(t, "integrity-protected", c.IntegrityProtected, tt.want)
				check(t, "the rest", c.Username+c.Nonce+c.Response+c.URI, "alice@ims.example.orgnrsip:ims.example.org")
			})
		})
	}
}

func TestRegistersThatAreRefused(t *testing.T) {
	const to = "To: <sip:alice@" + domain + ">"
	tests := []struct {
		name   string
		lines  []string
		status int
		words  string
	}{
		{"integrity-protected twice", []string{to, `Authorization: Digest username="a@b", integrity-protected="no", integrity-protected="yes"`}, 400, "The Authorization header cannot be read"},
		{"a second Authorization that cannot be read", []string{to, `Authorization: Digest username="a@b"`, `+Authorization: Digest username="a`}, 400, "The Authorization header cannot be read"},
		{"* and another contact", []string{to, "Contact: *, <sip:a@198.51.100.1>", "Expires: 0"}, 400, "stands alone"},
		{"* without Expires", []string{to, "Contact: *"}, 400, "stands alone"},
		{"* that stays", []string{to, "Contact: *", "Expires: 10"}, 400, "stands alone"},
		{"no private identity to be had", []string{"To: <tel:+4912345>"}, 403, "names no private identity"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r1", tt.lines...))
				p.refused(tt.status, tt.words)
				w.icscf.nothing(time.Second)
			})
		})
	}
}

func TestKeysNeverReachThePhone(t *testing.T) {
	conformance.Shows(t, "PR-14")
	const challenge = `Digest realm="ims.example.org", nonce="bm9uY2U=", algorithm=AKAv1-MD5, qop="auth,auth-int"`
	const key = "00112233445566778899aabbccddeeff"
	tests := []struct {
		name   string
		status int
		lines  []string
		want   int // challenges that are left
	}{
		{"as usual", 401, []string{"WWW-Authenticate: " + challenge + `, ik="` + key + `", ck="` + key + `"`}, 1},
		{"in capitals, without quotes", 401, []string{"www-authenticate: " + challenge + `,IK=` + key + `,CK = ` + key}, 1},
		{"the first of two without keys", 401, []string{"WWW-Authenticate: " + challenge, "WWW-Authenticate: " + challenge + `, ck="` + key + `"`}, 2},
		{"twice, which nobody may send", 401, []string{"WWW-Authenticate: " + challenge + `, ik="", ik="` + key + `"`}, 0},
		{"two challenges in a line", 401, []string{"WWW-Authenticate: " + challenge + `, Digest realm="x", ik="` + key + `"`}, 0},
		{"with another status", 403, []string{"WWW-Authenticate: " + challenge + `, ik="` + key + `"`}, 1},
		{"of a proxy", 407, []string{"Proxy-Authenticate: " + challenge + `, ik="` + key + `"`}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r1", "To: <sip:alice@"+domain+">", p.authorization()))
				w.icscf.answer(w.icscf.request("REGISTER"), tt.status, tt.lines...)
				m := p.status(tt.status)
				if strings.Contains(m.Raw(), key) {
					t.Errorf("the phone got:\n%s", m.Raw())
				}
				n := 0
				for _, id := range []sip.ID{sip.HWWWAuthenticate, sip.HProxyAuthenticate} {
					for v := range m.Lines(id) {
						n++
						if c, err := sip.ParseChallenge(v); err != nil || c.Nonce != "bm9uY2U=" || c.Algorithm != "AKAv1-MD5" {
							t.Errorf("the challenge has become %q", v)
						}
					}
				}
				check(t, "challenges", n, tt.want)
			})
		})
	}
}

func TestResponsesToRegisterLoseWhatStaysInTheNetwork(t *testing.T) {
	conformance.Shows(t, "PR-26")
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register(append(p.granted(), `P-Charging-Vector: icid-value="x";orig-ioi="a";term-ioi="b"`,
			"P-Charging-Function-Addresses: ccf=192.0.2.3", "P-User-Database: <aaa://hss>", "P-Profile-Key: <sip:x!.*!@y>")...)
		for raw := range p.seen {
			for _, name := range []string{"P-Charging", "P-User-Database", "P-Profile-Key"} {
				if strings.Contains(raw, name) {
					t.Errorf("the phone sees %s:\n%s", name, raw)
				}
			}
		}
		check(t, "term-ioi", w.p.bindings.of("alice@" + domain)[0].sets[0].termIOI, "b")
	})
}

// What the 200 says decides, and ends: the phone is registered as long as that.
func TestBindingFollowsThe200(t *testing.T) {
	conformance.Shows(t, "PR-24", "PR-25")
	conformance.Partly(t, "PR-27", "HD-04", "PD-05")
	tests := []struct {
		name    string
		granted []string
		route   string // of requests
		as      string // the default identity
		for_    time.Duration
	}{
		{"expires of the contact", []string{"Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Expires: 7200", "Service-Route: " + route, "P-Associated-URI: <sip:a@x.org>"}, route, "<sip:a@x.org>", time.Minute},
		{"Expires of the response", []string{"Contact: <sip:alice@198.51.100.1:5060>", "Expires: 90", "Service-Route: " + route, "P-Associated-URI: <sip:a@x.org>"}, route, "<sip:a@x.org>", 90 * time.Second},
		{"neither", []string{"Contact: <sip:alice@198.51.100.1:5060>;expires=soon", "Service-Route: " + route, "P-Associated-URI: <sip:a@x.org>"}, route, "<sip:a@x.org>", time.Hour},
		{"among other contacts", []string{"Contact: <sip:x@y.org>;expires=7200", `Contact: "Me" <SIP:alice@198.51.100.1:5060;x=y>;expires=60;q=1`, "Service-Route: " + route, "P-Associated-URI: <sip:a@x.org>"}, route, "<sip:a@x.org>", time.Minute},
		{"without identities", []string{"Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: " + route}, route, "<sip:alice@" + domain + ">", time.Minute},
		{"a tel identity first", []string{"Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: " + route, "P-Associated-URI: <tel:+4912345>, <sip:a@x.org>"}, route, "<sip:a@x.org>", time.Minute},
		{"tel identities alone", []string{"Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: " + route, "P-Associated-URI: <tel:+4912345>"}, route, "<tel:+4912345>", time.Minute},
		{"an identity that cannot be read", []string{"Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: " + route, "P-Associated-URI: <nobody>, <sip:a@x.org>"}, route, "<sip:a@x.org>", time.Minute},
		{"a Service-Route of two, over two lines", []string{"Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: <sip:" + scscfAddr + ";lr>", "Service-Route: <sip:b@b.org;lr>, <sip:c.org;lr;x>"},
			"<sip:" + scscfAddr + ";lr> <sip:b@b.org;lr> <sip:c.org;lr;x>", "<sip:alice@" + domain + ">", time.Minute},
		{"no Service-Route", []string{"Contact: <sip:alice@198.51.100.1:5060>;expires=60"}, "<sip:" + icscfAddr + ";lr;orig>", "<sip:alice@" + domain + ">", time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				p.register(tt.granted...)
				start := time.Now()
				p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m1"))
				hop := w.scscf
				if strings.Contains(tt.route, icscfAddr) {
					hop = w.icscf
				}
				m := hop.request("MESSAGE")
				hop.answer(m, 202)
				p.status(202)
				check(t, "Route", strings.Trim(fmt.Sprint(values(m.Message, sip.HRoute)), "[]"), tt.route)
				check(t, "P-Asserted-Identity", m.Get(sip.HPAssertedIdentity), tt.as)

				time.Sleep(tt.for_ - time.Since(start) - time.Second)
				p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m2"))
				hop.answer(hop.request("MESSAGE"), 202)
				p.status(202)
				time.Sleep(2 * time.Second)
				p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m3"))
				p.refused(403, "No phone is registered from 198.51.100.1:5060")

				// A later 200 replaces what the one before said.
				p.register("Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: <sip:new@"+scscfAddr+";lr>", "P-Associated-URI: <sip:new@x.org>")
				p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m4"))
				m = w.scscf.request("MESSAGE")
				check(t, "the new Route", values(m.Message, sip.HRoute), []string{"<sip:new@" + scscfAddr + ";lr>"})
			})
		})
	}
}

func TestBindingsAreForgotten(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		p.register("Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: "+route)
		check(t, "bindings", w.p.bindings.len(), 1)
		time.Sleep(3 * time.Minute)
		b := w.p.bindings
		b.mu.Lock()
		defer b.mu.Unlock()
		check(t, "bindings, sources, contacts, users", fmt.Sprint(len(b.byToken), len(b.bySource), len(b.byAt), len(b.byIMPI)), "0 0 0 0")
	})
}

func TestContacts(t *testing.T) {
	conformance.Shows(t, "PR-36")
	conformance.Partly(t, "PR-37")
	const here = "<sip:alice@198.51.100.1:5060>"
	tests := []struct {
		name     string
		contacts string
		granted  []string
		bound    string
	}{
		{"a name", "<sip:alice@phone.example.org>", []string{"Contact: <sip:alice@phone.example.org>;expires=60"}, "sip:alice@phone.example.org"},
		{"a private address, behind NAT", "<sip:alice@10.0.0.1:5060>", []string{"Contact: <sip:alice@10.0.0.1:5060>;expires=60"}, "sip:alice@10.0.0.1:5060"},
		{"several: the one where it came from", "<sip:a@10.0.0.1>, <sip:b@198.51.100.1:7000>, " + here + ", <sip:c@198.51.100.1>;expires=0",
			[]string{"Contact: <sip:a@10.0.0.1>;expires=60, <sip:b@198.51.100.1:7000>;expires=60, " + here + ";expires=60"}, "sip:alice@198.51.100.1:5060"},
		{"several: the one that stays", "<sip:a@10.0.0.1>;expires=0, <sip:b@10.0.0.1>", []string{"Contact: <sip:b@10.0.0.1>;expires=60"}, "sip:b@10.0.0.1"},
		{"the 200 has another", here, []string{"Contact: <sip:alice@198.51.100.2:5060>;expires=60"}, ""},
		{"the 200 has none", here, []string{"Service-Route: " + route}, ""},
		{"the 200 removes it", here, []string{"Contact: " + here + ";expires=0"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r1", "To: <sip:alice@"+domain+">", p.authorization(), "Contact: "+tt.contacts))
				a := w.icscf.request("REGISTER")
				check(t, "Contact as forwarded", a.Get(sip.HContact), tt.contacts)
				w.icscf.answer(a, 200, append(tt.granted, "Service-Route: "+route)...)
				p.status(200)
				if tt.bound == "" {
					check(t, "bindings", w.p.bindings.len(), 0)
					w.explained("without the contact")
					return
				}
				b := w.p.bindings.of("alice@" + domain)
				if len(b) != 1 || b[0].contact != tt.bound {
					t.Fatalf("bound: %+v", b)
				}
				// Wherever the contact points: the phone is reached where it is.
				w.scscf.send(mwAddr, w.scscf.text("MESSAGE", tt.bound, "m1", "Route: <sip:"+b[0].token+"@"+mwAddr+";lr>"))
				check(t, "Request-URI", p.request("MESSAGE").RequestURI(), tt.bound)
			})
		})
	}
}

func TestDeregistration(t *testing.T) {
	conformance.Partly(t, "PR-34")
	for _, tt := range []struct{ name, contact string }{
		{"the contact", "Contact: <sip:alice@198.51.100.1:5060>"},
		{"all contacts", "Contact: *"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				p := w.peer("alice", "198.51.100.1:5060")
				token := p.register()
				p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r2", "To: <sip:alice@"+domain+">", p.authorization(), tt.contact, "Expires: 0"))
				w.icscf.answer(w.icscf.request("REGISTER"), 200)
				p.status(200)
				p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m1"))
				p.refused(403, "No phone is registered from")

				// The NOTIFY that tells of it still finds the phone, then nothing does.
				notify := []string{"Route: <sip:" + token + "@" + mwAddr + ";lr>", "To: <sip:alice@" + domain + ">;tag=t", "Event: reg", "Subscription-State: terminated"}
				w.scscf.send(mwAddr, w.scscf.text("NOTIFY", "sip:alice@198.51.100.1:5060", "sub", notify...))
				p.answer(p.request("NOTIFY"), 200)
				w.scscf.status(200)
				time.Sleep(2 * grace)
				w.scscf.send(mwAddr, w.scscf.text("NOTIFY", "sip:alice@198.51.100.1:5060", "sub", notify...))
				w.scscf.refused(404, "not registered through this P-CSCF")
			})
		})
	}
}

// A phone registers a second implicit set with the same contact.
func TestSecondImplicitSet(t *testing.T) {
	conformance.Partly(t, "PR-30")
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		token := p.register()
		other := func(expires int, granted ...string) string {
			p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r2", "To: <sip:work@"+domain+">", p.authorization(), fmt.Sprintf("Expires: %d", expires)))
			return p.registered(granted...)
		}
		sends := func(callID, preferred, as, along string) {
			t.Helper()
			p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, callID, "P-Preferred-Identity: "+preferred))
			m := w.scscf.request("MESSAGE")
			check(t, callID+": P-Asserted-Identity", m.Get(sip.HPAssertedIdentity), as)
			check(t, callID+": Route", m.Get(sip.HRoute), along)
			w.scscf.answer(m, 202)
			p.status(202)
		}
		const contact, workRoute = "Contact: <sip:alice@198.51.100.1:5060>;expires=", "<sip:work@" + scscfAddr + ";lr>"
		second := other(7200, contact+"7200", "Service-Route: "+workRoute, "P-Associated-URI: <sip:work@"+domain+">, <sip:boss@"+domain+">")
		check(t, "Path", second, token)
		sends("m1", "<sip:alice@"+domain+">", "<sip:alice@"+domain+">", route)
		sends("m2", "<sip:boss@"+domain+">", "<sip:boss@"+domain+">", workRoute)
		sends("m3", "<sip:mallory@"+domain+">", "<sip:alice@"+domain+">", route)

		// The first expires; the second one, registered for longer, stays.
		time.Sleep(time.Hour)
		sends("m4", "<sip:alice@"+domain+">", "<sip:work@"+domain+">", workRoute)
		p.register()
		other(0, "Service-Route: "+workRoute)
		sends("m5", "<sip:work@"+domain+">", "<sip:alice@"+domain+">", route)
	})
}

// The identity that is registered may be good for nothing else: a barred one, which
// P-Associated-URI leaves out.
func TestBarredIdentityRegistersAndLeaves(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		to := "To: <sip:001010000000001@" + domain + ">"
		p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r1", to, p.authorization()))
		token := p.registered()
		p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m1", "P-Preferred-Identity: <sip:001010000000001@"+domain+">"))
		a := w.scscf.request("MESSAGE")
		check(t, "P-Asserted-Identity", a.Get(sip.HPAssertedIdentity), "<sip:alice@"+domain+">")
		w.scscf.answer(a, 202)
		p.status(202)

		// The realm's letter case makes no other user: it is the same contact.
		p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r1", to, strings.Replace(p.authorization(), "alice@"+domain, "alice@IMS.Example.ORG", 1)))
		check(t, "Path", p.registered(), token)

		p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r1", to, p.authorization(), "Expires: 0"))
		w.icscf.answer(w.icscf.request("REGISTER"), 200)
		p.status(200)
		p.send(gmAddr, p.text("MESSAGE", "sip:bob@"+domain, "m2"))
		p.refused(403, "No phone is registered from")
	})
}

// An address that has become another phone's does not get the calls of the one
// that had it before.
func TestAddressOfAnotherPhone(t *testing.T) {
	run(t, func(w *world) {
		h := w.net.Host("198.51.100.1")
		p := w.peerOn(h, "alice", "198.51.100.1:5060")
		old := p.register()
		q := w.peerOn(h, "bob", "198.51.100.1:5062")
		q.register() // beside her
		w.scscf.send(mwAddr, w.scscf.text("MESSAGE", "sip:alice@198.51.100.1:5060", "m1", "Route: <sip:"+old+"@"+mwAddr+";lr>"))
		p.answer(p.request("MESSAGE"), 200)
		w.scscf.status(200)

		_ = p.pc.Close()
		r := w.peerOn(h, "carol", "198.51.100.1:5060")
		r.register()
		w.scscf.send(mwAddr, w.scscf.text("MESSAGE", "sip:alice@198.51.100.1:5060", "m2", "Route: <sip:"+old+"@"+mwAddr+";lr>"))
		w.scscf.refused(404, "not registered through this P-CSCF")
		r.nothing(time.Second)
	})
}

func TestHomeNetworkThatDoesNotServe(t *testing.T) {
	conformance.Partly(t, "PR-32", "PR-33", "TR-14")
	const second = "the second"
	tests := []struct {
		name          string
		first, second int // what the I-CSCFs answer; 0: nothing
		both          bool
		status        int
		words         string
	}{
		{"the only one is silent", 0, 0, false, 504, "did not reach the home network"},
		{"the only one has no time", 503, 0, false, 503, "answered 503"},
		{"the first is silent, " + second + " serves", 0, 200, true, 200, ""},
		{"the first has no time, " + second + " serves", 503, 200, true, 200, ""},
		{"none has time", 503, 503, true, 503, "answered 503"},
		{"the last is silent", 503, 0, true, 504, "did not reach the home network"},
		{"a refusal is final", 403, 200, true, 403, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				other := w.peer("icscf2", otherAddr)
				p := w.peer("alice", "198.51.100.1:5060")
				for range 2 { // a re-registration goes the same way
					p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "r1", "To: <sip:alice@"+domain+">", p.authorization()))
					start := time.Now()
					if a := w.icscf.request("REGISTER"); tt.first != 0 {
						w.icscf.answer(a, tt.first, append(p.granted(), "Retry-After: 17")...)
					}
					if tt.both && tt.first != 403 {
						if a := other.request("REGISTER"); tt.second != 0 {
							other.answer(a, tt.second, append(p.granted(), "Retry-After: 17")...)
						}
					}
					m := p.status(tt.status)
					if tt.words != "" && !strings.Contains(m.Get(sip.HWarning), tt.words) {
						t.Errorf("the phone is told %q", m.Get(sip.HWarning))
					}
					if tt.status == 503 {
						check(t, "Retry-After", m.Get(sip.HRetryAfter), "17")
					}
					if took := time.Since(start); !tt.both && took > 5*time.Second {
						t.Errorf("the phone has waited %v", took)
					}
					w.icscf.seen, other.seen = map[string]bool{}, map[string]bool{}
				}
			}, func(c *Config) {
				if tt.both {
					c.ICSCF = append(c.ICSCF, netipAddr(otherAddr))
				}
			})
		})
	}
}

func TestNoRoomForAnotherPhone(t *testing.T) {
	run(t, func(w *world) {
		p, q := w.peer("alice", "198.51.100.1:5060"), w.peer("bob", "198.51.100.2:5060")
		p.register()
		q.send(gmAddr, q.text("REGISTER", "sip:"+domain, "r2", "To: <sip:bob@"+domain+">", q.authorization()))
		m := q.refused(503, "max_bindings")
		if !m.Has(sip.HRetryAfter) {
			t.Error("no Retry-After")
		}
		p.register() // who is in may stay
	}, func(c *Config) { c.MaxBindings = 1 })
}

// The last place is that of the REGISTER which came first, until that has failed; and who
// finds his own taken when the 200 comes is not told that he is registered.
func TestTheLastPlaceIsTakenOnce(t *testing.T) {
	run(t, func(w *world) {
		p, q := w.peer("alice", "198.51.100.1:5060"), w.peer("bob", "198.51.100.2:5060")
		ask := func(p *peer) {
			p.send(gmAddr, p.text("REGISTER", "sip:"+domain, sip.NewTag(), "To: <sip:"+p.name+"@"+domain+">", p.authorization()))
		}
		for range 2 {
			ask(p)
			a := w.icscf.request("REGISTER")
			ask(q)
			q.refused(503, "max_bindings")
			w.icscf.answer(a, 403)
			p.status(403)
		}
		ask(p)
		w.icscf.answer(w.icscf.request("REGISTER"), 401)
		p.status(401)
		ask(q)
		b := w.icscf.request("REGISTER")
		ask(p)
		p.refused(503, "max_bindings")
		w.icscf.answer(b, 200, q.granted()...)
		check(t, "granted", q.status(200).Status(), 200)
		check(t, "bound", w.p.bindings.of("bob@"+domain) != nil, true)
	}, func(c *Config) { c.MaxBindings = 1 })
	run(t, func(w *world) {
		p, q := w.peer("alice", "198.51.100.1:5060"), w.peer("bob", "198.51.100.2:5060")
		p.register("Contact: <sip:alice@198.51.100.1:5060>;expires=60", "Service-Route: "+route)
		time.Sleep(60*time.Second + grace - time.Second)
		p.send(gmAddr, p.text("REGISTER", "sip:"+domain, "again", "To: <sip:alice@"+domain+">", p.authorization()))
		a := w.icscf.request("REGISTER")
		time.Sleep(2 * time.Second)
		w.p.bindings.sweep(time.Now())
		q.register()
		w.icscf.answer(a, 200, p.granted()...)
		m := p.refused(503, "max_bindings")
		if !m.Has(sip.HRetryAfter) {
			t.Error("no Retry-After")
		}
		check(t, "bound", w.p.bindings.of("bob@"+domain) != nil, true)
	}, func(c *Config) { c.MaxBindings = 1 })
}
