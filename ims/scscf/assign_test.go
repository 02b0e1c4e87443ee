package scscf

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestDeregistration(t *testing.T) {
	conformance.Shows(t, "SR-12")
	two := "Contact: <sip:a@10.0.0.1>, <sip:b@10.0.0.1>"
	tests := []struct {
		name  string
		lines []string
		left  string // in the 200 and here
	}{
		{"all, by star", []string{"Contact: *", "Expires: 0"}, ""},
		{"all, by Expires", []string{two, "Expires: 0"}, ""},
		{"all, by parameter", []string{"Contact: <sip:a@10.0.0.1>;expires=0, <sip:b@10.0.0.1>;expires=0"}, ""},
		{"one of two", []string{"Contact: <sip:b@10.0.0.1>;expires=0"}, "sip:a@10.0.0.1"},
		{"one, and another is added", []string{"Contact: <sip:a@10.0.0.1>;expires=0, <sip:c@10.0.0.1>"}, "sip:b@10.0.0.1, sip:c@10.0.0.1"},
		{"one that is not there", []string{"Contact: <sip:z@10.0.0.1>;expires=0"}, "sip:a@10.0.0.1, sip:b@10.0.0.1"},
	}
	for _, tt := range tests {
		for _, protected := range []bool{false, true} {
			if protected && strings.Contains(tt.name, "added") {
				continue // an unknown contact
			}
			t.Run(fmt.Sprint(tt.name, ", protected ", protected), func(t *testing.T) {
				atHome(t, nil, func(h *homeNet) {
					p := h.alicePhone()
					p.register(two)
					h.hss.asked()
					var m *sip.Message
					if protected {
						m = p.again(200, tt.lines...)
					} else {
						m = p.register(tt.lines...)
					}
					var got []string
					for v := range m.Values(sip.HContact) {
						a, _ := sip.ParseNameAddr(v)
						got = append(got, a.URI)
					}
					if s := strings.Join(got, ", "); s != tt.left {
						t.Errorf("the 200 lists %q, want %q", s, tt.left)
					}
					want := "SAR alice@home.test sip:alice@home.test USER_DEREGISTRATION"
					if strings.Contains(tt.name, "added") {
						want = "SAR alice@home.test sip:alice@home.test RE_REGISTRATION"
					} else if tt.left != "" {
						want = ""
					}
					h.wantAsked(want)
					if tt.left == "" && (m.Has(sip.HServiceRoute) || h.s.store.Len() != 0) {
						t.Errorf("still registered, or told so:\n%s", m.Raw())
					}
				})
			})
		}
	}
	for _, how := range []string{"silent", "refusing"} {
		t.Run("the HSS is "+how, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.register()
				if how == "silent" {
					h.hss.silent("SAR")
				} else {
					h.hss.answering("SAR", diameter.Base(diameter.UnableToComply))
				}
				began := time.Now()
				p.again(200, "Expires: 0")
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("the phone waits %v", took)
				}
				h.wantBindings("tel:+4911", "")
			})
		})
	}
}

func TestExpiry(t *testing.T) {
	conformance.Shows(t, "SR-14")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.impu = "tel:+4911" // the HSS hears of the identity that was registered
		p.register("Contact: <sip:a@10.0.0.1>;expires=600, <sip:b@10.0.0.1>;expires=1200")
		h.hss.asked()
		time.Sleep(10*time.Minute + time.Second)
		h.wantBindings("tel:+4911", "sip:b@10.0.0.1 599")
		h.wantAsked("")
		sub := h.watch(h.p2, "sip:alice@home.test", "tel:+4911")
		sub.notify()
		time.Sleep(10 * time.Minute)
		h.wantBindings("tel:+4911", "")
		h.wantAsked("SAR alice@home.test tel:+4911 TIMEOUT_DEREGISTRATION")
		sub.wantNotify("terminated noresource v1 tel:+4911=terminated[expired sip:b@10.0.0.1] sip:alice@home.test=terminated[expired sip:b@10.0.0.1] sip:+4911@home.test=terminated[expired sip:b@10.0.0.1]")
	})
}

