package scscf

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// toP2 leads to the second P-CSCF.
var toP2 = []string{"<sip:token2@192.0.2.3;lr>"}

func TestDeliveryToAContact(t *testing.T) {
	conformance.Shows(t, "ST-06")
	conformance.Partly(t, "SO-15")
	inWorld(t, nil, func(w *world) {
		w.register(user(nil, id("sip:bob@home.test"), id("tel:+4922")),
			registrar.Binding{Contact: "sip:bob@10.0.0.2:5060;transport=udp", Path: []string{"<sip:token@192.0.2.1;lr>", "<sip:edge@192.0.2.99;lr>"}})
		m := w.i.send("INVITE", "sip:bob@home.test", "Route: <sip:"+scscfAddr+";lr>", "P-Served-User: <sip:x@y>")
		got := w.p.want("INVITE")
		w.ruri(got, "sip:bob@10.0.0.2:5060;transport=udp")
		w.header(got, sip.HRoute, "<sip:token@192.0.2.1;lr> | <sip:edge@192.0.2.99;lr>")
		w.header(got, sip.HPCalledPartyID, "<sip:bob@home.test>")
		w.header(got, sip.HPServedUser, "")
		w.header(got, sip.HPChargingVector, `icid-value="ic1";orig-ioi="Type 1home.test"`)
		if got.Get(sip.HTo) != m.Get(sip.HTo) || got.CallID() != m.CallID() {
			t.Error("To or Call-ID is another")
		}
		w.p.reply(got, 180, sip.Field{ID: sip.HPAssertedIdentity, Value: "<sip:bob@home.test>"})
		back := w.i.want("180")
		w.header(back, sip.HPAssertedIdentity, "<sip:bob@home.test> | <tel:+4922>")
		w.header(back, sip.HPChargingVector, `icid-value="ic1";orig-ioi="Type 1visited.test";term-ioi="Type 2home.test"`)
		w.p.reply(got, 200)
		w.i.want("200")
	})
}

func TestTheCalledUserIsFoundByEachOfHisNames(t *testing.T) {
	conformance.Partly(t, "ST-01") // GRUUs are for later
	inWorld(t, nil, func(w *world) {
		w.bob()
		w.register(user(nil, id("sip:+4933@home.test")), registrar.Binding{Contact: "sip:carol@10.0.0.3", Path: toP2})
		tests := []struct {
			target string
			at     *peer
		}{
			{"sip:bob@home.test", w.p}, {"sip:bob@Home.Test:5060;x=y", w.p}, {"sip:%62ob@home.test", w.p},
			{"tel:+4922", w.p}, {"tel:+49-22", w.p}, {"sip:+4922@home.test;user=phone", w.p},
			{"tel:+4933", w.p2}, {"sip:+4933@home.test", w.p2}, {"sip:+4933@home.test;user=phone", w.p2},
		}
		for _, tt := range tests {
			w.i.send("INVITE", tt.target)
			got := tt.at.want("INVITE")
			w.header(got, sip.HPCalledPartyID, "<"+tt.target+">")
			tt.at.reply(got, 486)
			w.i.want("486")
		}
	})
}

func TestNumbersAndWildcards(t *testing.T) {
	conformance.Shows(t, "ST-12")
	psi := profile.PublicIdentity{Identity: "sip:room!.*!@home.test", Type: profile.WildcardedPSI, Wildcard: "sip:room!.*!@home.test", PriorityLevel: -1}
	hss := &scriptedHSS{profiles: map[string]*profile.Profile{
		"sip:room7@home.test": user([]profile.InitialFilterCriteria{to(1, "sip:as1.home.test", terminated, in(profile.TerminatingUnregistered))}, psi),
	}}
	inWorld(t, hss, func(w *world) {
		// A number that the set has in sip form alone.
		w.register(user(nil, id("sip:+4933@home.test")), at("sip:carol@10.0.0.3"))
		w.i.send("INVITE", "tel:+4933")
		got := w.p.want("INVITE")
		w.ruri(got, "sip:carol@10.0.0.3")
		w.p.reply(got, 486)
		w.i.want("486")
		// An identity that a wildcard stands for.
		for range 2 {
			w.i.send("INVITE", "sip:room7@home.test")
			got = w.as1.want("INVITE")
			w.header(got, sip.HPProfileKey, "<sip:room!.*!@home.test>")
			w.header(got, sip.HPServedUser, "<sip:room7@home.test>;sescase=term;regstate=unreg")
			w.as1.reply(got, 486)
			w.i.want("486")
		}
		if hss.asked() != "UNREGISTERED_USER sip:room7@home.test" {
			t.Errorf("the HSS was asked %s", hss.asked())
		}
	})
}

