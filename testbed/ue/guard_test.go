package ue

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// mechanism reads the first value of a Security header.
func mechanism(t *testing.T, m *sip.Message, id sip.ID) sip.SecMechanism {
	t.Helper()
	s, err := sip.ParseSecMechanism(m.First(id))
	if err != nil {
		t.Fatalf("%v in\n%s\n%v", id, m.Raw(), err)
	}
	return s
}

// sets returns the phone's sets, the oldest first.
func (w *world) sets() []*ipsec.Set {
	synctest.Wait()
	var out []*ipsec.Set
	w.stacks[0].locked(func() { out = slices.Clone(w.stacks[0].sets) })
	return out
}

// A 401 is answered over the set that came with it, which stands before, and what
// follows goes over it too.
func TestProtectedRegistration(t *testing.T) {
	conformance.Shows(t, "UE-06")
	for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
		t.Run(proto.String(), func(t *testing.T) {
			gated(t, func(t *testing.T, w *world) {
				c := secure(aliceConfig())
				c.Transport, c.Offer = proto, []ipsec.Pair{sha1AES}
				p := w.phone(c)
				g, err := p.Register(w.ctx())
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				ms, flows := w.registeredOver()
				sets := w.sets()
				if len(ms) != 2 || len(sets) != 1 {
					t.Fatalf("%d REGISTERs, %d sets", len(ms), len(sets))
				}
				first, second, s := ms[0], ms[1], sets[0]
				if flows[0].Role != sip.RoleGm || flows[0].Remote != p.Addr() || flows[0].Proto != proto {
					t.Errorf("the first REGISTER came over %v", flows[0])
				}
				if f := flows[1]; f.Local != s.Remote.Server() || f.Remote != s.Local.Client() || f.Role != sip.RoleProtectedServer {
					t.Errorf("the answer came over %v, want port_uc to port_ps", f)
				}
				for _, c := range []struct {
					m     *sip.Message
					reach netip.AddrPort
				}{{first, p.Addr()}, {second, s.Local.Server()}} {
					via, err := c.m.TopVia()
					if err != nil || fmt.Sprint(via.Host, ":", via.Port) != c.reach.String() || !strings.Contains(c.m.Get(sip.HContact), "@"+c.reach.String()) {
						t.Errorf("Via and Contact of\n%s\nwant %v", c.m.Raw(), c.reach)
					}
					if !c.m.HasOption(sip.HRequire, "sec-agree") || !c.m.HasOption(sip.HProxyRequire, "sec-agree") {
						t.Errorf("no sec-agree in\n%s", c.m.Raw())
					}
				}
				offer := mechanism(t, first, sip.HSecurityClient)
				if offer.SPIC != s.Local.SPIC || offer.SPIS != s.Local.SPIS || offer.PortC != s.Local.PortC || offer.PortS != s.Local.PortS || offer.SPIC == offer.SPIS {
					t.Errorf("offered %v, installed %v", offer, s)
				}
				if second.Get(sip.HSecurityClient) != first.Get(sip.HSecurityClient) {
					t.Error("the answer has another Security-Client")
				}
				if first.Has(sip.HSecurityVerify) || second.Get(sip.HSecurityVerify) != g.Protection.Verify[0] {
					t.Errorf("Security-Verify %q, then %q", first.Get(sip.HSecurityVerify), second.Get(sip.HSecurityVerify))
				}
				if s.Owner != p.cfg.IMPI || s.Pair != sha1AES || g.Protection.Local != s.Local || g.Protection.Remote != s.Remote {
					t.Errorf("set %v, protection %+v", s, g.Protection)
				}
				other := w.requests()
				if len(other) != 1 || other[0].Method() != "SUBSCRIBE" {
					t.Fatalf("requests %v", other)
				}
				m := other[0]
				if m.First(sip.HRoute) != "<sip:192.0.2.100:6100;lr>" || m.Get(sip.HSecurityVerify) != g.Protection.Verify[0] ||
					!m.HasOption(sip.HRequire, "sec-agree") || !m.HasOption(sip.HProxyRequire, "sec-agree") || m.Has(sip.HSecurityClient) {
					t.Errorf("SUBSCRIBE:\n%s", m.Raw())
				}
				if w.notifiers["alice"] == nil || len(w.stacks[0].drops) != 0 || len(w.gate.stack.drops) != 0 {
					t.Errorf("drops at the phone %v, at the P-CSCF %v", w.stacks[0].drops, w.gate.stack.drops)
				}
				st, _ := w.stacks[0].Stats(s.ID)
				// The NOTIFY came to port_us, its answer left from port_uc.
				if st.In[ipsec.AtServer].Packets == 0 || st.Out[ipsec.AtClient].Packets < 3 && proto == sip.UDP || st.Out[ipsec.AtServer].Packets != 0 {
					t.Errorf("packets %+v", st)
				}
			})
		})
	}
}

