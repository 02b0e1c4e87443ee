package pcscf

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// classOf classifies a message as the P-CSCF does that came over a flow.
func (w *world) classOf(f sip.Flow, text string) admission.Class {
	w.t.Helper()
	m, err := sip.Parse(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.p.classify(f, m)
}

// gmFlow is that of a datagram from a phone to the open port.
func gmFlow(from string) sip.Flow {
	return sip.Flow{Role: sip.RoleGm, Local: netipAddr(gmAddr), Remote: netipAddr(from)}
}

// TestClasses: what a phone dials in an emergency is never refused for load, what has
// come a long way late.
func TestClasses(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "192.0.2.50:5060")
		core := sip.Flow{Role: sip.RoleCore, Local: netipAddr(mwAddr), Remote: netipAddr(scscfAddr)}
		for _, tt := range []struct {
			name, method, uri string
			from              sip.Flow
			want              admission.Class
		}{
			{"a call", "INVITE", "sip:bob@" + domain, gmFlow(strangerAddr), admission.New},
			{"a call for the phone", "INVITE", "sip:bob@192.0.2.1", core, admission.Begun},
			{"emergency", "INVITE", sos, gmFlow(strangerAddr), admission.Vital},
			{"its number", "INVITE", "tel:112;phone-context=" + domain, gmFlow(strangerAddr), admission.Vital},
			{"its number at home", "INVITE", "sip:112@" + domain + ";user=phone", gmFlow(strangerAddr), admission.Vital},
			{"a message to that number", "MESSAGE", "tel:112;phone-context=" + domain, gmFlow(strangerAddr), admission.New},
			{"a message to the service", "MESSAGE", sos, gmFlow(strangerAddr), admission.New},
			{"a number that begins so", "INVITE", "tel:1123;phone-context=" + domain, gmFlow(strangerAddr), admission.New},
			{"a service that begins so", "INVITE", "urn:service:sosumi", gmFlow(strangerAddr), admission.New},
		} {
			if got := w.classOf(tt.from, p.text(tt.method, tt.uri, "c1")); got != tt.want {
				t.Errorf("%s is %v, want %v", tt.name, got, tt.want)
			}
		}
	}, takesEmergencies)
}

// What is counted while it is under way is what the core answers.
func TestUnderWay(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "192.0.2.50:5060")
		p.register()
		known := gmFlow("192.0.2.50:5060")
		core := sip.Flow{Role: sip.RoleCore, Local: netipAddr(mwAddr), Remote: netipAddr(scscfAddr)}
		for _, tt := range []struct {
			name, method, uri string
			from              sip.Flow
			lines             []string
			want              admission.Lane
		}{
			{"a registration", "REGISTER", "sip:" + domain, gmFlow(strangerAddr), nil, admission.Registers},
			{"a call", "INVITE", "sip:bob@" + domain, known, nil, admission.Calls},
			{"a call of who is not registered", "INVITE", "sip:bob@" + domain, gmFlow(strangerAddr), nil, admission.NoLane},
			{"a call within a dialog", "INVITE", "sip:bob@" + domain, known, []string{"To: <sip:bob@" + domain + ">;tag=x"}, admission.NoLane},
			{"a call for the phone", "INVITE", "sip:bob@192.0.2.1", core, nil, admission.NoLane},
			{"a message", "MESSAGE", "sip:bob@" + domain, known, nil, admission.NoLane},
			{"an emergency call", "INVITE", sos, known, nil, admission.NoLane},
			{"one to a number", "INVITE", "tel:112;phone-context=" + domain, known, nil, admission.NoLane},
		} {
			m, err := sip.Parse(p.text(tt.method, tt.uri, "c1", tt.lines...))
			if err != nil {
				t.Fatal(err)
			}
			if got := w.p.underWay(tt.from, m); got != tt.want {
				t.Errorf("%s is in the lane %q, want %q", tt.name, got, tt.want)
			}
		}
	}, takesEmergencies)
}