// A profile of an unregistered user is kept for a while, and then the HSS is told.
func TestProfileOfAnUnregisteredUserEnds(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		h.unregistered(time.Hour)
		time.Sleep(time.Hour + time.Second)
		h.wantAsked("SAR carol@home.test sip:carol@home.test TIMEOUT_DEREGISTRATION")
		if h.s.store.Len() != 0 {
			t.Error("it is kept")
		}
	})
}

// unregistered puts in the profile of Carol, who is not registered, for that long.
func (h *homeNet) unregistered(keep time.Duration) *phone {
	h.t.Helper()
	p := user(nil, id("sip:carol@home.test"))
	h.hss.user("carol@home.test", p)
	reg, err := h.s.userData(string(p.Marshal()), "", "")
	if err != nil {
		h.t.Fatal(err)
	}
	reg.IMPIs, reg.Until = []string{"carol@home.test"}, time.Now().Add(keep)
	if err := h.s.store.Put(nil, reg); err != nil {
		h.t.Fatal(err)
	}
	return h.phone("carol")
}

// What runs out while its user registers: the last that the HSS hears is what is so here.
func TestRegistrationAndEndCross(t *testing.T) {
	const registers, ends = "SAR carol@home.test sip:carol@home.test REGISTRATION", "SAR carol@home.test sip:carol@home.test TIMEOUT_DEREGISTRATION"
	t.Run("he registers, and his profile ends", func(t *testing.T) {
		atHome(t, nil, func(h *homeNet) {
			p := h.unregistered(time.Minute)
			p.challenge()
			time.Sleep(59 * time.Second)
			release := h.hss.holdBack()
			p.write(p.answer())
			time.Sleep(1500 * time.Millisecond)
			h.wantAsked(registers)
			release()
			h.p.want("200")
			time.Sleep(5 * time.Second)
			h.wantAsked("")
			h.wantBindings(p.impu, "sip:carol@10.0.0.1:5060 3595")
		})
	})
	t.Run("he fails to, and his profile ends", func(t *testing.T) {
		atHome(t, nil, func(h *homeNet) {
			p := h.unregistered(time.Minute)
			p.challenge()
			time.Sleep(59 * time.Second)
			h.hss.silent("SAR")
			p.write(p.answer())
			h.p.want("504")
			h.hss.silent("")
			time.Sleep(5 * time.Second)
			h.wantAsked(registers + ", " + ends)
			if h.s.store.Len() != 0 || h.s.turns.busy(p.impi) {
				t.Error("the profile, or the turn, is kept")
			}
		})
	})
	for _, was := range []string{"profile", "registration"} {
		t.Run("his "+was+" ends, and he registers", func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.unregistered(time.Minute)
				if was == "registration" {
					p.register("Expires: 60")
					h.hss.asked()
				}
				time.Sleep(58 * time.Second)
				p.challenge()
				release := h.hss.holdBack()
				time.Sleep(2500 * time.Millisecond)
				h.wantAsked(ends)
				p.write(p.answer())
				time.Sleep(500 * time.Millisecond)
				h.wantAsked("") // it waits for its turn
				release()
				h.p.want("200")
				h.wantAsked(registers)
				h.wantBindings(p.impu, "sip:carol@10.0.0.1:5060 3600")
			})
		})
	}
}

func TestProfilesThatCannotBeUsed(t *testing.T) {
	conformance.Shows(t, "SR-17")
	tests := []struct {
		name  string
		data  string
		words string
	}{
		{"no XML", "what?", "reading the user profile"},
		{"none", "", "sent no User-Data"},
		{"no identity", `<IMSSubscription><PrivateID>a@b</PrivateID></IMSSubscription>`, "profile"},
		{"a criterion without a server", `<IMSSubscription><PrivateID>a@b</PrivateID><ServiceProfile><PublicIdentity><Identity>sip:alice@home.test</Identity></PublicIdentity>` +
			`<InitialFilterCriteria><Priority>0</Priority><ApplicationServer><ServerName>what?</ServerName></ApplicationServer></InitialFilterCriteria></ServiceProfile></IMSSubscription>`, "filter criteria"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.challenge()
				r := registration{s: h.s, impi: p.impi, impu: "sip:alice@home.test"}
				if _, err := r.registered(nil, &cx.SAA{UserData: tt.data}); err == nil || !strings.Contains(err.Error(), tt.words) {
					t.Errorf("error %v, want %q in it", err, tt.words)
				}
			})
		})
	}
	// End to end: the HSS sends none, not even to a user whose unregistered services
	// are known.
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		reg, err := h.s.userData(string(h.hss.users["alice@home.test"].Marshal()), "", "")
		if err != nil {
			t.Fatal(err)
		}
		reg.Until = time.Now().Add(time.Hour)
		if err := h.s.store.Put(nil, reg); err != nil {
			t.Fatal(err)
		}
		h.hss.answering("SAR", diameter.Base(diameter.Success))
		h.why(p.registerTo(500), "the HSS sent no User-Data")
		h.wantBindings("tel:+4911", "")
		h.wantAsked("SAR alice@home.test sip:alice@home.test REGISTRATION, SAR alice@home.test sip:alice@home.test ADMINISTRATIVE_DEREGISTRATION")
		h.hss.silent("")
		p.register()
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600")
	})
}