// With each agreement SPIs and port_uc are new and port_us stays; the old set stays
// until the network uses the new one.
func TestReauthentication(t *testing.T) {
	conformance.Partly(t, "UE-03", "IP-23")
	gated(t, func(t *testing.T, w *world) {
		w.expires = 3600
		p := w.registeredPhone(secure(aliceConfig()))
		was := w.sets()[0]
		w.set(func() { clear(w.nonces) }) // it will be challenged
		time.Sleep(3000 * time.Second)
		ms, flows := w.registeredOver()
		sets := w.sets()
		if len(ms) != 2 || len(sets) != 2 || sets[0] != was {
			t.Fatalf("%d REGISTERs, sets %v", len(ms), sets)
		}
		is := sets[1]
		if is.Local.PortS != was.Local.PortS || is.Local.PortC == was.Local.PortC || is.Local.SPIC == was.Local.SPIC || is.Local.SPIS == was.Local.SPIS || is.CK == was.CK {
			t.Errorf("%v after %v", is, was)
		}
		if flows[0].Remote != was.Local.Client() || flows[1].Remote != is.Local.Client() {
			t.Errorf("REGISTERs over %v and %v", flows[0], flows[1])
		}
		if a, b := mechanism(t, ms[0], sip.HSecurityVerify), mechanism(t, ms[1], sip.HSecurityVerify); a.PortC != was.Remote.PortC || b.PortC != is.Remote.PortC {
			t.Errorf("Security-Verify %v, then %v", a, b)
		}
		w.requests()

		// The phone sends on the new set; the network has not used it yet.
		if err := p.Message(w.ctx(), "tel:+1", "x"); err == nil {
			t.Error("somebody is called +1")
		}
		time.Sleep(10 * time.Minute) // the old one lives: the network may be slow
		w.gate.mu.Lock()
		used := w.gate.sets[is.Local.Client()]
		w.gate.mu.Unlock()
		st, _ := w.gate.stack.Stats(used.ID)
		if n := len(w.sets()); n != 1 || st.In[ipsec.AtServer].Packets == 0 {
			// The answer to the MESSAGE was the network's first use.
			t.Errorf("%d sets, %+v", n, st)
		}
	})
	t.Run("the network does not use it", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			c := secure(aliceConfig())
			c.NoSubscribe = true
			w.expires = 3600
			w.registeredPhone(c)
			w.set(func() { clear(w.nonces) })
			time.Sleep(3000 * time.Second)
			if n := len(w.sets()); n != 2 {
				t.Fatalf("%d sets", n)
			}
			// It ends 30 s after the registration that it was for.
			time.Sleep(600*time.Second + 20*time.Second)
			if n := len(w.sets()); n != 2 {
				t.Errorf("%d sets before the old one's time", n)
			}
			time.Sleep(20 * time.Second)
			if n := len(w.sets()); n != 1 {
				t.Errorf("%d sets after it", n)
			}
		})
	})
	t.Run("the same port_pc", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			w.gate.samePC = true
			p := w.registeredPhone(secure(aliceConfig()))
			w.set(func() { clear(w.nonces) })
			if _, err := p.Register(w.ctx()); err != nil {
				t.Fatal(err)
			}
			if sets := w.sets(); len(sets) != 1 || sets[0].Remote.PortC != 5100 {
				t.Errorf("sets %v", sets)
			}
		})
	})
	t.Run("no challenge", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			p := w.registeredPhone(secure(aliceConfig()))
			was := w.sets()[0]
			time.Sleep(time.Minute)
			g, err := p.Register(w.ctx())
			if err != nil {
				t.Fatal(err)
			}
			if sets := w.sets(); len(sets) != 1 || sets[0] != was || g.Protection.Local != was.Local {
				t.Errorf("sets %v, protection %+v", sets, g.Protection)
			}
			if got, want := w.stacks[0].extends[was.ID], g.Until.Add(30*time.Second); !got.Equal(want) {
				t.Errorf("the set lives to %v, want %v", got, want)
			}
			if ls := p.core.EndConns(was.Local.Client(), netip.AddrPort{}); ls > 1 {
				t.Errorf("%d connections", ls)
			}
			// The offer that nobody took is closed: port_uc and port_us of the set
			// and the clear port are what is left.
			if n := len(p.guard.opened); n != 2 {
				t.Errorf("%d protected ports open, want 2", n)
			}
		})
	})
	t.Run("three sets", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			c := secure(aliceConfig())
			c.NoSubscribe = true
			p := w.registeredPhone(c)
			for range 6 {
				w.set(func() { clear(w.nonces) })
				if _, err := p.Register(w.ctx()); err != nil {
					t.Fatal(err)
				}
				if n := len(w.sets()); n > 2 {
					t.Errorf("%d sets after the 200", n)
				}
			}
			most := 0
			w.stacks[0].locked(func() {
				n := 0
				for _, l := range w.stacks[0].log {
					if l[0] == '+' {
						n++
					} else {
						n--
					}
					most = max(most, n)
				}
			})
			if most > 3 {
				t.Errorf("%d sets at a time", most)
			}
		})
	})
}

