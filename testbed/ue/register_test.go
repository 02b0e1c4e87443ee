package ue

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func credentials(t *testing.T, m *sip.Message) sip.Credentials {
	t.Helper()
	c, err := sip.ParseCredentials(m.Get(sip.HAuthorization))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The first REGISTER is that of TS 24.229 5.1.1.2.1, and the 200 is read.
func TestRegister(t *testing.T) {
	conformance.Partly(t, "UE-01")
	bubble(t, func(t *testing.T, w *world) {
		p := w.phone(aliceConfig())
		g, err := p.Register(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		ms := w.registered()
		if len(ms) != 2 {
			t.Fatalf("%d REGISTERs", len(ms))
		}
		first := ms[0]
		for _, c := range []struct {
			id   sip.ID
			want string
		}{
			{sip.HFrom, "<sip:alice@" + domain + ">;tag="},
			{sip.HExpires, "600000"},
			{sip.HContact, "<sip:alice@192.0.2.1:5066>"},
			{sip.HContact, `+sip.instance="<urn:gsma:imei:`},
			{sip.HContact, `+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"`},
			{sip.HContact, "+g.3gpp.smsip"},
			{sip.HSupported, "path, sec-agree"},
			{sip.HPAccessNetworkInfo, "3GPP-E-UTRAN-FDD"},
			{sip.HAuthorization, `username="alice@` + domain + `",realm="` + domain + `",nonce="",uri="sip:` + domain + `",response=""`},
		} {
			if got := first.Get(c.id); !strings.Contains(got, c.want) {
				t.Errorf("%v: %q, want %q in it", c.id, got, c.want)
			}
		}
		if first.RequestURI() != "sip:"+domain || first.Has(sip.HSecurityClient) || first.Has(sip.HRequire) {
			t.Errorf("REGISTER:\n%s", first.Raw())
		}
		if ms[0].CallID() != ms[1].CallID() || ms[0].Get(sip.HCSeq) != "1 REGISTER" || ms[1].Get(sip.HCSeq) != "2 REGISTER" {
			t.Errorf("CSeq %s, then %s", ms[0].Get(sip.HCSeq), ms[1].Get(sip.HCSeq))
		}
		c := credentials(t, ms[1])
		if c.QOP != "auth" || c.NC != "00000001" || c.Algorithm != "AKAv1-MD5" || c.AUTS != "" {
			t.Errorf("credentials %v", c)
		}
		if g.Expires != time.Hour || g.Challenges != 1 || g.Default != "sip:alice@"+domain ||
			len(g.ServiceRoute) != 1 || len(g.Identities) != 2 || g.PCSCF != netAddr || g.Resynchronised {
			t.Errorf("registration %+v", g)
		}
		if p.Registration() == nil {
			t.Error("not registered after the 200")
		}
	})
}

// A phone that offers IPsec does so as a real one does.
func TestRegisterSecAgree(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		c := aliceConfig()
		c.SecAgree = true
		if _, err := w.phone(c).Register(w.ctx()); err != nil {
			t.Fatal(err)
		}
		for i, m := range w.registered() {
			if verify := m.Get(sip.HSecurityVerify); (verify == securityServer) != (i > 0) {
				t.Errorf("REGISTER %d: Security-Verify %q", i+1, verify)
			}
			mech, err := sip.ParseSecMechanism(m.First(sip.HSecurityClient))
			if err != nil || !mech.IsIPsec() || mech.SPIC == mech.SPIS || mech.PortS == 0 {
				t.Errorf("Security-Client %v: %v", mech, err)
			}
			if !m.HasOption(sip.HRequire, "sec-agree") || !m.HasOption(sip.HProxyRequire, "sec-agree") {
				t.Errorf("REGISTER:\n%s", m.Raw())
			}
		}
	})
}