// What a request says of itself counts with those who are known; from others it would be
// a way past the overload control.
func TestClassesOfStrangers(t *testing.T) {
	within := "To: <sip:bob@" + domain + ">;tag=x"
	nonce := `Authorization: Digest username="alice@x", realm="x", nonce="x", uri="sip:x", response="x"`
	type row struct {
		name string
		flow sip.Flow
		text string
		want admission.Class
	}
	want := func(w *world, rows ...row) {
		for _, r := range rows {
			if got := w.classOf(r.flow, r.text); got != r.want {
				w.t.Errorf("%s is %v, want %v", r.name, got, r.want)
			}
		}
	}
	t.Run("in clear", func(t *testing.T) {
		run(t, func(w *world) {
			p, e := w.peer("alice", "192.0.2.50:5060"), w.scscf
			known, stranger := gmFlow("192.0.2.50:5060"), gmFlow(strangerAddr)
			p.register()
			want(w,
				row{"a phone's BYE", known, p.text("BYE", "sip:bob@x", "c1", within), admission.Vital},
				row{"another's BYE", stranger, p.text("BYE", "sip:bob@x", "c1", within), admission.New},
				row{"another's emergency in a dialog", stranger, p.text("INVITE", sos, "c1", within), admission.New},
				row{"the answer to a challenge", stranger, p.text("REGISTER", "sip:x", "r1", nonce), admission.Begun},
				row{"a BYE from the core", sip.Flow{Role: sip.RoleCore}, p.text("BYE", "sip:bob@x", "c1", within), admission.Vital},
			)
			s := w.peer("stranger", strangerAddr)
			c := s.sosCall(e, "e1")
			c.ring(200, "psap")
			want(w, row{"in his emergency call", stranger, s.text("BYE", "sip:bob@x", "e1", c.lines()...), admission.Vital},
				row{"in another", stranger, s.text("BYE", "sip:bob@x", "e2", c.lines()...), admission.New})
		}, takesEmergencies, besideTheSCSCF)
	})
	t.Run("with IPsec", func(t *testing.T) {
		secure(t, func(w *world) {
			u := w.ue("alice", "192.0.2.50")
			u.begin()
			a := w.p.sec.byID[w.ipsec.installed()[0].ID]
			over := sip.Flow{Role: sip.RoleProtectedServer, Local: a.Local.Server(), Remote: a.Remote.Client()}
			bye, register := u.text("BYE", "sip:bob@x", "c1", within), u.text("REGISTER", "sip:x", "r1", nonce)
			want(w, row{"over a set that is not answered for", over, bye, admission.New},
				row{"the answer to its challenge", over, register, admission.Begun},
				row{"one in clear", gmFlow("192.0.2.50:5060"), register, admission.New})
			u.answer401()
			want(w, row{"over its set", over, bye, admission.Vital}, row{"in clear", gmFlow("192.0.2.50:5060"), bye, admission.New})
		})
	})
	t.Run("emergency registrations", func(t *testing.T) {
		secure(t, func(w *world) {
			u := w.ue("alice", "192.0.2.50")
			text := u.register("Contact: <sip:alice@192.0.2.50;sos>")
			vital := func(f sip.Flow) (n int) {
				for range 1000 {
					if w.classOf(f, text) == admission.Vital {
						n++
					}
				}
				return n
			}
			if n := vital(gmFlow(strangerAddr)); n != strangeEmergencies {
				t.Errorf("%d of strangers at once, want %d", n, strangeEmergencies)
			}
			time.Sleep(500 * time.Millisecond)
			if n := vital(gmFlow(strangerAddr)); n != strangeEmergencies/2 {
				t.Errorf("%d of strangers in half a second, want %d", n, strangeEmergencies/2)
			}
			u.up()
			a := w.p.sec.byID[w.ipsec.installed()[0].ID]
			if n := vital(sip.Flow{Role: sip.RoleProtectedServer, Local: a.Local.Server(), Remote: a.Remote.Client()}); n != 1000 {
				t.Errorf("%d over SAs, want 1000", n)
			}
		})
	})
}

// What comes to Mw from outside of the trust domain is refused at full cost, and goes before
// nobody for what it says.
func TestClassOfWhoIsNotTrusted(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "192.0.2.50:5060")
		for _, text := range []string{
			p.text("BYE", "sip:bob@x", "c1", "To: <sip:bob@"+domain+">;tag=x"), p.text("INVITE", "sip:bob@x", "c1", "Resource-Priority: wps.0"), p.text("INVITE", sos, "c1"),
		} {
			if got := w.classOf(sip.Flow{Role: sip.RoleCore, Remote: netipAddr("203.0.113.1:5060")}, text); got != admission.New {
				t.Errorf("from outside it is %v:\n%s", got, text)
			}
			if got := w.classOf(sip.Flow{Role: sip.RoleCore, Remote: netipAddr(scscfAddr)}, text); got != admission.Vital {
				t.Errorf("from the S-CSCF it is %v:\n%s", got, text)
			}
		}
	}, func(c *Config) {
		c.Trusted = nil
		for _, a := range []string{icscfAddr, scscfAddr} {
			c.Trusted = append(c.Trusted, netip.PrefixFrom(netipAddr(a).Addr(), 32))
		}
	})
}