// The phone asks what is bound, over its set, and nothing changes.
func TestBindings(t *testing.T) {
	conformance.Partly(t, "UE-03")
	gated(t, func(t *testing.T, w *world) {
		p := w.registeredPhone(secure(aliceConfig()))
		before := *p.Registration()
		got, err := p.Bindings(w.ctx())
		if err != nil || !slices.Equal(got, []string{before.Contact, "sip:other@192.0.2.77"}) {
			t.Errorf("bindings %q, %v", got, err)
		}
		ms, flows := w.registeredOver()
		if len(ms) != 1 || ms[0].Has(sip.HContact) || ms[0].Has(sip.HExpires) || flows[0].Role != sip.RoleProtectedServer {
			t.Errorf("asked by\n%s", ms[0].Raw())
		}
		if is := p.Registration(); is.Until != before.Until || len(w.sets()) != 1 {
			t.Errorf("registration %+v", is)
		}
	})
}

// A deregistration goes over the set, which is gone after the 200; nothing stays open.
func TestProtectedDeregistration(t *testing.T) {
	conformance.Shows(t, "UE-05")
	gated(t, func(t *testing.T, w *world) {
		p := w.registeredPhone(secure(aliceConfig()))
		s := w.sets()[0]
		if err := p.Deregister(w.ctx()); err != nil {
			t.Fatal(err)
		}
		ms, flows := w.registeredOver()
		if len(ms) != 1 || ms[0].Get(sip.HExpires) != "0" || flows[0].Remote != s.Local.Client() || !ms[0].Has(sip.HSecurityVerify) {
			t.Fatalf("REGISTERs %v over %v", ms, flows)
		}
		if n := len(w.sets()); n != 1 {
			t.Errorf("%d sets: the last NOTIFY needs its answer", n)
		}
		time.Sleep(5 * time.Second)
		if n := len(w.sets()); n != 0 || len(p.guard.sets()) != 0 {
			t.Errorf("%d sets left", n)
		}
		// It registers again, in clear.
		if _, err := p.Register(w.ctx()); err != nil {
			t.Fatal(err)
		}
		if _, flows := w.registeredOver(); len(flows) != 2 || flows[0].Role != sip.RoleGm || flows[1].Role != sip.RoleProtectedServer {
			t.Errorf("REGISTERs over %v", flows)
		}
	})
}

