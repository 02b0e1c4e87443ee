package pcscf

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestRegistrationOverIPsec(t *testing.T) {
	conformance.Shows(t, "PR-09", "PR-10", "PR-13", "PR-15", "PR-18", "IP-03", "IP-15")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.open.send(gmAddr, u.register("Via: SIP/2.0/UDP "+u.open.addr.String()+";branch="+sip.NewBranch()+";rport"))
		first := w.challenge()
		for _, id := range []sip.ID{sip.HSecurityClient, sip.HSecurityVerify, sip.HRequire, sip.HProxyRequire} {
			if v := strings.Join(values(first.Message, id), ", "); strings.Contains(v, "ipsec") || strings.Contains(v, secAgree) {
				t.Errorf("the core is told of the security agreement: %v %s", id, v)
			}
		}
		a := u.challenged(u.open)
		if strings.Contains(a.Raw(), testCK) || strings.Contains(a.Raw(), testIK) {
			t.Error("the phone is sent the keys")
		}
		// Our order, all with the same SPIs and ports, falling q.
		list := values(a.Message, sip.HSecurityServer)
		if len(list) != len(ipsec.Pairs) {
			t.Fatalf("Security-Server lists %d mechanisms, want %d", len(list), len(ipsec.Pairs))
		}
		q := 1.1
		for i, v := range list {
			sm, err := sip.ParseSecMechanism(v)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "pair", sm.Alg+"/"+sm.EAlg, ipsec.Pairs[i])
			var is float64
			_, _ = fmt.Sscan(sm.Q, &is)
			if is >= q || is <= 0 {
				t.Errorf("q=%s behind %v", sm.Q, q)
			}
			q = is
			for _, theirs := range []uint32{1002, 1003} {
				if sm.SPIC == theirs || sm.SPIS == theirs || sm.SPIC < 256 {
					t.Errorf("SPIs %d and %d are the phone's or reserved", sm.SPIC, sm.SPIS)
				}
			}
		}
		sets := w.ipsec.installed()
		if len(sets) != 1 {
			t.Fatalf("%d sets stand when the 401 is there", len(sets))
		}
		s := sets[0]
		check(t, "algorithms", s.Pair, "hmac-sha-1-96/null")
		check(t, "the phone's side", fmt.Sprint(s.Remote), "{192.0.2.50 7000 6000 1002 1003}")
		check(t, "keys", s.CK == ipsec.Key([]byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff")) && s.IK != s.CK, true)
		u.take()

		u.say(u.register("Security-Verify: "+u.server, u.auth("n", "ok")))
		second := w.icscf.request("REGISTER")
		for m, want := range map[*sip.Message]string{first.Message: "no", second.Message: "yes"} {
			cred, err := sip.ParseCredentials(m.Get(sip.HAuthorization))
			if err != nil || cred.IntegrityProtected != want {
				t.Errorf("integrity-protected is %q, want %q", cred.IntegrityProtected, want)
			}
		}
		if second.Has(sip.HSecurityVerify) || second.Has(sip.HSecurityClient) {
			t.Error("the core is told of the security agreement")
		}
		w.icscf.answer(second, 200, u.peer.granted()...)
		// The Via says port_us, and rport notwithstanding that is where it goes, from port_pc.
		check(t, "the 200 comes from", u.status(200).from, u.pc)
		check(t, "sets", w.sets("alice"), fmt.Sprintf("in use %d/%d", s.Local.PortS, s.Local.PortC))
	})
}

// A phone that expects the answer where its request came from.
func TestResponsePortOfAPhone(t *testing.T) {
	conformance.Shows(t, "IP-15")
	for name, via := range map[string]string{"by configuration": "6000", "by its User-Agent": "6000", "by its own Via": "7000"} {
		t.Run(name, func(t *testing.T) {
			secure(t, func(w *world) {
				u := w.ue("alice", "192.0.2.50")
				u.clearRegister("User-Agent: ODD-Phone/2.1")
				w.challenge()
				u.challenged(u.open)
				u.take()
				u.say(u.register("Security-Verify: "+u.server, u.auth("n", "ok"), "Via: SIP/2.0/UDP 192.0.2.50:"+via+";branch="+sip.NewBranch()))
				w.icscf.answer(w.icscf.request("REGISTER"), 200, u.peer.granted()...)
				check(t, "the 200 comes from", u.out.status(200).from, u.ps)
			}, func(c *Config) {
				switch name {
				case "by configuration":
					c.IPsec.ResponsePort = responseUC
				case "by its User-Agent":
					c.IPsec.ClientPortAgents = []string{"other", "odd-phone"}
				}
			})
		})
	}
}

