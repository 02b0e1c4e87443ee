package scscf

import (
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/conformance"
)

const throughAS = "Route: <sip:" + scscfAddr + ";lr;orig>"

func TestTheServedUserOfAnOriginatingRequest(t *testing.T) {
	conformance.Shows(t, "SO-03", "SO-04", "SO-14")
	hss := &scriptedHSS{profiles: map[string]*profile.Profile{
		"sip:carol@home.test": user([]profile.InitialFilterCriteria{
			to(1, "sip:as2.home.test", terminated, in(profile.OriginatingRegistered)),
			to(2, "sip:as1.home.test", terminated, in(profile.OriginatingUnregistered)),
		}, id("sip:carol@home.test"), barred("sip:carol-private@home.test")),
	}}
	inWorld(t, hss, func(w *world) {
		w.alice(to(1, "sip:as1.home.test", terminated))
		w.register(user([]profile.InitialFilterCriteria{to(1, "sip:as2.home.test", terminated, in(profile.OriginatingRegistered))},
			id("sip:dora@home.test"), barred("sip:imsi@home.test")), at("sip:dora@10.0.0.4"))
		tests := []struct {
			name   string
			lines  []string
			status string // of a refusal
			why    string
			at     *peer
			served string
		}{
			{"P-Asserted-Identity", []string{alongSR, "P-Asserted-Identity: <sip:alice@home.test>"}, "", "", w.as1, "<sip:alice@home.test>;sescase=orig;regstate=reg"},
			{"the one that is registered here", []string{alongSR, "P-Asserted-Identity: <sip:x@far.test>, <tel:+4911>"}, "", "", w.as1, "<tel:+4911>;sescase=orig;regstate=reg"},
			{"P-Served-User goes before, and has its criteria from the start", []string{throughAS, "P-Asserted-Identity: <sip:alice@home.test>", "P-Served-User: <sip:dora@home.test>;sescase=orig;regstate=reg"}, "", "", w.as2, "<sip:dora@home.test>;sescase=orig;regstate=reg"},
			{"unregistered user of an application server", []string{throughAS, "P-Served-User: <sip:carol@home.test>"}, "", "", w.as1, "<sip:carol@home.test>;sescase=orig;regstate=unreg"},
			{"again, from the profile that is known now", []string{throughAS, "P-Served-User: <sip:carol@home.test>"}, "", "", w.as1, "<sip:carol@home.test>;sescase=orig;regstate=unreg"},
			{"barred", []string{alongSR, "P-Asserted-Identity: <sip:imsi@home.test>"}, "403", "is barred", nil, ""},
			{"barred, unregistered", []string{throughAS, "P-Served-User: <sip:carol-private@home.test>"}, "403", "is barred", nil, ""},
			{"nobody", []string{alongSR}, "403", "names no served user", nil, ""},
			{"unknown to the HSS", []string{throughAS, "P-Served-User: <sip:eve@home.test>"}, "404", "HSS does not know sip:eve@home.test", nil, ""},
		}
		for _, tt := range tests {
			w.p.send("INVITE", "sip:bob@home.test", tt.lines...)
			if tt.status != "" {
				w.why(w.p.want(tt.status), tt.why)
				continue
			}
			got := tt.at.want("INVITE")
			if s := got.Get(sip.HPServedUser); s != tt.served {
				t.Errorf("%s: P-Served-User is %s, want %s", tt.name, s, tt.served)
			}
			tt.at.reply(got, 486)
			w.p.want("486")
		}
		if got, want := hss.asked(), "UNREGISTERED_USER sip:carol@home.test, UNREGISTERED_USER sip:eve@home.test"; got != want {
			t.Errorf("the HSS was asked %s, want %s", got, want)
		}
	})
}

func TestAPhoneOfALostRegistrationIsMadeToRegister(t *testing.T) {
	conformance.Shows(t, "RS-04")
	inWorld(t, &scriptedHSS{}, func(w *world) {
		w.p.call("sip:bob@home.test")
		got := w.p.want("504")
		w.why(got, "sip:alice@home.test sends along our Service-Route and is not registered here")
		w.header(got, sip.HPAssertedIdentity, "<sip:orig@"+scscfAddr+";lr>")
		w.header(got, sip.HContentType, "application/3gpp-ims+xml")
		for _, s := range []string{"<type>restoration</type>", "<action>initial-registration</action>"} {
			if !strings.Contains(got.Body(), s) {
				t.Errorf("no %s in\n%s", s, got.Body())
			}
		}
		w.told(trace.Failure, "is not registered here")
		if w.hss.asked() != "" {
			t.Errorf("the HSS was asked: %s", w.hss.asked())
		}
	})
}

