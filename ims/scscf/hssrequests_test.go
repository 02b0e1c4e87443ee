package scscf

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// Who is gone after an RTR. What phones hear of it: TestRegistrationEndsForSubscribers.
func TestRTR(t *testing.T) {
	conformance.Shows(t, "CX-21", "CX-22", "SR-18")
	const alice, desk = "alice@home.test", "desk@home.test"
	both := []string{alice, desk}
	tests := []struct {
		name    string
		code    cx.ReasonCode
		user    string
		more    []string // Associated-Identities
		impus   []string
		gone    []string // private identities
		gone2   bool     // Alice's other set as well
		already bool     // nothing is registered
	}{
		{name: "a user for good", code: cx.PermanentTermination, user: alice, gone: []string{alice}, gone2: true},
		{name: "and those who share with him", code: cx.PermanentTermination, user: alice, more: []string{desk}, gone: both, gone2: true},
		{name: "by an identity that is not of the set", code: cx.PermanentTermination, user: alice, impus: []string{"sip:imsi@elsewhere.test"}, gone: []string{alice}, gone2: true},
		{name: "in another form of his name", code: cx.PermanentTermination, user: "alice@HOME.test", gone: []string{alice}, gone2: true},
		{name: "a set moved", code: cx.NewServerAssigned, user: alice, impus: []string{"tel:+49-11", aliceSIP}, gone: both},
		{name: "to select another server", code: cx.ServerChange, user: alice, impus: []string{aliceSIP}, gone: both},
		{name: "all his sets", code: cx.ServerChange, user: alice, gone: both, gone2: true},
		{name: "a server removed", code: cx.RemoveSCSCF, user: alice, impus: []string{aliceNumber}, gone: both},
		{name: "nobody", code: cx.PermanentTermination, user: "nobody@home.test"},
		{name: "nothing that can be read", code: cx.ServerChange, user: "?", impus: []string{"?"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.register()
				h.hss.user(desk, user(nil, barred("sip:imsi@home.test"), id(aliceTel), id(aliceSIP), id(aliceNumber)))
				d := h.phone("desk")
				d.impu = p.impu
				d.register()
				h.hss.user(alice, user(nil, id("sip:work@home.test")))
				work := h.phone("alice")
				work.impu, work.contact = "sip:work@home.test", "<sip:alice@10.0.0.1:5060>"
				work.register()
				h.hss.asked()

				q := &cx.RTR{UserName: tt.user, PublicIdentities: tt.impus, Reason: cx.DeregistrationReason{Code: tt.code, Info: "why not"}}
				if tt.more != nil {
					q.AssociatedIdentities = &cx.Identities{UserNames: tt.more}
				}
				a := h.hss.rtr(q)
				if a.Result != diameter.Base(diameter.Success) {
					t.Errorf("RTA %v", a.Result)
				}
				var gone []string
				if a.AssociatedIdentities != nil {
					gone = a.AssociatedIdentities.UserNames
				}
				if !slices.Equal(gone, tt.gone) || len(a.Emergency) != 0 {
					t.Errorf("the RTA names %v, want %v; and %v", gone, tt.gone, a.Emergency)
				}
				reg := h.s.store.Get(aliceSIP)
				for _, impi := range both {
					if reg.Has(impi) == slices.Contains(tt.gone, impi) {
						t.Errorf("%s is registered: %t", impi, reg.Has(impi))
					}
				}
				if h.s.store.Get("sip:work@home.test").Registered() == tt.gone2 {
					t.Errorf("the other set is registered: %t", !tt.gone2)
				}
				h.wantAsked("") // the HSS knows already
				h.told(trace.State, "The HSS ends the registration of "+tt.user+": "+tt.code.String())
			})
		})
	}
	t.Run("an emergency registration stays", func(t *testing.T) {
		atHome(t, nil, func(h *homeNet) {
			p := h.alicePhone()
			p.register("Contact: <sip:alice@10.0.0.1:5060>;" + imei1)
			p.register("Contact: <sip:alice@10.0.0.1:5060;sos>;" + imei1)
			a := h.hss.rtr(&cx.RTR{UserName: alice, PublicIdentities: []string{aliceTel, aliceSIP}, Reason: cx.DeregistrationReason{Code: cx.ServerChange}})
			if len(a.Emergency) != 1 || a.Emergency[0] != (cx.EmergencyRegistration{UserName: alice, PublicIdentity: aliceTel}) {
				t.Errorf("RTA %+v", a)
			}
			h.wantBindings(aliceSIP, "sip:alice@10.0.0.1:5060;sos 3600")
		})
	})
}