// What cannot lead to an agreement is refused before the core hears of it, and says
// what would.
func TestNoAgreement(t *testing.T) {
	conformance.Shows(t, "PR-11", "IP-09", "IP-10", "IP-20", "IP-22")
	good := "ipsec-3gpp;alg=hmac-sha-1-96;spi-c=1000;spi-s=1001;port-c=7000;port-s=6000"
	for _, c := range []struct {
		name, offer string
		status      int
		words       string
	}{
		{"none", "", 421, "offers no IPsec"},
		{"TLS alone", "tls;q=0.5", 494, "offers no ipsec-3gpp"},
		{"unknown algorithms", strings.Replace(good, "hmac-sha-1-96", "hmac-sha-256-128", 1), 494, "hmac-sha-256-128"},
		{"not allowed", strings.Replace(good, "hmac-sha-1-96", "hmac-md5-96", 1), 494, "hmac-md5-96/null is not allowed"},
		{"AH", good + ";prot=ah", 494, "prot="},
		{"SPIs twice", strings.Replace(good, "1001", "1000", 1), 494, "spi-c=1000"},
		{"no port", strings.Replace(good, ";port-c=7000", "", 1), 400, "cannot be read"},
		{"nonsense", "@@@", 400, "cannot be read"},
		{"a name without end", strings.Replace(good, "hmac-sha-1-96", strings.Repeat("x", 65), 1), 400, "more than 64 octets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			secure(t, func(w *world) {
				u := w.ue("alice", "192.0.2.50")
				sec := "Security-Client: " + c.offer
				if c.offer == "" {
					sec = "-Security-Client"
				}
				u.open.send(gmAddr, u.register("Via: SIP/2.0/UDP 192.0.2.50:5060;branch="+sip.NewBranch(), sec))
				a := u.open.refused(c.status, c.words)
				if c.status != 400 {
					check(t, "Require", a.Get(sip.HRequire), secAgree)
					check(t, "Security-Server", strings.Join(values(a.Message, sip.HSecurityServer), ", "), "ipsec-3gpp;q=0.2;alg=hmac-sha-1-96;ealg=aes-cbc;prot=esp;mod=trans, ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;ealg=null;prot=esp;mod=trans")
				}
				w.icscf.nothing(time.Minute)
				w.leaks()
				if said := fmt.Sprint(w.p.Report("alice@" + domain).Explanation); !strings.Contains(said, fmt.Sprintf("refused with %d", c.status)) {
					t.Errorf("the explanation says %s", said)
				}
			}, func(c *Config) { c.IPsec.Algorithms = []string{"hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null"} })
		})
	}
}

// A good offer among bad ones and other mechanisms, in several rows; hmac-md5-96 is
// allowed unless the configuration leaves it out.
func TestOneOfferOfMany(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.open.send(gmAddr, u.register("Via: SIP/2.0/UDP 192.0.2.50:5060;branch="+sip.NewBranch(),
			"Security-Client: tls;q=0.9, ipsec-3gpp;alg=hmac-md5-96;spi-c=0000002000;spi-s=4294967295;port-c=7000;port-s=6000;prot=esp;mod=trans;ealg=null",
			"+Security-Client: ipsec-3gpp; alg=hmac-md5-96; ealg=aes-cbc; spi-c=2000; spi-s=4294967295; port-c=7000; port-s=6000, ipsec-3gpp;broken"))
		w.challenge()
		u.challenged(u.open)
		s := w.ipsec.installed()[0]
		check(t, "the pair and the SPIs", fmt.Sprint(s.Pair, " ", s.Remote.SPIC, " ", s.Remote.SPIS), "hmac-md5-96/aes-cbc 2000 4294967295")
		check(t, "what is listed", u.pending.server, fmt.Sprintf("ipsec-3gpp;q=0.1;alg=hmac-md5-96;ealg=aes-cbc;prot=esp;mod=trans;spi-c=%d;spi-s=%d;port-c=%d;port-s=%d", s.Local.SPIC, s.Local.SPIS, s.Local.PortC, s.Local.PortS))
	}, func(c *Config) { c.IPsec.Offer = offerChosen })
}