// What the network may put into Security-Server, and what the phone makes of it.
func TestSecurityServer(t *testing.T) {
	conformance.Partly(t, "IP-20")
	const own = "alg=hmac-sha-1-96;ealg=null;mod=trans;prot=esp;spi-c=4096;spi-s=4097;port-c=5100;port-s=6100"
	only := func(values ...string) func([]string) []string { return func([]string) []string { return values } }
	for _, c := range []struct {
		name   string
		server func([]string) []string
		taken  ipsec.Pair // of the set; zero: abandoned
		says   string
	}{
		{"as it is", nil, sha1AES, ""},
		{"none", only(), ipsec.Pair{}, "no Security-Server"},
		{"not offered", only("ipsec-3gpp;q=0.1;alg=hmac-md5-96;ealg=des-ede3-cbc;spi-c=4096;spi-s=4097;port-c=5100;port-s=6100"), ipsec.Pair{}, "hmac-md5-96/des-ede3-cbc was not offered"},
		{"no protection at all", only("ipsec-3gpp;q=0.1;alg=null;ealg=null;spi-c=4096;spi-s=4097;port-c=5100;port-s=6100"), ipsec.Pair{}, "null/null is no pair"},
		{"another mechanism", only("tls;q=0.2", "digest"), ipsec.Pair{}, "tls is no IPsec"},
		{"beside another mechanism", func(s []string) []string { return append([]string{"tls;q=0.9"}, s...) }, sha1AES, ""},
		{"a reserved SPI", only("ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;ealg=null;spi-c=7;spi-s=4097;port-c=5100;port-s=6100"), ipsec.Pair{}, "SPIs 7 and 4097"},
		{"one port", only("ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;ealg=null;spi-c=4096;spi-s=4097;port-c=6100;port-s=6100"), ipsec.Pair{}, "port 6100 twice"},
		{"ah", only("ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;prot=ah;spi-c=4096;spi-s=4097;port-c=5100;port-s=6100"), ipsec.Pair{}, "protocol ah"},
		{"a tunnel", only("ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;mod=UDP-enc-tun;spi-c=4096;spi-s=4097;port-c=5100;port-s=6100"), ipsec.Pair{}, "mode UDP-enc-tun"},
		{"unreadable", only("ipsec-3gpp;alg=hmac-sha-1-96;spi-c=x"), ipsec.Pair{}, "cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			gated(t, func(t *testing.T, w *world) {
				w.gate.server = c.server
				p := w.phone(secure(aliceConfig()))
				_, err := p.Register(w.ctx())
				if c.taken.Valid() {
					// What was changed on the way is refused by who wrote it.
					if changed := c.server != nil; changed == (err == nil) || w.sets() == nil && err == nil {
						t.Errorf("error %v", err)
					}
					return
				}
				var e *Error
				if !errors.Is(err, ErrNoAgreement) || !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) || e.Next == "" {
					t.Errorf("error %v", err)
				}
				time.Sleep(5 * time.Minute)
				if n := len(w.registered()); n != 1 || len(w.sets()) != 0 || len(p.guard.opened) != 1 {
					t.Errorf("%d REGISTERs, %d sets, open %v", n, len(w.sets()), p.guard.opened)
				}
				w.set(func() { w.gate.server = nil })
				if _, err := p.Register(w.ctx()); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
	t.Run("by preference", func(t *testing.T) {
		got, err := agree([]string{"ipsec-3gpp;q=0.1;" + own, "ipsec-3gpp;q=0.5;" + strings.Replace(own, "ealg=null", "ealg=aes-cbc", 1),
			"ipsec-3gpp;q=0.9;" + strings.Replace(own, "sha-1", "md5", 1)}, []ipsec.Pair{sha1Null, sha1AES}, []ipsec.Mode{ipsec.Transport})
		if err != nil || got.pair != sha1AES {
			t.Errorf("%v, %v", got.pair, err)
		}
	})
}

// What the SIM refuses is said in clear, or over the set in use, with a new offer and
// without a new set.
func TestRefusedChallengesAndSets(t *testing.T) {
	conformance.Partly(t, "IP-21")
	for _, c := range []struct {
		name       string
		fault      Faults
		registered bool
		registers  int
		ok         bool
	}{
		{"MAC failure in clear", Faults{WrongOPc: true}, false, 2, false},
		{"MAC failure over the set", Faults{WrongOPc: true}, true, 2, false},
		{"resynchronisation in clear", Faults{SQNAhead: 0x900000}, false, 3, true},
		{"resynchronisation over the set", Faults{SQNAhead: 0x900000}, true, 3, true},
		{"wrong RES", Faults{WrongRES: true}, false, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			gated(t, func(t *testing.T, w *world) {
				cfg := secure(aliceConfig())
				var p *Phone
				if c.registered {
					p = w.registeredPhone(cfg)
					w.set(func() { clear(w.nonces) })
				} else {
					p = w.phone(cfg)
				}
				before := len(w.sets())
				if err := p.SetFaults(c.fault); err != nil {
					t.Fatal(err)
				}
				_, err := p.Register(w.ctx())
				if (err == nil) != c.ok {
					t.Fatalf("error %v", err)
				}
				ms, flows := w.registeredOver()
				if len(ms) != c.registers {
					t.Fatalf("%d REGISTERs", len(ms))
				}
				if c.fault.WrongRES {
					time.Sleep(time.Second)
					if n := len(w.sets()); n != before || flows[1].Role != sip.RoleProtectedServer {
						t.Errorf("%d sets, %v", n, flows[1])
					}
					return
				}
				if (flows[1].Role == sip.RoleProtectedServer) != c.registered || flows[1].Remote != flows[0].Remote {
					t.Errorf("refused over %v, after %v", flows[1], flows[0])
				}
				a, b := mechanism(t, ms[0], sip.HSecurityClient), mechanism(t, ms[1], sip.HSecurityClient)
				if a.SPIC == b.SPIC || a.PortC == b.PortC || a.PortS != b.PortS {
					t.Errorf("offered %v, then %v", a, b)
				}
				if ms[1].Has(sip.HSecurityVerify) != c.registered {
					t.Errorf("Security-Verify in\n%s", ms[1].Raw())
				}
				want := before
				if c.ok {
					want++
				}
				if !c.ok && c.registered {
					want = 1 // for a moment: a 403 ends the registration
				}
				if n := len(w.sets()); n != want {
					t.Errorf("%d sets, want %d", n, want)
				}
			})
		})
	}
	t.Run("a set that cannot be installed", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			w.stacks[0].refuse = errors.New("no room")
			p := w.phone(secure(aliceConfig()))
			_, err := p.Register(w.ctx())
			if err == nil || !strings.Contains(err.Error(), "no room") || len(w.registered()) != 1 {
				t.Errorf("error %v", err)
			}
			if _, err := p.Register(w.ctx()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	})
	t.Run("nobody waits any more", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			p := w.phone(secure(aliceConfig()))
			w.intercept = func(x *proxy.Exchange) bool { return x.Flow.Role == sip.RoleProtectedServer }
			ctx, cancel := context.WithTimeout(w.ctx(), time.Second)
			defer cancel()
			if _, err := p.Register(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			if n := len(w.sets()); n != 0 {
				t.Errorf("%d sets left", n)
			}
		})
	})
}