func TestBarredAndUnknownUsersAreNotFound(t *testing.T) {
	conformance.Shows(t, "ST-02")
	hss := &scriptedHSS{profiles: map[string]*profile.Profile{"sip:dora-imsi@home.test": user(nil, barred("sip:dora-imsi@home.test"), id("sip:dora@home.test"))}}
	inWorld(t, hss, func(w *world) {
		w.register(user(nil, barred("sip:imsi@home.test"), id("sip:bob@home.test")), at("sip:bob@10.0.0.2"))
		for target, why := range map[string]string{
			"sip:imsi@home.test":      "sip:imsi@home.test is barred",
			"sip:dora-imsi@home.test": "is barred",
			"sip:eve@home.test":       "The HSS does not know",
			"sip:eve@far.test":        "names no user of home.test",
			"tel:12;phone-context=x":  "names no user of home.test",
			"sip:home.test":           "names no user of home.test",
		} {
			w.i.send("INVITE", target)
			w.why(w.i.want("404"), why)
		}
	})
}

func TestServicesOfAnUnregisteredUser(t *testing.T) {
	conformance.Shows(t, "ST-03", "ST-13")
	carol := user([]profile.InitialFilterCriteria{
		to(1, "sip:as1.home.test", terminated, in(profile.TerminatingUnregistered), profile.SPT{Kind: profile.MethodSPT, Text: "INVITE"}),
		to(2, "sip:as2.home.test", terminated, in(profile.TerminatingRegistered)),
	}, id("sip:carol@home.test"))
	hss := &scriptedHSS{profiles: map[string]*profile.Profile{"sip:carol@home.test": carol}}
	inWorld(t, hss, func(w *world) {
		// A mailbox answers.
		w.i.send("INVITE", "sip:carol@home.test")
		got := w.as1.want("INVITE")
		w.header(got, sip.HPServedUser, "<sip:carol@home.test>;sescase=term;regstate=unreg")
		w.as1.reply(got, 200)
		w.i.want("200")
		// The server passes it on; nothing else matches.
		w.i.send("INVITE", "sip:carol@home.test")
		w.as1.back(w.as1.want("INVITE"), nil)
		w.as1.relay(w.as1.want("480"))
		w.why(w.i.want("480"), "is not registered")
		// Nothing matches at all.
		w.i.send("MESSAGE", "sip:carol@home.test")
		w.why(w.i.want("480"), "is not registered")
		if hss.asked() != "UNREGISTERED_USER sip:carol@home.test" {
			t.Errorf("the HSS was asked %s", hss.asked())
		}
	})
	// Registered is registered, also when the phone turns out to be gone.
	inWorld(t, hss, func(w *world) {
		w.register(carol, registrar.Binding{Contact: "sip:carol@10.0.0.3", Path: toP2})
		w.i.send("INVITE", "sip:carol@home.test")
		got := w.as2.want("INVITE")
		w.header(got, sip.HPServedUser, "<sip:carol@home.test>;sescase=term;regstate=reg")
		w.as2.back(got, nil)
		w.p2.reply(w.p2.want("INVITE"), 430)
		w.as2.relay(w.as2.want("480"))
		w.i.want("480")
		w.as1.nothing()
	})
}