func TestProfilesAndTransports(t *testing.T) {
	for name := range Profiles {
		for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
			t.Run(name+" "+proto.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					c := aliceConfig()
					c.Profile, c.Transport, c.SecAgree = name, proto, true
					p := w.phone(c)
					if _, err := p.Register(w.ctx()); err != nil {
						t.Fatal(err)
					}
					w.set(func() {
						// TCP too comes from the port that the phone listens on.
						if got := w.contacts["alice"]; got != p.Addr() {
							t.Errorf("registered from %v, listens on %v", got, p.Addr())
						}
					})
					cred := credentials(t, w.registered()[1])
					if want := Profiles[name].QOP; cred.QOP != want {
						t.Errorf("qop %q, want %q", cred.QOP, want)
					}
					if Profiles[name].NoAlgorithm != (cred.Algorithm == "") {
						t.Errorf("algorithm %q", cred.Algorithm)
					}
				})
			})
		}
	}
}

// What the SIM and the network disagree about, and what the phone says then.
func TestAuthenticationFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults Faults
		sent   func(t *testing.T, c sip.Credentials)
		cause  error
		next   string
	}{
		{"wrong RES", Faults{WrongRES: true}, func(t *testing.T, c sip.Credentials) {
			if c.Response == "" || c.AUTS != "" {
				t.Errorf("credentials %v", c)
			}
		}, nil, "compare K, OPc"},
		{"wrong OPc", Faults{WrongOPc: true}, func(t *testing.T, c sip.Credentials) {
			if c.Response != "" || c.AUTS != "" || c.Nonce == "" {
				t.Errorf("credentials %v", c)
			}
		}, aka.ErrMACFailure, "compare K and OPc of alice@"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				cfg := aliceConfig()
				cfg.Faults = c.faults
				p := w.phone(cfg)
				_, err := p.Register(w.ctx())
				var e *Error
				if !errors.As(err, &e) || e.Status != 403 || !strings.Contains(e.Next, c.next) || c.cause != nil && !errors.Is(err, c.cause) {
					t.Fatalf("error %v", err)
				}
				ms := w.registered()
				c.sent(t, credentials(t, ms[len(ms)-1]))
				// A 403 is final: the phone stays away.
				time.Sleep(time.Hour)
				if n := len(w.registered()); n != 0 {
					t.Errorf("%d more REGISTERs", n)
				}
				// Repaired, it registers.
				if err := p.SetFaults(Faults{}); err != nil {
					t.Fatal(err)
				}
				if _, err := p.Register(w.ctx()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A sequence number out of range: AUTS, a new challenge, success.
func TestResynchronisation(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		c := aliceConfig()
		c.Faults.SQNAhead = 0x900000
		g, err := w.phone(c).Register(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		if g.Challenges != 2 || !g.Resynchronised || w.auts != 1 {
			t.Errorf("registration %+v, %d resynchronisations", g, w.auts)
		}
	})
}

// The phone registers anew 600 s before the end, or at half of a short time, with
// the credentials that it used last, until it is challenged.
func TestReregistration(t *testing.T) {
	conformance.Shows(t, "UE-02")
	for _, c := range []struct {
		name    string
		expires uint32
		after   time.Duration
	}{
		{"long", 3600, 3000 * time.Second},
		{"above the bound", 1201, 601 * time.Second},
		{"at the bound", 1200, 600 * time.Second},
		{"short", 60, 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.expires = c.expires
				p := w.phone(aliceConfig())
				if _, err := p.Register(w.ctx()); err != nil {
					t.Fatal(err)
				}
				first := w.registered()
				time.Sleep(c.after - time.Second)
				if n := len(w.registered()); n != 0 {
					t.Fatalf("%d REGISTERs too early", n)
				}
				time.Sleep(2 * time.Second)
				again := w.registered()
				if len(again) != 1 {
					t.Fatalf("%d REGISTERs, want one, unchallenged", len(again))
				}
				was, is := credentials(t, first[1]), credentials(t, again[0])
				if was.Nonce != is.Nonce || was.Response != is.Response || was.CNonce != is.CNonce || was.NC != is.NC {
					t.Errorf("credentials changed without a challenge")
				}
				w.set(func() { clear(w.nonces) }) // the S-CSCF asks again
				time.Sleep(c.after)
				if n := len(w.registered()); n != 2 {
					t.Errorf("%d REGISTERs, want two, challenged", n)
				}
				if g := p.Registration(); g == nil || g.Challenges != 1 {
					t.Errorf("registration %+v", g)
				}
			})
		})
	}
}