func TestPPR(t *testing.T) {
	conformance.Shows(t, "SR-19", "CX-23")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		sub := h.watch(h.p2, aliceSIP, aliceTel)
		sub.notify()
		push := func(data []byte) diameter.Result {
			return h.hss.ppr(&cx.PPR{UserName: p.impi, UserData: string(data)}).Result
		}
		ok := diameter.Base(diameter.Success)

		// An identity goes, another comes; the contacts stay, and the next INVITE
		// visits the new server.
		h.hss.user(p.impi, user([]profile.InitialFilterCriteria{to(0, "sip:as1.home.test", continued, profile.SPT{Kind: profile.MethodSPT, Text: "INVITE"})},
			barred("sip:imsi@home.test"), id(aliceSIP), id(aliceNumber), id("sip:new@home.test")))
		data := h.hss.users[p.impi].Marshal()
		before := h.has(aliceSIP)
		if r := push(data); r != ok {
			t.Fatalf("PPA %v", r)
		}
		if before.Profile == h.has(aliceSIP).Profile || before.Default().Key != aliceSIP {
			t.Error("the profile that calls in progress hold has been changed")
		}
		sub.wantNotify("active v1 " + aliceSIP + "[registered " + aliceAt + " 3600] " + aliceNumber + "[created " + aliceAt + " 3600] sip:new@home.test[created " + aliceAt + " 3600] " +
			aliceTel + "=terminated[deactivated " + aliceAt + "]")
		h.wantBindings("sip:new@home.test", aliceAt+" 3600")
		h.wantBindings(aliceTel, "")
		h.p.call("sip:bob@home.test", "To: <sip:bob@home.test>")
		h.as1.want("INVITE")

		// The subscriber to the identity that went hears what follows.
		p.again(200)
		refreshed := "[refreshed " + aliceAt + " 3600]"
		sub.wantNotify("active v2 " + aliceSIP + refreshed + " " + aliceNumber + refreshed + " sip:new@home.test" + refreshed)

		// What cannot be used leaves everything as it was.
		for name, tt := range map[string]struct {
			user string
			data []byte
			want diameter.Result
		}{
			"unknown user":     {"nobody@home.test", data, cx.ErrorUserUnknown.Result()},
			"another's set":    {p.impi, user(nil, id("sip:other@home.test")).Marshal(), cx.ErrorUserUnknown.Result()},
			"no XML":           {p.impi, []byte("what?"), cx.ErrorNotSupportedUserData.Result()},
			"a bad criterion":  {p.impi, user([]profile.InitialFilterCriteria{to(0, "what?", continued)}, id(aliceSIP)).Marshal(), cx.ErrorNotSupportedUserData.Result()},
			"nothing":          {p.impi, nil, ok},
			"nothing for whom": {"nobody@home.test", nil, cx.ErrorUserUnknown.Result()},
		} {
			if r := h.hss.ppr(&cx.PPR{UserName: tt.user, UserData: string(tt.data)}).Result; r != tt.want {
				t.Errorf("%s: PPA %v, want %v", name, r, tt.want)
			}
		}
		h.wantBindings("sip:new@home.test", aliceAt+" 3600")
		h.p2.nothing()

		// An identity of somebody else's set.
		h.hss.user("bob@home.test", user(nil, id("sip:bob@home.test")))
		h.phone("bob").register()
		if r := push(user(nil, id(aliceSIP), id("sip:bob@home.test")).Marshal()); r != diameter.Base(diameter.UnableToComply) {
			t.Errorf("PPA %v", r)
		}
	})
	// A profile without the identity that registered, as some HSSes have it: the
	// phone's next REGISTER is a refresh.
	atHome(t, nil, func(h *homeNet) {
		h.hss.user("imsi@home.test", user(nil, id(aliceSIP)))
		p := h.phone("imsi")
		p.register()
		h.hss.ppr(&cx.PPR{UserName: p.impi, UserData: string(user(nil, id(aliceSIP), id(aliceTel)).Marshal())})
		h.hss.asked()
		m := p.again(200)
		h.header(m, sip.HPAssociatedURI, "<"+aliceSIP+"> | <"+aliceTel+">")
		h.wantAsked("SAR imsi@home.test sip:imsi@home.test RE_REGISTRATION")
	})
	// A user whose unregistered services are known here.
	atHome(t, nil, func(h *homeNet) {
		reg, err := h.s.userData(string(user(nil, id("sip:carol@home.test")).Marshal()), "", "")
		if err != nil {
			t.Fatal(err)
		}
		reg.IMPIs, reg.Until = []string{"carol@home.test"}, time.Now().Add(time.Hour)
		if err := h.s.store.Put(nil, reg); err != nil {
			t.Fatal(err)
		}
		a := h.hss.ppr(&cx.PPR{UserName: "carol@home.test", UserData: string(user(nil, id("sip:carol@home.test"), id("tel:+4933")).Marshal())})
		if now := h.s.store.Get("tel:+4933"); a.Result != diameter.Base(diameter.Success) || now == nil || !now.Until.Equal(reg.Until) {
			t.Errorf("PPA %v, %+v", a.Result, now)
		}
	})
}