func TestContactsAreTriedByQ(t *testing.T) {
	conformance.Shows(t, "ST-08")
	bindings := []registrar.Binding{
		{Contact: "sip:low@10.0.0.1", Params: ";q=0.1"},
		{Contact: "sip:one@10.0.0.2", Params: `;+sip.instance="<urn:x:1>";q=0.8`},
		{Contact: "sip:two@10.0.0.3", Params: ";q=0.80"},
	}
	tests := []struct {
		disposition string
		rounds      []string // the contacts of each round, sorted
	}{
		{"", []string{"one two", "low"}},
		{"Request-Disposition: proxy, sequential", []string{"one", "two", "low"}},
		{"Request-Disposition: parallel", []string{"low one two"}},
		{"d: no-fork", []string{"one"}},
	}
	for _, tt := range tests {
		t.Run(tt.disposition, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.register(user(nil, id("sip:bob@home.test")), bindings...)
				lines := []string{}
				if tt.disposition != "" {
					lines = append(lines, tt.disposition)
				}
				w.i.send("INVITE", "sip:bob@home.test", lines...)
				for _, round := range tt.rounds {
					names := map[string]bool{}
					var reqs []*sip.Message
					for range strings.Fields(round) {
						m := w.p.want("INVITE")
						reqs = append(reqs, m)
						names[strings.TrimPrefix(strings.Split(m.RequestURI(), "@")[0], "sip:")] = true
					}
					for _, name := range strings.Fields(round) {
						if !names[name] {
							t.Fatalf("round %q was %v", round, names)
						}
					}
					w.p.nothing()
					for _, m := range reqs {
						w.p.reply(m, 486)
					}
				}
				w.i.want("486")
			})
		})
	}
	// The first 2xx wins, and the other phone stops ringing.
	inWorld(t, nil, func(w *world) {
		w.register(user(nil, id("sip:bob@home.test")), bindings...)
		w.i.send("INVITE", "sip:bob@home.test")
		a, b := w.p.want("INVITE"), w.p.want("INVITE")
		w.p.reply(a, 180)
		w.i.want("180")
		w.p.reply(b, 200)
		w.i.want("200")
		cancel := w.p.want("CANCEL")
		w.ruri(cancel, a.RequestURI())
		w.p.reply(cancel, 200)
		w.p.reply(a, 487)
		w.p.nothing()
		w.i.nothing()
	})
}

func TestAFlowThatHasFailedIsPassedOver(t *testing.T) {
	conformance.Partly(t, "ST-09") // the binding stays until it expires
	now := time.Now()
	flow := func(n int, path []string) registrar.Binding {
		return registrar.Binding{Contact: fmt.Sprintf("sip:bob@10.0.0.2;flow=%d", n), InstanceID: "<urn:x:1>", RegID: uint32(n), Path: path, Created: now.Add(time.Duration(n) * time.Second)}
	}
	for _, status := range []int{430, 480, 408} {
		inWorld(t, nil, func(w *world) {
			w.register(user(nil, id("sip:bob@home.test")), flow(1, nil), flow(2, toP2))
			w.i.send("INVITE", "sip:bob@home.test")
			got := w.p2.want("INVITE") // the newest flow first, and one at a time
			w.p.nothing()
			w.p2.reply(got, status)
			got = w.p.want("INVITE")
			w.ruri(got, "sip:bob@10.0.0.2;flow=1")
			w.p.reply(got, 430)
			w.i.want("480")
		})
	}
	for _, method := range []string{"INVITE", "MESSAGE"} {
		inWorld(t, nil, func(w *world) { // a P-CSCF that does not answer
			w.register(user(nil, id("sip:bob@home.test")), flow(1, nil), registrar.Binding{
				Contact: "sip:bob@10.0.0.2", InstanceID: "<urn:x:1>", RegID: 2, Created: now.Add(time.Hour), Path: []string{"<sip:x@192.0.2.77;lr>"}})
			w.i.send(method, "sip:bob@home.test")
			got := w.p.want(method)
			w.p.reply(got, 200)
			w.i.want("200")
		})
	}
	inWorld(t, nil, func(w *world) {
		w.register(user(nil, id("sip:bob@home.test")), registrar.Binding{Contact: "sip:bob@10.0.0.2", Path: []string{"<sip:x@192.0.2.77;lr>"}})
		w.i.send("INVITE", "sip:bob@home.test")
		w.why(w.i.want("480"), "No answer from the P-CSCF of sip:bob@home.test")
	})
	inWorld(t, nil, func(w *world) { // beside another phone that refuses
		w.register(user(nil, id("sip:bob@home.test")), flow(1, nil), flow(2, toP2), registrar.Binding{Contact: "sip:desk@10.0.0.9", Path: []string{"<sip:d@192.0.2.30;lr>"}})
		w.i.send("INVITE", "sip:bob@home.test")
		mobile, desk := w.p2.want("INVITE"), w.other.want("INVITE")
		w.other.reply(desk, 486)
		w.p2.reply(mobile, 430)
		w.p.reply(w.p.want("INVITE"), 200)
		w.i.want("200")
	})
	inWorld(t, nil, func(w *world) { // another answer is the phone's
		w.register(user(nil, id("sip:bob@home.test")), flow(1, nil), flow(2, toP2))
		w.i.send("INVITE", "sip:bob@home.test")
		w.p2.reply(w.p2.want("INVITE"), 486)
		w.i.want("486")
		w.p.nothing()
	})
}