func TestDeregister(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.registeredPhone(aliceConfig())
		if err := p.Deregister(w.ctx()); err != nil {
			t.Fatal(err)
		}
		ms := w.registered()
		if len(ms) != 1 || ms[0].Get(sip.HExpires) != "0" {
			t.Fatalf("REGISTERs %v", ms)
		}
		if p.Registration() != nil {
			t.Error("still registered")
		}
		time.Sleep(2 * time.Hour)
		if n := len(w.registered()); n != 0 {
			t.Errorf("%d more REGISTERs", n)
		}
		if err := p.Deregister(w.ctx()); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("deregistering twice: %v", err)
		}
		if _, err := p.Call(w.ctx(), "sip:bob@"+domain, CallOptions{}); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("calling: %v", err)
		}
	})
}

// Statuses of REGISTER: what the phone does next (UE-07), and what it says.
func TestRegisterRefused(t *testing.T) {
	conformance.Shows(t, "UE-07")
	reply := func(status int, fields ...sip.Field) func(*proxy.Exchange) bool {
		return func(x *proxy.Exchange) bool {
			x.Reply(status, "", fields...)
			return true
		}
	}
	t.Run("423", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			refuse := true
			w.intercept = func(x *proxy.Exchange) bool {
				if refuse {
					refuse = false
					return reply(423, sip.Field{ID: sip.HMinExpires, Value: "700000"})(x)
				}
				return false
			}
			if _, err := w.phone(aliceConfig()).Register(w.ctx()); err != nil {
				t.Fatal(err)
			}
			if got := w.registered()[1].Get(sip.HExpires); got != "700000" {
				t.Errorf("asked for %s", got)
			}
		})
	})
	for _, status := range []int{305, 408, 500, 503, 504} {
		t.Run(sip.StatusText(status), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				c := aliceConfig()
				c.Alternates = []netip.AddrPort{netAddr}
				c.PCSCF = netip.MustParseAddrPort("192.0.2.101:5060")
				other := newNetwork(t, w.mem.Host("192.0.2.101"), c.PCSCF)
				other.intercept = reply(status)
				g, err := w.phone(c).Register(w.ctx())
				if err != nil || g.PCSCF != netAddr {
					t.Fatalf("registration %+v, %v", g, err)
				}
			})
		})
	}
	t.Run("403", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			c := aliceConfig()
			c.Alternates = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.101:5060")}
			w.intercept = reply(403, sip.Field{ID: sip.HWarning, Value: `399 icscf "alice may not roam here"`})
			_, err := w.phone(c).Register(w.ctx())
			want := "registering sip:alice@" + domain + " at P-CSCF 192.0.2.100:5060: answered 403 Forbidden (alice may not roam here); check at the HSS"
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v, want %s…", err, want)
			}
		})
	})
	t.Run("silence", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.mem.SetDefault(memnet.Link{Blackhole: true})
			p := w.phone(aliceConfig())
			ctx, cancel := context.WithTimeout(w.ctx(), 5*time.Second)
			defer cancel()
			_, err := p.Register(ctx)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "check that a P-CSCF listens at 192.0.2.100:5060") {
				t.Errorf("error %v", err)
			}
			// The network is back: the phone is not stuck in the old attempt.
			w.mem.SetDefault(memnet.Link{})
			if _, err := p.Register(w.ctx()); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("unusable challenge", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.intercept = reply(401, sip.Field{ID: sip.HWWWAuthenticate, Value: `Digest realm="x",nonce="abc",algorithm=AKAv1-MD5`})
			if _, err := w.phone(aliceConfig()).Register(w.ctx()); !errors.Is(err, errChallenge) {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("challenge without end", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.intercept = func(x *proxy.Exchange) bool { w.challenge(x, "alice@"+domain); return true }
			_, err := w.phone(aliceConfig()).Register(w.ctx())
			var e *Error
			if !errors.As(err, &e) || e.Status != 401 || len(w.registered()) != maxChallenges+1 {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("200 without our contact", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.intercept = reply(200)
			p := w.phone(aliceConfig())
			if _, err := p.Register(w.ctx()); err == nil || p.Registration() != nil {
				t.Errorf("registered all the same: %v", err)
			}
		})
	})
	t.Run("switched off", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.mem.SetDefault(memnet.Link{Blackhole: true})
			p := w.phone(aliceConfig())
			time.AfterFunc(time.Second, p.Close)
			if _, err := p.Register(w.ctx()); !errors.Is(err, ErrClosed) {
				t.Errorf("error %v", err)
			}
		})
	})
}