func TestWhatTheHSSSaysOfAnUnregisteredUser(t *testing.T) {
	tests := []struct {
		name   string
		hss    *scriptedHSS
		status string
		why    string
	}{
		{"unknown", &scriptedHSS{}, "404", "does not know sip:bob@home.test"},
		{"registered for the HSS", &scriptedHSS{fail: cx.ErrorInAssignmentType.Result()}, "480", "has lost the registration"},
		{"elsewhere", &scriptedHSS{fail: cx.ErrorIdentityAlreadyRegistered.Result()}, "480", "another S-CSCF serves"},
		{"silent", &scriptedHSS{silent: true}, "504", "did not answer"},
		{"not there", nil, "504", "did not answer"},
		{"nothing in the profile", &scriptedHSS{profiles: map[string]*profile.Profile{"sip:bob@home.test": user(nil, id("sip:bob@home.test"))}}, "480", "is not registered"},
		{"a profile that cannot be used", &scriptedHSS{profiles: map[string]*profile.Profile{
			"sip:bob@home.test": user([]profile.InitialFilterCriteria{to(1, "http://as", continued)}, id("sip:bob@home.test"))}}, "500", "cannot be used"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, tt.hss, func(w *world) {
				w.i.send("INVITE", "sip:bob@home.test")
				before := time.Now()
				w.why(w.i.want(tt.status), tt.why)
				if d := time.Since(before); d > 3*time.Second {
					t.Errorf("the answer took %v", d)
				}
			})
		})
	}
}

func TestWhereAnOriginatingRequestGoes(t *testing.T) {
	conformance.Shows(t, "SO-11")
	conformance.Partly(t, "SO-08", "SO-09", "SO-10")
	tests := []struct {
		target, goes string // to a peer's address, or a status
		ruri         string
		why          string
	}{
		{"sip:bob@home.test", "icscf", "sip:bob@home.test", ""},
		{"sip:bob@HOME.test;x=1", "icscf", "sip:bob@HOME.test;x=1", ""},
		{"tel:+49-22", "icscf", "tel:+4922", ""},
		{"sip:+4922@home.test;user=phone", "icscf", "tel:+4922", ""},
		{"sip:0922;phone-context=home.test@home.test;user=phone", "icscf", "tel:0922", ""},
		{"tel:22;phone-context=%2B49", "icscf", "tel:+4922", ""},
		{"tel:0922;phone-context=far.test", "404", "", "belongs to the numbering plan of far.test"},
		{"sip:bob@other.test", "other", "sip:bob@other.test", ""},
		{"sip:bob@192.0.2.30", "other", "sip:bob@192.0.2.30", ""},
		{"sip:bob@nowhere.test", "404", "", "no address for the next hop"},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.alice()
				w.p.call(tt.target)
				if tt.why != "" {
					w.why(w.p.want(tt.goes), tt.why)
					return
				}
				at := map[string]*peer{"icscf": w.i, "other": w.other}[tt.goes]
				got := at.want("INVITE")
				w.ruri(got, tt.ruri)
				w.header(got, sip.HRoute, "")
				at.reply(got, 404)
				w.p.want("404")
			})
		})
	}
}