// Identities that another set holds already.
func TestIdentitiesOfAnotherSet(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		h.hss.user("bob@home.test", user(nil, id("sip:bob@home.test"), id("tel:+4911")))
		bob := h.phone("bob")
		h.hss.asked()
		h.why(bob.registerTo(403), "has tel:+4911, which is registered with alice@home.test")
		h.wantAsked("SAR bob@home.test sip:bob@home.test REGISTRATION, SAR bob@home.test sip:bob@home.test ADMINISTRATIVE_DEREGISTRATION")
		h.wantBindings("sip:bob@home.test", "")
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600")

		// The number moves when it is free.
		p.again(200, "Expires: 0")
		bob.register()
		h.wantBindings("tel:+4911", "sip:bob@10.0.0.1:5060 3600")

		// The HSS has joined two sets of one subscription.
		h.hss.user("carol@home.test", user(nil, id("sip:carol@home.test")))
		carol := h.phone("carol")
		carol.register()
		h.hss.user("carol@home.test", user(nil, id("sip:c2@home.test"), id("sip:carol@home.test")))
		carol.impu = "sip:c2@home.test"
		carol.register()
		h.wantBindings("sip:carol@home.test", "sip:carol@10.0.0.1:5060 3600")
	})
}

// Two private identities share a public one: each is the HSS's business by itself.
func TestTwoPhonesOfOneIdentity(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		h.hss.user("desk@home.test", user(nil, barred("sip:imsi@home.test"), id("tel:+4911"), id("sip:alice@home.test"), id("sip:+4911@home.test")))
		desk := h.phone("desk")
		desk.impu = p.impu
		p.register()
		desk.register("Expires: 600")
		h.wantAsked("SAR alice@home.test sip:alice@home.test REGISTRATION, SAR desk@home.test sip:alice@home.test REGISTRATION")
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600, sip:desk@10.0.0.1:5060 600")
		time.Sleep(11 * time.Minute)
		h.wantAsked("SAR desk@home.test sip:alice@home.test TIMEOUT_DEREGISTRATION")
		desk.register()
		h.hss.asked()
		desk.again(200, "Contact: *", "Expires: 0") // his own contacts
		h.wantAsked("SAR desk@home.test sip:alice@home.test USER_DEREGISTRATION")
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 2940")
		desk.challenge() // and what he does not answer is his as well
		time.Sleep(5 * time.Minute)
		h.wantAsked("SAR desk@home.test sip:alice@home.test AUTHENTICATION_TIMEOUT")
	})
}

// REGISTERs of one user on different shards: the HSS hears of them one by one.
func TestTurns(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		var all []*phone
		for i := range maxWaiting + 2 {
			one := *p
			one.callID, one.contact = sip.NewCallID(), fmt.Sprintf("<sip:a@10.0.2.%d>", i)
			all = append(all, &one)
		}
		p.register()
		nonce := p.nonce
		release := h.hss.holdBack()
		h.hss.asked()
		for _, one := range all {
			one.nonce, one.protected, one.contact = nonce, "yes", p.contact
			one.write(one.answer())
		}
		time.Sleep(time.Second)
		h.wantAsked("SAR alice@home.test sip:alice@home.test RE_REGISTRATION")
		h.why(h.p.want("500"), "wait for each other")
		release()
		for range len(all) - 1 {
			h.p.want("200")
		}
		if h.s.turns.busy(p.impi) {
			t.Error("somebody keeps the turn")
		}
	})
}

