package scscf

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

const (
	aliceSIP, aliceTel, aliceNumber = "sip:alice@home.test", "tel:+4911", "sip:+4911@home.test"
	aliceAt                         = "sip:alice@10.0.0.1:5060"
)

// state is what documents say of Alice's identities: the one that she registers and
// the others.
func state(of string, registers, others string) string {
	return of + " " + aliceTel + others + " " + aliceSIP + registers + " " + aliceNumber + others
}

func TestWhoMayWatch(t *testing.T) {
	conformance.Partly(t, "RE-01")
	const asserted, passed = "P-Asserted-Identity", "Via: SIP/2.0/UDP 198.51.100.9;branch=z9hG4bKother"
	tests := []struct {
		name   string
		lines  []string // in place of From and P-Asserted-Identity
		ruri   string
		status int
		why    string
	}{
		{"the user", []string{asserted + ": <" + aliceSIP + ">"}, aliceSIP, 200, ""},
		{"by another identity", []string{asserted + ": <tel:+49-11>"}, aliceSIP, 200, ""},
		{"of another identity", []string{asserted + ": <" + aliceSIP + ">"}, aliceTel, 200, ""},
		{"of a number as a URI", []string{asserted + ": <" + aliceSIP + ">"}, "sip:+49-11@home.test;user=phone", 200, ""},
		{"the second name asserted", []string{asserted + ": <sip:x@home.test>, <" + aliceTel + ">"}, aliceSIP, 200, ""},
		{"the P-CSCF", []string{asserted + ": <sip:192.0.2.1:5060>"}, aliceSIP, 200, ""},
		{"the P-CSCF without assertion", []string{"From: <sip:192.0.2.1>;tag=1"}, aliceSIP, 200, ""},
		{"the P-CSCF, through the I-CSCF", []string{passed, asserted + ": <sip:192.0.2.1:5060>"}, aliceSIP, 200, ""},
		{"an application server", []string{asserted + ": <sip:as1.home.test>"}, aliceSIP, 200, ""},
		{"a user of an application server", []string{asserted + ": <sip:mmtel@as1.home.test>"}, aliceSIP, 200, ""},
		{"an application server in the home domain", []string{asserted + ": <sip:conference@home.test>"}, aliceSIP, 200, ""},
		{"another P-CSCF", []string{asserted + ": <sip:192.0.2.3>"}, aliceSIP, 403, "sip:192.0.2.3 may not watch the registration of sip:alice@home.test"},
		{"somebody at the P-CSCF", []string{asserted + ": <sip:eve@192.0.2.1>"}, aliceSIP, 403, "may not watch"},
		{"another user", []string{asserted + ": <sip:eve@home.test>"}, aliceSIP, 403, "sip:eve@home.test may not watch"},
		{"another user who says he is the user", []string{asserted + ": <sip:eve@home.test>", "From: <" + aliceSIP + ">;tag=1"}, aliceSIP, 403, "sip:eve@home.test may not watch"},
		{"whoever says so, through the I-CSCF", []string{passed, "From: <" + aliceSIP + ">;tag=1"}, aliceSIP, 403, "somebody whom nobody vouches for may not watch"},
		{"a P-CSCF that says so, through the I-CSCF", []string{passed, "From: <sip:192.0.2.1>;tag=1"}, aliceSIP, 403, "may not watch"},
		{"a barred identity", []string{asserted + ": <sip:imsi@home.test>"}, aliceSIP, 403, "may not watch"},
		{"another application server", []string{asserted + ": <sip:as9.home.test>"}, aliceSIP, 403, "may not watch"},
		{"nobody", []string{"From: <mailto:x>;tag=1"}, aliceSIP, 403, "may not watch"},
		{"a user who is not registered", []string{asserted + ": <sip:bob@home.test>"}, "sip:bob@home.test", 480, "sip:bob@home.test is not registered here"},
		{"a phone that thinks it is registered", []string{alongSR, asserted + ": <sip:bob@home.test>"}, "sip:bob@home.test", 504, "is not registered here"},
		{"another event", []string{"Event: presence", asserted + ": <" + aliceSIP + ">"}, "sip:x@elsewhere.test", 404, "names no user"},
	}
	atHome(t, nil, func(h *homeNet) {
		h.hss.user("alice@home.test", user([]profile.InitialFilterCriteria{to(0, "sip:as1.home.test", continued, profile.SPT{Kind: profile.MethodSPT, Text: "INVITE"}),
			to(1, "sip:conference@home.test", continued, profile.SPT{Kind: profile.MethodSPT, Text: "INVITE"})},
			barred("sip:imsi@home.test"), id(aliceTel), id(aliceSIP), id(aliceNumber)))
		h.phone("alice").register()
		for _, tt := range tests {
			lines := append([]string{"Expires: 0"}, tt.lines...)
			if !strings.Contains(strings.Join(lines, "\n"), "Event:") {
				lines = append(lines, "Event: reg")
			}
			raw := "SUBSCRIBE " + tt.ruri + " SIP/2.0\r\nVia: " + h.p2.via() + "\r\nMax-Forwards: 68\r\nTo: <" + tt.ruri + ">\r\nCall-ID: " + sip.NewCallID() +
				"\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:" + h.p2.addr + ">\r\n"
			if !strings.Contains(strings.Join(lines, "\n"), "From:") {
				lines = append(lines, "From: <sip:x@y.test>;tag=1")
			}
			h.p2.write([]byte(raw + strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"))
			t.Run(tt.name, func(t *testing.T) {
				m := h.p2.want(fmt.Sprint(tt.status))
				if tt.status == 200 {
					h.p2.reply(h.p2.want("NOTIFY"), 200)
				} else {
					h.why(m, tt.why)
				}
			})
		}
		time.Sleep(time.Minute)
		if n := h.s.watchers.len() + h.s.agent.Dialogs(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

func TestSubscription(t *testing.T) {
	conformance.Shows(t, "RE-02", "RE-04")
	conformance.Partly(t, "RE-03")
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.contact = "<" + aliceAt + `>;+g.3gpp.icsi-ref="urn%3Aurn-7";q=0.5;+g.3gpp.smsip;` + imei1
		p.register()
		sub := h.watch(h.p2, aliceSIP, aliceTel, "Expires: 700000")
		h.header(sub.ok, sip.HExpires, "600000")
		h.header(sub.ok, sip.HContact, "<sip:"+scscfAddr+">")
		h.header(sub.ok, sip.HPChargingVector, `icid-value="sub";orig-ioi="Type 1visited.test";term-ioi="Type 1home.test"`)
		m := h.p2.want("NOTIFY")
		h.p2.reply(m, 200)
		h.header(m, sip.HPChargingVector, `icid-value="sub";orig-ioi="Type 1home.test"`)
		h.header(m, sip.HContact, "<sip:"+scscfAddr+">")
		if got, want := told(t, m), state("active v0", "[registered "+aliceAt+" 3600]", "[created "+aliceAt+" 3600]"); got != want {
			t.Errorf("NOTIFY says\n%s, want\n%s", got, want)
		}
		if st, _ := sip.ParseSubscriptionState(m.Get(sip.HSubscriptionState)); st.Expires != 600000 {
			t.Errorf("it lasts %d s", st.Expires)
		}
		for _, want := range []string{
			`<unknown-param name="+g.3gpp.icsi-ref">"urn%3Aurn-7"</unknown-param>`, `<unknown-param name="+g.3gpp.smsip"></unknown-param>`,
			`<unknown-param name="+sip.instance">"&lt;urn:gsma:imei:90420156-025763-0&gt;"</unknown-param>`, ` q="0.5"`, ` callid="` + p.callID + `"`,
		} {
			if !strings.Contains(m.Body(), want) {
				t.Errorf("%s is not in\n%s", want, m.Body())
			}
		}

		time.Sleep(10 * time.Minute)
		p.again(200)
		sub.wantNotify(state("active v1", "[refreshed "+aliceAt+" 3600]", "[refreshed "+aliceAt+" 3600]"))
		time.Sleep(10 * time.Minute)
		h.header(sub.subscribe(200, "Expires: 60"), sip.HExpires, "60") // a refresh brings the full state
		sub.wantNotify(state("active v2", "[refreshed "+aliceAt+" 3000]", "[refreshed "+aliceAt+" 3000]"))

		// Another contact, and one that is replaced.
		p.register("Contact: <sip:new@10.0.0.2>;" + imei1)
		sub.wantNotify(state("active v3", "[registered sip:new@10.0.0.2 3600, unregistered "+aliceAt+"]", "[created sip:new@10.0.0.2 3600, unregistered "+aliceAt+"]"))
		p.register("Contact: <sip:two@10.0.0.3>;" + imei2)
		sub.wantNotify(state("active v4", "[registered sip:new@10.0.0.2 3600, registered sip:two@10.0.0.3 3600]", "[created sip:new@10.0.0.2 3600, created sip:two@10.0.0.3 3600]"))
		p.again(200, "Contact: <sip:two@10.0.0.3>;expires=0")
		sub.wantNotify(state("active v5", "[registered sip:new@10.0.0.2 3600, unregistered sip:two@10.0.0.3]", "[created sip:new@10.0.0.2 3600, unregistered sip:two@10.0.0.3]"))

		time.Sleep(time.Minute) // its time is up, the registration goes on
		sub.wantNotify(state("terminated timeout v6", "[registered sip:new@10.0.0.2 3541]", "[created sip:new@10.0.0.2 3541]"))
		sub.subscribe(481)
	})
}

func TestFetchAndUnsubscribe(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		want := func(version int) string {
			return state(fmt.Sprint("terminated timeout v", version), "[registered "+aliceAt+" 3600]", "[created "+aliceAt+" 3600]")
		}
		sub := h.watch(h.p2, aliceSIP, aliceSIP, "Expires: 0")
		h.header(sub.ok, sip.HExpires, "0")
		sub.wantNotify(want(0))
		sub = h.watch(h.p2, aliceSIP, aliceSIP)
		sub.notify()
		sub.subscribe(200, "Expires: 0")
		sub.wantNotify(want(1))
		time.Sleep(time.Second)
		if n := h.s.watchers.len(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

// The subscription ends with the registration, and says why.
func TestRegistrationEndsForSubscribers(t *testing.T) {
	conformance.Shows(t, "RE-06", "RE-08")
	conformance.Partly(t, "RE-05", "SR-13")
	rtr := func(code cx.ReasonCode) func(h *homeNet, p *phone) {
		return func(h *homeNet, p *phone) {
			h.hss.rtr(&cx.RTR{UserName: p.impi, Reason: cx.DeregistrationReason{Code: code}})
		}
	}
	tests := []struct {
		name   string
		end    func(h *homeNet, p *phone)
		reason string
		event  string // empty: no document
	}{
		{"the phone leaves", func(_ *homeNet, p *phone) { p.again(200, "Expires: 0") }, "noresource", "unregistered"},
		{"it is not refreshed", func(_ *homeNet, _ *phone) { time.Sleep(time.Hour + time.Second) }, "noresource", "expired"},
		{"for good", rtr(cx.PermanentTermination), "rejected", "rejected"},
		{"to come back", rtr(cx.ServerChange), "deactivated", "deactivated"},
		{"another S-CSCF has it", rtr(cx.NewServerAssigned), "deactivated", ""},
		{"this S-CSCF is out of it", rtr(cx.RemoveSCSCF), "deactivated", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			atHome(t, nil, func(h *homeNet) {
				p := h.alicePhone()
				p.register()
				sub := h.watch(h.p2, aliceSIP, aliceSIP)
				sub.notify()
				tt.end(h, p)
				want := "terminated " + tt.reason
				if tt.event != "" {
					contact := "=terminated[" + tt.event + " " + aliceAt + "]"
					want = state(want+" v1", contact, contact)
				}
				sub.wantNotify(want)
				sub.subscribe(481)
				h.wantBindings(aliceSIP, "")
				if n := h.s.watchers.len() + h.s.agent.Dialogs(); n != 0 {
					t.Errorf("%d subscriptions are left", n)
				}
				h.logged("subscription to the reg event ended")
			})
		})
	}
}

// logged checks that the log has a line.
func (w *world) logged(want string) {
	w.t.Helper()
	synctest.Wait()
	if w.logs.FilterMessage(want).Len() == 0 {
		w.t.Errorf("the log does not say %q", want)
	}
}

// Each subscriber is on its own: one that does not answer holds up nobody, and
// loses its subscription.
func TestManySubscribers(t *testing.T) {
	conformance.Shows(t, "RE-09", "RE-10")
	atHome(t, nil, func(h *homeNet) {
		h.hss.user("alice@home.test", user([]profile.InitialFilterCriteria{to(0, "sip:as1.home.test", continued, profile.SPT{Kind: profile.MethodSPT, Text: "INVITE"})}, id(aliceTel), id(aliceSIP), id(aliceNumber)))
		p := h.phone("alice")
		p.register()
		ue := h.watch(h.p2, aliceSIP, aliceSIP)
		ue.notify()
		pcscf := h.watch(h.i, "sip:192.0.2.1", aliceTel)
		pcscf.notify()
		as := h.watch(h.as1, "sip:as1.home.test", aliceSIP)
		as.notify()
		h.header(as.ok, sip.HPChargingVector, `icid-value="sub";orig-ioi="Type 1visited.test";term-ioi="Type 3home.test"`)
		second := h.watch(h.p2, aliceSIP, aliceSIP) // the phone lost the first dialog
		second.notify()
		silent := h.watch(h.other, aliceSIP, aliceSIP)
		silent.notify()

		p.again(200)
		refreshed := "[refreshed " + aliceAt + " 3600]"
		pcscf.wantNotify(state("active v1", refreshed, refreshed))
		as.wantNotify(state("active v1", refreshed, refreshed))
		for range 2 {
			m := h.p2.want("NOTIFY")
			if m.CallID() == ue.callID {
				h.p2.reply(m, 481)
			} else {
				h.p2.reply(m, 200)
			}
		}
		h.other.want("NOTIFY")
		time.Sleep(time.Minute)
		if n := h.s.watchers.len(); n != 3 {
			t.Errorf("%d subscriptions are left", n)
		}
		p.again(200)
		pcscf.wantNotify(state("active v2", refreshed, refreshed))
		as.wantNotify(state("active v2", refreshed, refreshed))
		second.wantNotify(state("active v2", refreshed, refreshed))
		h.other.nothing()
		h.p2.nothing()
		ue.subscribe(481)

		for range maxWatchersPerIdentity - 2 {
			h.watch(h.i, "sip:192.0.2.1", aliceSIP).notify()
		}
		one := &subscriber{h: h, at: h.i, who: "sip:192.0.2.1", impu: aliceSIP, callID: sip.NewCallID(), tag: "x"}
		h.why(one.subscribe(500), "Too many subscriptions")
	})
}

// A subscriber that answers late hears of the newest state alone, however many there were.
func TestSlowSubscriber(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		sub := h.watch(h.p2, aliceSIP, aliceSIP)
		first := h.p2.want("NOTIFY")
		for i := range 40 {
			h.moves(i)
		}
		synctest.Wait()
		h.p2.reply(first, 200)
		sub.wantNotify(state("active v1", "[registered sip:a@10.0.3.39 3600]", "[created sip:a@10.0.3.39 3600]"))
		h.p2.nothing()
		h.moves(40)
		sub.wantNotify(state("active v2", "[registered sip:a@10.0.3.40 3599]", "[created sip:a@10.0.3.40 3599]"))
	})
}

// The profile of a new registration has lost an identity.
func TestIdentityThatIsNoLongerRegistered(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		sub := h.watch(h.p2, aliceSIP, aliceTel)
		sub.notify()
		h.hss.user(p.impi, user(nil, id(aliceSIP), barred(aliceNumber)))
		h.hss.mu.Lock()
		h.hss.before = func(command, _ string) (diameter.Result, bool) {
			if n := len(h.hss.sars); command == "SAR" && h.hss.sars[n-1].Type == cx.AssignReRegistration {
				return cx.ErrorIdentityNotRegistered.Result(), false
			}
			return diameter.Result{}, false
		}
		h.hss.mu.Unlock()
		p.again(200)
		sub.wantNotify("active v1 " + aliceSIP + "[refreshed " + aliceAt + " 3600] " + aliceTel + "=terminated[deactivated " + aliceAt + "] " + aliceNumber + "=terminated[deactivated " + aliceAt + "]")
		p.again(200) // who watched the number watches the set
		sub.wantNotify("active v2 " + aliceSIP + "[refreshed " + aliceAt + " 3600]")
	})
}

// Only what a subscriber sees is told.
func TestWhatNobodySeesIsNotTold(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		p.register()
		sub := h.watch(h.p2, aliceSIP, aliceSIP)
		sub.notify()
		a := h.hss.ppr(&cx.PPR{UserName: p.impi, Charging: &cx.ChargingInformation{PrimaryCollection: "aaa://ccf2"}})
		if a.Result.Code != 2001 {
			t.Errorf("PPA %v", a.Result)
		}
		h.p2.nothing()
		if got := h.has(aliceSIP).Charging; got != `ccf="aaa://ccf2"` {
			t.Errorf("charging is %s", got)
		}
	})
}