func TestEmergencyContactsGetNoOrdinaryCalls(t *testing.T) {
	conformance.Shows(t, "ST-10")
	inWorld(t, nil, func(w *world) {
		w.register(user(nil, id("sip:bob@home.test")), registrar.Binding{Contact: "sip:bob@10.0.0.2;sos", Emergency: true},
			registrar.Binding{Contact: "sip:bob@10.0.0.2", Path: toP2})
		w.register(user(nil, id("sip:carol@home.test")), registrar.Binding{Contact: "sip:carol@10.0.0.3;sos", Emergency: true})
		w.i.send("INVITE", "sip:bob@home.test")
		w.p2.reply(w.p2.want("INVITE"), 486)
		w.i.want("486")
		w.i.send("INVITE", "sip:carol@home.test")
		w.i.want("480")
		w.p.nothing()
	})
}

func TestACancelledCallStops(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(user(nil, id("sip:bob@home.test")), registrar.Binding{Contact: "sip:a@10.0.0.2", Params: ";q=0.9"}, registrar.Binding{Contact: "sip:b@10.0.0.2", Params: ";q=0.1"})
		m := w.i.send("INVITE", "sip:bob@home.test")
		got := w.p.want("INVITE")
		w.p.reply(got, 180)
		w.i.want("180")
		cancel := strings.Replace(strings.Replace(m.Raw(), "INVITE sip:", "CANCEL sip:", 1), "CSeq: 1 INVITE", "CSeq: 1 CANCEL", 1)
		w.i.write([]byte(cancel))
		w.i.want("200")
		c := w.p.want("CANCEL")
		w.p.reply(c, 200)
		w.p.reply(got, 487)
		w.i.want("487")
		w.p.nothing() // no second contact
	})
}

// Nobody answers, and nobody in front of us has the patience to end first: both
// sides of a call say why.
func TestACallThatRingsInVain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice()
		w.bob()
		end := func(from, to *peer, invite *sip.Message) {
			t.Helper()
			to.reply(invite, 180)
			from.want("180")
			time.Sleep(3 * time.Minute)
			to.reply(to.want("CANCEL"), 200)
			to.reply(invite, 487)
			w.why(from.want("408"), "Nobody has answered the call to")
			w.told(trace.Failure, "Nobody has answered the call to")
		}
		w.i.send("INVITE", "sip:bob@home.test")
		end(w.i, w.p, w.p.want("INVITE"))
		w.p.call("sip:bob@home.test")
		end(w.p, w.i, w.i.want("INVITE"))
	})
}