// What a P-CSCF says about the agreement, and what whoever reads it should do.
func TestAgreementRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		fields []sip.Field
		ipsec  string
		says   string
	}{
		{"421", 421, []sip.Field{{ID: sip.HRequire, Value: "sec-agree"}}, "none", "insists on IPsec: use a phone that has it"},
		{"420", 420, []sip.Field{{ID: sip.HUnsupported, Value: "sec-agree"}}, "user", "does not know sec-agree"},
		{"494", 494, []sip.Field{{ID: sip.HSecurityServer, Value: "ipsec-3gpp;alg=aes-gmac;spi-c=256;spi-s=257;port-c=1;port-s=2"}}, "user", "it has aes-gmac/null"},
		{"494, nothing agreed", 494, []sip.Field{{ID: sip.HSecurityServer, Value: "ipsec-3gpp;q=0.1;alg=aes-gmac;prot=esp;mod=trans"}}, "user", "it has ipsec-3gpp;q=0.1;alg=aes-gmac"},
		{"494 with nothing", 494, nil, "user", "no Security-Server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			gated(t, func(t *testing.T, w *world) {
				w.intercept = func(x *proxy.Exchange) bool { x.Reply(c.status, "", c.fields...); return true }
				cfg := aliceConfig()
				cfg.IPsec = c.ipsec
				_, err := w.phone(cfg).Register(w.ctx())
				var e *Error
				if !errors.As(err, &e) || e.Status != c.status || !strings.Contains(e.Next, c.says) {
					t.Errorf("error %v", err)
				}
				time.Sleep(10 * time.Minute)
				if n := len(w.registered()); n != 1 {
					t.Errorf("%d REGISTERs", n)
				}
			})
		})
	}
	auto := aliceConfig()
	auto.IPsec = "auto"
	t.Run("auto with IPsec", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			if p := w.registeredPhone(auto); p.Registration().Protection == nil {
				t.Error("in clear")
			}
		})
	})
	for _, c := range []struct {
		name  string
		knows bool
	}{{"auto without Security-Server", true}, {"auto without sec-agree", false}} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.stacks[0] = newSealed(w.hosts[0])
				w.intercept = func(x *proxy.Exchange) bool {
					if c.knows {
						x.Edits.Remove(sip.HSecurityClient)
						return false
					}
					if x.Req.HasOption(sip.HProxyRequire, "sec-agree") {
						x.Reply(420, "", sip.Field{ID: sip.HUnsupported, Value: "sec-agree"})
						return true
					}
					return false
				}
				if c.knows {
					w.noServer = true
				}
				p := w.phone(auto)
				g, err := p.Register(w.ctx())
				if err != nil || g.Protection != nil {
					t.Fatalf("%+v, %v", g, err)
				}
				time.Sleep(time.Second)
				if m := w.requests(); len(m) != 1 || m[0].Has(sip.HSecurityVerify) {
					t.Errorf("requests %v", m)
				}
				if err := p.Deregister(w.ctx()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A phone that has lost everything comes back in clear, a P-CSCF that has is asked
// in clear.
func TestLostAssociations(t *testing.T) {
	t.Run("by the phone", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			c := secure(aliceConfig())
			c.Profile = "samsung"
			p := w.registeredPhone(c)
			was := w.sets()[0]
			if err := p.Reset(); err != nil {
				t.Fatal(err)
			}
			if len(w.sets()) != 0 || p.Registration() != nil {
				t.Errorf("sets %v, registration %v", w.sets(), p.Registration())
			}
			if _, err := p.Register(w.ctx()); err != nil {
				t.Fatal(err)
			}
			ms, flows := w.registeredOver()
			if flows[0].Role != sip.RoleGm || credentials(t, ms[0]).Nonce != "" {
				t.Errorf("REGISTER over %v:\n%s", flows[0], ms[0].Raw())
			}
			// It always begins with the same ports.
			if is := w.sets()[0]; is.Local.PortC != 6301 || is.Local.PortS != 6300 || was.Local.PortC != 6301 || is.Local.SPIC == was.Local.SPIC {
				t.Errorf("%v after %v", is, was)
			}
		})
	})
	t.Run("by the P-CSCF", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			w.expires = 3600
			p := w.registeredPhone(secure(aliceConfig()))
			w.set(func() {
				w.gate.forget()
				clear(w.nonces)
				// A sealed connection outlives its set; one in ESP does not.
				w.intercept = func(x *proxy.Exchange) bool {
					return x.Flow.Role == sip.RoleProtectedServer && w.gate.find(x.Flow) == nil
				}
			})
			time.Sleep(3000*time.Second + 2*time.Minute + 10*time.Second)
			ms, flows := w.registeredOver()
			if len(ms) != 3 || flows[1].Role != sip.RoleGm || flows[2].Role != sip.RoleProtectedServer || p.Registration() == nil {
				t.Errorf("REGISTERs over %v, registration %v", flows, p.Registration())
			}
			if n := len(w.sets()); n != 1 {
				t.Errorf("%d sets", n)
			}
		})
	})
	t.Run("with the registration", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			p := w.registeredPhone(secure(aliceConfig()))
			w.tell("alice", reginfo.Rejected, 0)
			time.Sleep(5 * time.Second)
			if n := len(w.sets()); n != 0 || p.Registration() != nil {
				t.Errorf("%d sets, registration %v", n, p.Registration())
			}
		})
	})
	t.Run("with their time", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			w.expires = 600
			c := secure(aliceConfig())
			c.NoRefresh, c.NoSubscribe = true, true
			p := w.registeredPhone(c)
			time.Sleep(620 * time.Second)
			if n := len(w.sets()); n != 1 || p.Registration() != nil {
				t.Errorf("%d sets, registration %v", n, p.Registration())
			}
			time.Sleep(20 * time.Second)
			if n := len(w.sets()); n != 0 {
				t.Errorf("%d sets", n)
			}
		})
	})
	t.Run("with its address", func(t *testing.T) {
		gated(t, func(t *testing.T, w *world) {
			p := w.registeredPhone(secure(aliceConfig()))
			to := netip.MustParseAddr("192.0.2.3")
			if err := p.Move(to); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Register(w.ctx()); err != nil {
				t.Fatal(err)
			}
			_, flows := w.registeredOver()
			sets := w.sets()
			if flows[0].Remote.Addr() != to || flows[0].Role != sip.RoleGm || len(sets) != 1 || sets[0].Local.Addr != to || len(p.guard.opened) != 2 {
				t.Errorf("REGISTERs over %v, sets %v, open %v", flows, sets, p.guard.opened)
			}
		})
	})
}