// The subscription to the registration's state, and what its NOTIFYs make the phone
// do.
func TestRegistrationEvents(t *testing.T) {
	conformance.Shows(t, "UE-04")
	t.Run("subscribes", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			p := w.phone(aliceConfig())
			if _, err := p.Register(w.ctx()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			ms := w.requests()
			if len(ms) != 1 {
				t.Fatalf("requests %v", ms)
			}
			m := ms[0]
			if m.Method() != "SUBSCRIBE" || m.RequestURI() != "sip:alice@"+domain || m.Get(sip.HEvent) != "reg" ||
				m.Get(sip.HExpires) != "600000" || m.Get(sip.HAccept) != reginfo.ContentType || m.Count(sip.HRoute) != 2 {
				t.Errorf("SUBSCRIBE:\n%s", m.Raw())
			}
			time.Sleep(3500 * time.Second) // both are renewed
			if n := len(w.registered()); n != 3 {
				t.Errorf("%d REGISTERs", n)
			}
			if n := len(w.requests()); n != 0 { // in the dialog
				t.Errorf("%d new subscriptions", n)
			}
			_ = p
		})
	})
	for _, c := range []struct {
		event     reginfo.Event
		registers int
	}{
		{reginfo.Deactivated, 2}, {reginfo.Rejected, 0}, {reginfo.Unregistered, 0}, {reginfo.Probation, 1},
	} {
		t.Run(c.event.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p := w.registeredPhone(aliceConfig())
				w.tell("alice", c.event, 0)
				time.Sleep(10 * time.Second)
				ms := w.registered()
				if c.event == reginfo.Probation {
					ms = ms[:min(1, len(ms))]
				}
				if len(ms) != c.registers {
					t.Fatalf("%d REGISTERs, want %d", len(ms), c.registers)
				}
				if (p.Registration() != nil) != (c.registers > 0) {
					t.Errorf("registration %v", p.Registration())
				}
				if c.registers == 0 {
					return
				}
				if credentials(t, ms[0]).Nonce != "" {
					t.Error("the registration is no initial one")
				}
				if n := len(w.requests()); n != 1 {
					t.Errorf("%d new subscriptions", n)
				}
			})
		})
	}
	t.Run("shortened", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.registeredPhone(aliceConfig())
			w.tell("alice", reginfo.Shortened, 60)
			time.Sleep(29 * time.Second)
			if n := len(w.registered()); n != 0 {
				t.Fatalf("%d REGISTERs too early", n)
			}
			time.Sleep(2 * time.Second)
			if n := len(w.registered()); n != 1 {
				t.Errorf("%d REGISTERs", n)
			}
		})
	})
}

func TestConfigFaults(t *testing.T) {
	_, err := New(Config{Name: "x", IMPI: "no realm", IMPU: "nothing", Profile: "nokia", Algorithm: "rot13", K: testK,
		IPsec: "kernel", NAT: true, Offer: []ipsec.Pair{{}}})
	for _, want := range []string{`phone "x"`, "the NAT's address", "offer null/null", "P-CSCF", "domain", "impi", "impu", `profile "nokia"`, "opc is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