// A phone that asks for priority goes first where the operator lets it ask, if it is
// registered, and as long as there are not too many.
func TestClassOfPriority(t *testing.T) {
	run(t, func(w *world) {
		p, s := w.peer("alice", "192.0.2.50:5060"), w.peer("stranger", strangerAddr)
		p.register()
		for _, tt := range []struct {
			name, priority, method string
			of                     *peer
			want                   admission.Class
		}{
			{"none", "", "INVITE", p, admission.New},
			{"one that phones may ask for", "WPS.2", "INVITE", p, admission.Vital},
			{"for a message", "wps.0", "MESSAGE", p, admission.Vital},
			{"the second of two", "ets.0, wps.4", "INVITE", p, admission.Vital},
			{"another", "ets.0", "INVITE", p, admission.New},
			{"a namespace that begins so", "wpsx.0", "INVITE", p, admission.New},
			{"a stranger's", "wps.0", "INVITE", s, admission.New},
		} {
			line := "Accept-Language: en"
			if tt.priority != "" {
				line = "Resource-Priority: " + tt.priority
			}
			if got := w.classOf(gmFlow(tt.of.addr.String()), tt.of.text(tt.method, "sip:bob@"+domain, "c1", line)); got != tt.want {
				t.Errorf("%s is %v, want %v", tt.name, got, tt.want)
			}
		}
		vital := func(of *peer) (n int) {
			text := of.text("INVITE", "sip:bob@"+domain, "c1", "Resource-Priority: wps.0")
			for range 1000 {
				if w.classOf(gmFlow(of.addr.String()), text) == admission.Vital {
					n++
				}
			}
			return n
		}
		time.Sleep(time.Second)
		if n := vital(p); n != claimedByOne {
			t.Errorf("%d at once, want %d", n, claimedByOne)
		}
		place := func(p *peer) uint64 { return maphash.Comparable(w.p.claims.seed, p.addr.Addr()) % 1024 }
		bob := w.peer("bob", "192.0.2.60:5060")
		if place(bob) == place(p) { // one in 1024 shares it
			bob = w.peer("bob", "192.0.2.61:5060")
		}
		bob.register()
		if n := vital(bob); n != claimedByOne {
			t.Errorf("%d of another at once, want %d", n, claimedByOne)
		}
		var phones []*peer
		for i := range 4 * claimedPriorities / claimedByOne { // some may share a place
			p := w.peer("phone"+strconv.Itoa(i), "192.0.3."+strconv.Itoa(i+1)+":5060")
			p.register()
			phones = append(phones, p)
		}
		time.Sleep(time.Second)
		sum := 0
		for _, p := range phones {
			sum += vital(p)
		}
		if sum != claimedPriorities {
			t.Errorf("%d of all at once, want %d", sum, claimedPriorities)
		}
	}, func(c *Config) { c.ResourcePriority = []string{"wps"} })
}

// A phone behind IPsec asks over its SA set, once that is established.
func TestClassOfPriorityBehindIPsec(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.begin()
		a := w.p.sec.byID[w.ipsec.installed()[0].ID]
		over := sip.Flow{Role: sip.RoleProtectedServer, Local: a.Local.Server(), Remote: a.Remote.Client()}
		text := u.text("INVITE", "sip:bob@x", "c1", "Resource-Priority: wps.0")
		if got := w.classOf(over, text); got != admission.New {
			t.Errorf("over a set that is not answered for it is %v", got)
		}
		u.answer401()
		if got := w.classOf(over, text); got != admission.Vital {
			t.Errorf("over its set it is %v", got)
		}
		if got := w.classOf(gmFlow("192.0.2.50:5060"), text); got != admission.New {
			t.Errorf("in clear it is %v", got)
		}
	}, func(c *Config) { c.ResourcePriority = []string{"wps"} })
}