// The Security-Verify of a request is that of the set on which it came, and the
// Security-Client of the answer that of the first REGISTER.
func TestSecurityVerify(t *testing.T) {
	conformance.Shows(t, "PR-19", "PR-20", "PR-21")
	for _, c := range []struct {
		name  string
		more  func(u *ue) []string
		words string
	}{
		{"none", func(*ue) []string { return nil }, "no Security-Verify"},
		{"another SPI", func(u *ue) []string {
			return []string{"Security-Verify: " + strings.Replace(u.server, "spi-c=", "spi-c=1", 1)}
		}, "Security-Verify is not"},
		{"one is missing", func(u *ue) []string {
			_, rest, _ := strings.Cut(u.server, ", ")
			return []string{"Security-Verify: " + rest}
		}, "Security-Verify is not"},
		{"unreadable", func(*ue) []string { return []string{"Security-Verify: @"} }, "Security-Verify is not"},
		{"another Security-Client", func(u *ue) []string {
			return []string{"Security-Client: " + strings.Replace(u.client, "hmac-sha-1-96", "hmac-md5-96", 1)}
		}, "Security-Client is not"},
		{"no Security-Client", func(*ue) []string { return []string{"-Security-Client"} }, "Security-Client is not"},
	} {
		t.Run(c.name, func(t *testing.T) {
			secure(t, func(w *world) {
				u := w.ue("alice", "192.0.2.50")
				u.begin()
				more := []string{u.auth("n", "ok")}
				if c.more(u) != nil {
					more = append(append(more, "Security-Verify: "+u.server), c.more(u)...)
				}
				u.say(u.register(more...))
				a := u.refused(494, c.words)
				check(t, "Security-Server", strings.Join(values(a.Message, sip.HSecurityServer), ", "), u.server)
				w.icscf.nothing(time.Second)
				// The set stays, and the phone may do better.
				u.answer401()
			})
		})
	}
	// A pending challenge does not change what the set in use has agreed to.
	t.Run("of the set", func(t *testing.T) {
		secure(t, func(w *world) {
			u := w.ue("alice", "192.0.2.50").up()
			old := u.server
			u.offer(7001)
			u.w.ueSend(u, 7000, u.register("Security-Verify: "+old, u.auth("n", "ok")))
			w.challenge()
			u.challenged(u.peer)
			u.w.ueSend(u, 7000, u.text("MESSAGE", "sip:bob@"+domain, "m1", "Security-Verify: "+u.pending.server))
			u.refused(494, "Security-Verify is not")
			u.w.ueSend(u, 7000, u.text("MESSAGE", "sip:bob@"+domain, "m2", "Security-Verify: "+old, "Require: sec-agree"))
			m := w.scscf.request("MESSAGE")
			if m.Has(sip.HSecurityVerify) || m.Has(sip.HRequire) {
				t.Error("Security-Verify or sec-agree goes on")
			}
		})
	})
}

// ueSend sends from one of the phone's client ports to the port_ps in use.
func (w *world) ueSend(u *ue, port uint16, text string) {
	w.t.Helper()
	u.outs[port].send(u.ps, text)
}

// Neither auts nor an empty response need know the list of the new challenge; both
// replace its set.
func TestChallengeThatIsNotAnswered(t *testing.T) {
	conformance.Shows(t, "PR-16", "PR-19", "IP-21")
	for _, c := range []struct{ name, response, auts string }{{"resynchronisation", "ok", `auts="AAAAAAAAAAAAAAAAAAAAAAAAAAA="`}, {"MAC failure", "", ""}} {
		for _, over := range []string{"in clear", "over the old set"} {
			t.Run(c.name+" "+over, func(t *testing.T) {
				secure(t, func(w *world) {
					u := w.ue("alice", "192.0.2.50")
					auth := u.auth("n", c.response)
					if c.auts != "" {
						auth += ", " + c.auts
					}
					at := u.open
					if over == "in clear" {
						u.begin()
						u.open.send(gmAddr, u.register("Via: SIP/2.0/UDP 192.0.2.50:5060;rport;branch="+sip.NewBranch(), auth))
					} else {
						u.up()
						at = u.peer
						u.offer(7001)
						w.ueSend(u, 7000, u.register("Security-Verify: "+u.server, u.auth("n", "ok")))
						w.challenge()
						u.challenged(at)
						w.ueSend(u, 7000, u.register(auth))
					}
					before := w.ipsec.installed()
					a := w.challenge()
					if got := a.Get(sip.HAuthorization); c.auts != "" && !strings.Contains(got, "auts=") {
						t.Errorf("auts does not go on: %s", got)
					}
					u.challenged(at)
					synctest.Wait()
					after := w.ipsec.installed()
					last := len(before) - 1
					if len(after) != len(before) || after[last].ID == before[last].ID {
						t.Errorf("%d temporary and other sets, then %d; the temporary one is to be replaced", len(before), len(after))
					}
					u.take()
					u.answer401()
					if said := fmt.Sprint(w.p.Report("alice@" + domain).Explanation); strings.Contains(said, "MAC failure") {
						t.Errorf("after success still: %s", said)
					}
				})
			})
		}
	}
}