// sharing are alice's phone and another one, whose private identity shares her set.
func (h *homeNet) sharing() (p, desk *phone) {
	p = h.alicePhone()
	h.hss.user("desk@home.test", user(nil, barred("sip:imsi@home.test"), id(aliceTel), id(aliceSIP), id(aliceNumber)))
	desk = h.phone("desk")
	desk.impu = p.impu
	return p, desk
}

// An RTR while the registration that it is about is under way.
func TestRTRForARegistrationUnderWay(t *testing.T) {
	const asked = "SAR alice@home.test sip:alice@home.test REGISTRATION"
	tests := []struct {
		name    string
		contact string
		rtr     cx.RTR
		gone    bool // the HSS knows him no more
		status  int
		asked   string
		bound   string
	}{
		{"for good", aliceAt, cx.RTR{UserName: "alice@home.test"}, true, 403, asked + ", " + asked, ""},
		{"among others", aliceAt, cx.RTR{UserName: "desk@home.test", AssociatedIdentities: &cx.Identities{UserNames: []string{"alice@HOME.test"}}}, true, 403, asked + ", " + asked, ""},
		{"to select another server", aliceAt, cx.RTR{UserName: "alice@home.test", Reason: cx.DeregistrationReason{Code: cx.ServerChange}}, false, 200, asked + ", " + asked, aliceAt + " 3600"},
		{"with another server already", aliceAt, cx.RTR{UserName: "alice@home.test", Reason: cx.DeregistrationReason{Code: cx.NewServerAssigned}}, false, 500, asked, ""},
		{"away from this server", aliceAt, cx.RTR{UserName: "alice@home.test", Reason: cx.DeregistrationReason{Code: cx.RemoveSCSCF}}, false, 500, asked, ""},
		{"of another user", aliceAt, cx.RTR{UserName: "desk@home.test"}, false, 200, asked, aliceAt + " 3600"},
		{"for an emergency", aliceAt + ";sos", cx.RTR{UserName: "alice@home.test"}, true, 200, asked, aliceAt + ";sos 3600"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.contact = "<" + tt.contact + ">"
				p.challenge()
				release := h.hss.holdBack()
				p.write(p.answer())
				time.Sleep(100 * time.Millisecond)
				if tt.gone {
					h.hss.mu.Lock()
					delete(h.hss.users, p.impi)
					h.hss.mu.Unlock()
				}
				if a := h.hss.rtr(&tt.rtr); a.Result != diameter.Base(diameter.Success) {
					t.Errorf("RTA %v", a.Result)
				}
				release()
				h.p.want(fmt.Sprint(tt.status))
				h.wantAsked(tt.asked)
				h.wantBindings(aliceSIP, tt.bound)
				if h.s.turns.busy(p.impi) || len(h.s.turns.ended) != 0 {
					t.Error("the turn, or the mark of the end, is kept")
				}

				// What has been is no matter of the next.
				h.hss.user(p.impi, user(nil, id(aliceSIP)))
				p.register()
				h.wantBindings(aliceSIP, tt.contact+" 3600")
			})
		})
	}
	// It is a refresh that is under way, whatever the HSS says to it.
	for _, said := range []diameter.Result{diameter.Base(diameter.Success), cx.ErrorIdentityNotRegistered.Result(), diameter.Base(diameter.UnableToComply)} {
		for _, by := range [][]string{nil, {aliceSIP}} {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.register()
				h.hss.asked()
				release := h.hss.holdBack()
				if said != diameter.Base(diameter.Success) {
					h.hss.answering("SAR", said)
				}
				p.protected = "yes"
				p.write(p.answer())
				time.Sleep(100 * time.Millisecond)
				h.hss.rtr(&cx.RTR{UserName: p.impi, PublicIdentities: by, Reason: cx.DeregistrationReason{Code: cx.NewServerAssigned}})
				release()
				h.why(h.p.want("500"), "to another S-CSCF")
				h.wantAsked("SAR alice@home.test sip:alice@home.test RE_REGISTRATION")
				h.wantBindings(aliceSIP, "")
				h.hss.silent("")
				p.register() // the mark is not kept
			})
		}
	}
	// And with a profile that cannot be used: it is not taken back.
	atHome(t, nil, func(h *homeNet) {
		h.hss.user("alice@"+home, user(nil, barred(aliceSIP)))
		p := h.phone("alice")
		p.challenge()
		release := h.hss.holdBack()
		p.write(p.answer())
		time.Sleep(100 * time.Millisecond)
		h.hss.rtr(&cx.RTR{UserName: p.impi, Reason: cx.DeregistrationReason{Code: cx.NewServerAssigned}})
		release()
		h.p.want("500")
		h.wantAsked("SAR alice@home.test sip:alice@home.test REGISTRATION")
	})
	// A set is ended while one of two who share it refreshes his contact; the other has
	// registered it anew when the SAA comes.
	atHome(t, nil, func(h *homeNet) {
		p, desk := h.sharing()
		p.register()
		desk.register()
		h.hss.asked()
		release := h.hss.holdBack()
		desk.protected = "yes"
		desk.write(desk.answer())
		time.Sleep(100 * time.Millisecond)
		h.hss.letThrough()
		h.hss.rtr(&cx.RTR{UserName: p.impi, PublicIdentities: []string{aliceSIP}, Reason: cx.DeregistrationReason{Code: cx.ServerChange}})
		p.register()
		release()
		h.p.want("200")
		h.wantAsked("SAR desk@home.test sip:alice@home.test RE_REGISTRATION, SAR alice@home.test sip:alice@home.test REGISTRATION, SAR desk@home.test sip:alice@home.test REGISTRATION")
	})
}