// The HSS is silent: whoever has the turn gives it up.
func TestTurnsWhileTheHSSIsSilent(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		h.hss.silent("SAR")
		p.again(504)
		h.hss.silent("")
		p.again(200)
	})
}

// A REGISTER and the end of the registration by the network cross.
func TestRegistrationEndsWhileItIsRefreshed(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register("Expires: 60")
		h.hss.asked()
		release := h.hss.holdBack()
		time.Sleep(59500 * time.Millisecond)
		p.protected = "yes"
		p.write(p.answer())
		time.Sleep(1500 * time.Millisecond) // it would have run out: the refresh counts
		release()
		h.p.want("200")
		h.wantAsked("SAR alice@home.test sip:alice@home.test RE_REGISTRATION")
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600")

		// An RTR in between: the HSS is asked as for a first registration.
		release = h.hss.holdBack()
		p.write(p.answer())
		time.Sleep(100 * time.Millisecond)
		h.hss.rtr(&cx.RTR{UserName: p.impi, Reason: cx.DeregistrationReason{Code: cx.ServerChange}})
		release()
		h.p.want("200")
		h.wantAsked("SAR alice@home.test sip:alice@home.test RE_REGISTRATION, SAR alice@home.test sip:alice@home.test REGISTRATION")
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600")
	})
}

// An HSS that has lost its memory refuses the refresh; the registration is made anew.
// Whatever else it refuses, it is asked once.
func TestHSSThatHasForgotten(t *testing.T) {
	const refresh, anew = "SAR alice@home.test sip:alice@home.test RE_REGISTRATION", "SAR alice@home.test sip:alice@home.test REGISTRATION"
	tests := []struct {
		name   string
		result diameter.Result
		status int
		asked  string
	}{
		{"not registered", cx.ErrorIdentityNotRegistered.Result(), 200, refresh + ", " + anew},
		{"an error in the assignment", cx.ErrorInAssignmentType.Result(), 200, refresh + ", " + anew},
		{"too busy", diameter.Base(diameter.TooBusy), 503, refresh},
		{"a fault of its own", diameter.Base(diameter.UnableToComply), 500, refresh},
		{"an unknown user", cx.ErrorUserUnknown.Result(), 403, refresh},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.register()
				h.hss.asked()
				h.hss.mu.Lock()
				n := 0
				h.hss.before = func(command, _ string) (diameter.Result, bool) {
					if command == "SAR" {
						if n++; n == 1 {
							return tt.result, false
						}
					}
					return diameter.Result{}, false
				}
				h.hss.mu.Unlock()
				p.again(tt.status)
				h.wantAsked(tt.asked)
			})
		})
	}
}

// This S-CSCF has lost its memory: phones need do nothing but go on.
func TestRestart(t *testing.T) {
	conformance.Partly(t, "RS-05")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		sub := h.watch(h.p2, "sip:alice@home.test", "sip:alice@home.test")
		sub.notify()
		h.stop()
		h.start(node.Deps{Log: h.s.verdicts.Log, Trace: h.s.verdicts.Trace})

		sub.subscribe(481) // a refresh in the lost dialog
		p.protected = "yes"
		p.challenged(p.send(401, p.answer())) // a refresh: challenged, as nobody knows the phone
		p.send(200, p.answer())
		h.wantBindings("tel:+4911", "sip:alice@10.0.0.1:5060 3600")

		p.protected = ""
		p.challenge()
		h.stop()
		h.start(node.Deps{Log: h.s.verdicts.Log, Trace: h.s.verdicts.Trace})
		p.challenged(p.send(401, p.answer())) // the challenge is lost
		p.send(200, p.answer())

		h.stop()
		h.start(node.Deps{Log: h.s.verdicts.Log, Trace: h.s.verdicts.Trace})
		h.hss.asked()
		p.challenged(p.send(401, p.answer(), "Expires: 0")) // the phone is switched off
		p.send(200, p.answer(), "Expires: 0")
		h.wantAsked("SAR alice@home.test sip:alice@home.test USER_DEREGISTRATION")
	})
}