func TestWhatLeavesAndWhatComesBack(t *testing.T) {
	conformance.Shows(t, "SO-05", "SO-17")
	conformance.Partly(t, "SO-15")
	inWorld(t, nil, func(w *world) {
		w.alice()
		w.register(user(nil, id("sip:+4933@home.test"), id("sip:carol@home.test"), profile.PublicIdentity{Identity: "tel:+4933", PriorityLevel: -1}), at("sip:carol@10.0.0.3"))
		const accept, caps = `*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel";require`, `*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"`
		w.p.call("sip:bob@home.test", "Accept-Contact: "+accept, "Feature-Caps: "+caps, "P-Served-User: <sip:alice@home.test>")
		got := w.i.want("INVITE")
		w.header(got, sip.HAcceptContact, accept)
		if v := got.GetName("Feature-Caps"); v != caps {
			t.Errorf("Feature-Caps is %q", v)
		}
		w.header(got, sip.HPAssertedIdentity, "<sip:alice@home.test> | <tel:+4911>")
		w.header(got, sip.HPServedUser, "")
		w.header(got, sip.HPChargingVector, `icid-value="ic1";orig-ioi="Type 2home.test"`)
		w.header(got, sip.HMaxForwards, "67")
		w.i.reply(got, 183, sip.Field{ID: sip.HPChargingVector, Value: `icid-value=ic1;orig-ioi="Type 2home.test";term-ioi="Type 2far.test"`},
			sip.Field{ID: sip.HPAssertedIdentity, Value: "<sip:bob@home.test>"})
		back := w.p.want("183")
		w.header(back, sip.HPChargingVector, `icid-value="ic1";orig-ioi="Type 1visited.test";term-ioi="Type 1home.test"`)
		w.header(back, sip.HPAssertedIdentity, "<sip:bob@home.test>")
		w.i.reply(got, 200)
		w.header(w.p.want("200"), sip.HPChargingVector, `icid-value="ic1";orig-ioi="Type 1visited.test";term-ioi="Type 1home.test"`)

		// Two names are enough; a number's other form needs no alias group.
		w.p.call("sip:bob@home.test", "P-Asserted-Identity: <tel:+4911>")
		got = w.i.want("INVITE")
		w.header(got, sip.HPAssertedIdentity, "<sip:alice@home.test> | <tel:+4911>")
		w.i.reply(got, 486)
		w.p.want("486")
		w.p.send("INVITE", "sip:bob@home.test", alongSR, "P-Asserted-Identity: <tel:+4933>")
		got = w.i.want("INVITE")
		w.header(got, sip.HPAssertedIdentity, "<tel:+4933> | <sip:+4933@home.test>")
		w.i.reply(got, 486)
		w.p.want("486")
	})
}

func TestServicesThatAreAskedFor(t *testing.T) {
	conformance.Shows(t, "HD-07")
	conformance.Partly(t, "SO-06")
	const mmtel, other = "urn:urn-7:3gpp-service.ims.icsi.mmtel", "urn:urn-7:3gpp-service.ims.icsi.other"
	inWorld(t, nil, func(w *world) {
		p := user([]profile.InitialFilterCriteria{to(1, "sip:as1.home.test", terminated, profile.SPT{Kind: profile.SIPHeaderSPT, Text: "P-Asserted-Service", Content: "mmtel", HasContent: true})},
			id("sip:alice@home.test"))
		p.ServiceProfiles[0].CoreNetworkServices = &profile.CoreNetworkServices{MediaProfileID: -1, ServiceIDs: []string{mmtel}}
		w.register(p, at("sip:alice@10.0.0.1"))
		w.p.call("sip:bob@home.test", "P-Preferred-Service: "+mmtel)
		got := w.as1.want("INVITE") // the criterion sees what has been asserted
		w.header(got, sip.HPAssertedService, mmtel)
		w.header(got, sip.HPPreferredService, "")
		w.as1.reply(got, 486)
		w.p.want("486")
		for _, name := range []string{"P-Preferred-Service: ", "P-Asserted-Service: "} {
			w.p.call("sip:bob@home.test", name+other)
			got = w.i.want("INVITE")
			w.header(got, sip.HPAssertedService, "")
			w.header(got, sip.HPPreferredService, "")
			w.i.reply(got, 486)
			w.p.want("486")
		}
		w.told(trace.Decision, "has not subscribed to "+other)
	})
}

func TestASilentICSCFHasACause(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice()
		before := time.Now()
		w.p.call("sip:bob@home.test")
		w.i.want("INVITE")
		w.why(w.p.want("504"), "No answer from the I-CSCF at 192.0.2.2:5060")
		if d := time.Since(before); d > 5*time.Second {
			t.Errorf("the phone waited %v", d)
		}
	})
}

// There is no other way into our domain than the I-CSCF: what it has no time for, the
// S-CSCF refuses in its own name. What another network says is not about us.
func TestABusyICSCF(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice()
		for _, tt := range []struct{ said, passed string }{{"9", "9"}, {"", "5"}} {
			w.p.call("sip:bob@home.test")
			got := w.i.want("INVITE")
			if tt.said == "" {
				w.i.reply(got, 503)
			} else {
				w.i.reply(got, 503, sip.Field{ID: sip.HRetryAfter, Value: tt.said})
			}
			m := w.p.want("503")
			w.header(m, sip.HRetryAfter, tt.passed)
			w.why(m, "I-CSCF has no time")
		}
		w.p.call("sip:bob@other.test")
		w.other.reply(w.other.want("INVITE"), 503, sip.Field{ID: sip.HRetryAfter, Value: "9"})
		w.header(w.p.want("500"), sip.HRetryAfter, "")
	})
}