// A PPR while the SAA is under way that still has the old profile.
func TestPPRForARegistrationUnderWay(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.challenge()
		release := h.hss.holdBack()
		p.write(p.answer())
		time.Sleep(100 * time.Millisecond)
		time.AfterFunc(time.Second, release)
		began := time.Now()
		a := h.hss.ppr(&cx.PPR{UserName: "alice@HOME.test", UserData: string(user(nil, id(aliceSIP), id("sip:new@home.test")).Marshal())})
		if took := time.Since(began); a.Result != diameter.Base(diameter.Success) || took < time.Second {
			t.Errorf("PPA %v after %v", a.Result, took)
		}
		h.p.want("200")
		h.wantBindings("sip:new@home.test", aliceAt+" 3600")
		h.wantBindings(aliceTel, "")
		if h.s.turns.busy(p.impi) {
			t.Error("the PPR keeps the turn")
		}
	})
	// It is of a user who shares the set with the one who registers.
	atHome(t, nil, func(h *homeNet) {
		p, desk := h.sharing()
		p.register()
		desk.challenge()
		h.hss.asked()
		release := h.hss.holdBack()
		desk.write(desk.answer())
		time.Sleep(100 * time.Millisecond)
		if a := h.hss.ppr(&cx.PPR{UserName: p.impi, UserData: string(user(nil, id(aliceSIP), id("sip:new@home.test")).Marshal())}); a.Result != diameter.Base(diameter.Success) {
			t.Errorf("PPA %v", a.Result)
		}
		release()
		h.header(h.p.want("200"), sip.HPAssociatedURI, "<"+aliceSIP+"> | <sip:new@home.test>")
		h.wantAsked("SAR desk@home.test sip:alice@home.test REGISTRATION")
		if reg := h.has("sip:new@home.test"); len(reg.Bindings) != 2 || h.s.store.Get(aliceTel) != nil {
			t.Errorf("%d contacts, want two, and by the new profile alone", len(reg.Bindings))
		}
		if h.s.turns.busy(desk.impi) || len(h.s.turns.ended) != 0 {
			t.Error("the turn, or the mark, is kept")
		}
	})
	// The HSS has many to say: what cannot wait is refused, and the last that was taken is
	// what is.
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		release := h.hss.holdBack()
		p.protected = "yes"
		p.write(p.answer())
		time.Sleep(100 * time.Millisecond)
		answers := make(chan diameter.Result, maxWaiting+1)
		for i := range maxWaiting + 1 {
			q := &cx.PPR{UserName: p.impi, UserData: string(user(nil, id(aliceSIP), id(fmt.Sprintf("sip:n%d@home.test", i))).Marshal())}
			q.RequestHeader = pushTo
			h.hss.client.PPR(time.Time{}, q, func(a *cx.PPA, _ error) { answers <- a.Result })
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		if n := len(answers); n != 1 {
			t.Errorf("%d have been answered", n)
		}
		if r := <-answers; r != diameter.Base(diameter.TooBusy) {
			t.Errorf("PPA %v, while so many wait", r)
		}
		release()
		for range maxWaiting {
			if r := <-answers; r != diameter.Base(diameter.Success) {
				t.Errorf("PPA %v", r)
			}
		}
		h.p.want("200")
		h.wantBindings(fmt.Sprintf("sip:n%d@home.test", maxWaiting-1), aliceAt+" 3600")
	})
}