func TestAnotherIMPIOverTheSet(t *testing.T) {
	conformance.Shows(t, "PR-22", "PR-30")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		u.say(u.register("Security-Verify: "+u.server, strings.Replace(u.auth("n", "ok"), "alice@", "bob@", 1)))
		u.refused(403, "SA set of alice")
		w.icscf.nothing(time.Second)

		// Another public identity of the same private one shares the set.
		u.granted = append(u.peer.granted()[:2:2], "P-Associated-URI: <sip:office@"+domain+">")
		u.say(u.register("Security-Verify: "+u.server, "To: <sip:office@"+domain+">", u.auth("n", "ok")))
		u.grant()
		check(t, "sets", len(w.ipsec.installed()), 1)
		u.say(u.text("MESSAGE", "sip:bob@"+domain, "m1", "P-Preferred-Identity: <sip:office@"+domain+">"))
		check(t, "asserted", w.scscf.request("MESSAGE").Get(sip.HPAssertedIdentity), "<sip:office@"+domain+">")
		// Who leaves Authorization out is still the owner of the set.
		u.say(u.register("Security-Verify: "+u.server, "-Authorization"))
		u.granted = nil
		u.grant()
	})
}

// The 401 never promises what does not stand.
func TestSetThatCannotBeMade(t *testing.T) {
	conformance.Partly(t, "IP-24")
	for _, c := range []struct {
		name  string
		begin func(w *world)
		words string
	}{
		{"back end", func(w *world) {
			w.ipsec.refuse = errors.New("adding the state of SPI 1003: no such algorithm; load the module authenc")
			w.challenge()
		}, "load the module authenc"},
		{"no keys", func(w *world) {
			w.icscf.answer(w.icscf.request("REGISTER"), 401, `WWW-Authenticate: Digest realm="x", nonce="n", algorithm=AKAv1-MD5`)
		}, "no CK and IK"},
		{"keys of another length", func(w *world) {
			w.icscf.answer(w.icscf.request("REGISTER"), 401, `WWW-Authenticate: Digest realm="x", nonce="n", algorithm=AKAv1-MD5, ck="00", ik="zz"`)
		}, "no CK and IK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			secure(t, func(w *world) {
				u := w.ue("alice", "192.0.2.50")
				u.open.send(gmAddr, u.register("Via: SIP/2.0/UDP 192.0.2.50:5060;branch="+sip.NewBranch()))
				c.begin(w)
				u.open.refused(500, c.words)
				time.Sleep(time.Second)
				w.leaks()
				check(t, "counted", w.registersCounted(), "map[500:1]")
				u.up() // and then it works
				check(t, "counted", w.registersCounted(), "map[200:1 401:1 500:1]")
			})
		})
	}
	t.Run("no ports", func(t *testing.T) {
		secure(t, func(w *world) {
			u := w.ue("alice", "192.0.2.50").up()
			// The phone has lost everything and comes with the same ports: the one
			// port_ps that there is, is taken towards them.
			u.open.send(gmAddr, u.register("Via: SIP/2.0/UDP 192.0.2.50:5060;branch="+sip.NewBranch()))
			w.challenge()
			u.open.refused(500, "protected port")
		}, func(c *Config) { c.IPsec.ServerPorts = PortList{6100} })
	})
}

// registersCounted is what the metrics say of answers to REGISTERs, by status.
func (w *world) registersCounted() map[string]float64 {
	w.t.Helper()
	families, err := w.p.deps.Metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "gocscf_pcscf_registers_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	return got
}

// A registration that the home network has granted in clear is worth nothing.
func TestGrantedInClear(t *testing.T) {
	conformance.Partly(t, "PO-01")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.open.send(gmAddr, u.register("Via: SIP/2.0/UDP 192.0.2.50:5060;branch="+sip.NewBranch()))
		w.icscf.answer(w.icscf.request("REGISTER"), 200, u.peer.granted()...)
		u.open.refused(403, "without a challenge")
		check(t, "contacts", w.p.bindings.len(), 0)
		check(t, "counted", w.registersCounted(), "map[403:1]")
	})
}

// Of several contacts the one at the set's port_us is bound.
func TestContactOfTheSet(t *testing.T) {
	conformance.Shows(t, "PR-37")
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.begin()
		u.granted = []string{"Contact: <sip:alice@192.0.2.50:7000>;expires=600, <sip:alice@192.0.2.50:6000>;expires=600, <sip:alice@192.0.2.99>;expires=600", "Service-Route: " + route}
		u.answer401("Contact: <sip:alice@192.0.2.99>, <sip:alice@192.0.2.50:7000>", "+Contact: <sip:alice@192.0.2.50:6000>")
		for _, b := range w.p.bindings.of("alice@" + domain) {
			check(t, "bound", b.contact, "sip:alice@192.0.2.50:6000")
		}
		check(t, "contacts", w.p.bindings.len(), 1)
	})
}