func TestBounds(t *testing.T) {
	t.Run("challenges", func(t *testing.T) {
		atHome(t, nil, func(h *homeNet) {
			h.s.challenges.max = 2
			var phones []*phone
			for i := range 4 {
				name := fmt.Sprint("u", i)
				h.hss.user(name+"@home.test", user(nil, id("sip:"+name+"@home.test")))
				phones = append(phones, h.phone(name))
				phones[i].challenge()
			}
			if n := h.s.challenges.len(); n != 2 {
				t.Errorf("%d challenges are kept", n)
			}
			h.wantAsked("SAR u0@home.test sip:u0@home.test AUTHENTICATION_TIMEOUT, SAR u1@home.test sip:u1@home.test AUTHENTICATION_TIMEOUT")
			for _, p := range phones[2:] { // whose challenges have not given way
				p.send(200, p.answer())
			}
			p := phones[0]
			p.challenged(p.send(401, p.answer())) // challenged anew
			p.send(200, p.answer())
		})
	})
	t.Run("users", func(t *testing.T) {
		atHome(t, func(c *Config) { c.MaxUsers = 1 }, func(h *homeNet) {
			p := h.alicePhone()
			p.register()
			h.hss.user("bob@home.test", user(nil, id("sip:bob@home.test")))
			h.hss.asked()
			m := h.phone("bob").registerTo(503)
			h.why(m, "No room for another registered user")
			h.header(m, sip.HRetryAfter, "30")
			h.wantAsked("SAR bob@home.test sip:bob@home.test REGISTRATION, SAR bob@home.test sip:bob@home.test ADMINISTRATIVE_DEREGISTRATION")
			p.again(200)
		})
	})
}

// Calls to as many names as a wildcard stands for are served, and leave the registrar to
// those who register.
func TestCallsDoNotFillTheRegistrar(t *testing.T) {
	atHome(t, func(c *Config) { c.MaxUsers = 16 }, func(h *homeNet) {
		psi := profile.PublicIdentity{Identity: "sip:room!.*!@home.test", Type: profile.WildcardedPSI, Wildcard: "sip:room!.*!@home.test", PriorityLevel: -1}
		h.hss.user("", user([]profile.InitialFilterCriteria{to(1, "sip:as1.home.test", terminated, in(profile.TerminatingUnregistered))}, psi))
		for i := range 40 {
			h.i.send("MESSAGE", fmt.Sprintf("sip:room%d@home.test", i))
			h.as1.reply(h.as1.want("MESSAGE"), 200)
			h.i.want("200")
		}
		if n := h.s.store.Len(); n != 2 {
			t.Errorf("%d sets are kept of users who are not registered", n)
		}
		for i := range h.cfg.MaxUsers {
			name := fmt.Sprint("u", i)
			h.hss.user(name+"@home.test", user(nil, id("sip:"+name+"@home.test")))
			h.phone(name).register()
		}
	})
}

// Nothing is sent, and nothing hangs, when the S-CSCF ends in the middle.
func TestEndInTheMiddle(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		p.challenge()
		h.watch(h.p2, "sip:alice@home.test", "sip:alice@home.test").notify()
		h.hss.silent("SAR")
		p.write(p.answer())
		time.Sleep(10 * time.Millisecond)
		h.stop()
		synctest.Wait()
		h.stop = func() {}
		if _, after := h.s.take("tel:+4911", registrar.Expired, func(registrar.Binding) bool { return true }); after != nil {
			t.Error("contacts are left")
		}
	})
}

// The HSS answers after the REGISTER has been given up: he is registered, and no 200 is
// counted that was never sent.
func TestAnswerThatIsTooLate(t *testing.T) {
	atHome(t, func(c *Config) { c.Diameter.Timeout = node.Duration(20 * time.Second) }, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		p.protected = "yes"
		h.hss.silent("SAR")
		p.write(p.answer())
		p.write(p.answer()) // waits for its turn
		time.Sleep(10 * time.Second)
		h.hss.silent("")
		release := h.hss.holdBack()
		h.p.want("504")
		h.p.want("500") // so long after it came
		release()
		time.Sleep(time.Second)
		h.wantBindings(aliceTel, aliceAt+" 3599")
		for status, want := range map[string]float64{"200": 1, "401": 1, "504": 1} {
			if n := testutil.ToFloat64(h.s.metrics.registers.WithLabelValues(status)); n != want {
				t.Errorf("%v answers with %s are counted, want %v", n, status, want)
			}
		}
	})
}