// Answers as HSSes in use give them (see the commands' own tests for AVPs).
func TestHSSesInUse(t *testing.T) {
	tests := []struct {
		name   string
		fail   string
		result diameter.Result
		status int
		why    string
	}{
		// Open5GS wraps base codes: 5005 is a missing AVP there.
		{"a base code in Experimental-Result", "SAR", cx.ErrorIdentityAlreadyRegistered.Result(), 403, "another S-CSCF serves"},
		{"association lost by a restart", "MAR", cx.ErrorIdentitiesDontMatch.Result(), 403, "do not belong together"},
		{"association lost by a restart, at the SAR", "SAR", cx.ErrorIdentityNotRegistered.Result(), 500, "The HSS refused"},
		{"its database fails", "MAR", cx.ErrorInAssignmentType.Result(), 500, "The HSS refused"},
		{"an exception", "MAR", cx.TransientUserDataNotAvailable.Result(), 500, "The HSS refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				h.hss.answering(tt.fail, tt.result)
				var m *sip.Message
				if tt.fail == "SAR" {
					m = p.registerTo(tt.status)
				} else {
					m = p.send(tt.status, p.digest("", nil))
				}
				h.why(m, tt.why)
				h.wantBindings(aliceSIP, "")
			})
		})
	}
}