// An answer whose set is gone does not leave in clear instead.
func TestAnswerWithoutSet(t *testing.T) {
	gated(t, func(t *testing.T, w *world) {
		c := secure(aliceConfig())
		c.Answer = Answer{RingFor: 10 * time.Second}
		alice, bob := w.registeredPhone(c), w.registeredPhone(secure(bobConfig()))
		call, err := bob.Dial("sip:alice@"+domain, CallOptions{No100rel: true})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-call.Ringing():
		case <-time.After(time.Minute):
			t.Fatal("it does not ring")
		}
		if err := alice.Reset(); err != nil {
			t.Fatal(err)
		}
		var leaked []string
		w.mem.SetHook(func(p memnet.Packet) memnet.Verdict {
			if p.From.Addr() == alice.Addr().Addr() && p.Kind != memnet.Finish {
				leaked = append(leaked, fmt.Sprintf("%v->%v %q", p.From, p.To, p.Data))
			}
			return memnet.Pass
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if leaked != nil {
			t.Errorf("left the phone: %s", leaked)
		}
		w.mem.SetHook(nil)
	})
}

// Calls and messages both ways over the sets; in clear a phone takes nothing.
func TestProtectedCalls(t *testing.T) {
	gated(t, func(t *testing.T, w *world) {
		alice, bob := w.registeredPhone(secure(aliceConfig())), w.registeredPhone(secure(bobConfig()))
		for _, c := range []struct {
			from *Phone
			to   string
		}{{alice, "bob"}, {bob, "alice"}} {
			call, err := c.from.Call(w.ctx(), "sip:"+c.to+"@"+domain, CallOptions{})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if err := call.Hangup(w.ctx()); err != nil {
				t.Error(err)
			}
			if err := c.from.Message(w.ctx(), "sip:"+c.to+"@"+domain, "hello"); err != nil {
				t.Error(err)
			}
		}
		for _, s := range []*sealed{w.stacks[0], w.stacks[1], w.gate.stack} {
			if len(s.drops) != 0 {
				t.Errorf("drops %v", s.drops)
			}
		}

		// In clear, from the P-CSCF's own address, nothing is taken nor answered.
		in := make(chan dialog.Outcome, 1)
		m := &dialog.Request{Method: "MESSAGE", URI: "sip:alice@" + alice.Addr().String(), From: "<sip:x@y>", To: "<sip:x@y>",
			Hop: proxy.Hop{Addr: alice.Addr(), Role: sip.RoleGm}}
		w.agent.Do(m, func(o dialog.Outcome) { in <- o })
		if o := <-in; o.Msg != nil || len(alice.Messages()) != 1 {
			t.Errorf("a MESSAGE in clear got %v; %d messages, want the one over the set", o, len(alice.Messages()))
		}
	})
}
