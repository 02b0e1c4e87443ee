package scscf

import (
	"testing"

	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestHistoryOfACallToAContact(t *testing.T) {
	conformance.Shows(t, "HD-09", "ST-04")
	const (
		first  = "<sip:bob@home.test>;index=1"
		toOne  = "<sip:bob@10.0.0.2:5060>;index=1.1;rc=1"
		before = "<sip:eve@far.test?Reason=SIP%3Bcause%3D302>;index=1 | <sip:bob@home.test;cause=302>;index=1.1;mp=1"
	)
	tests := []struct {
		name     string
		lines    []string
		want     string
		response string
	}{
		{"nobody asks for it", nil, "", ""},
		{"the caller asks for it", []string{"Supported: 100rel, histinfo"}, first + " | " + toOne, first + " | " + toOne},
		{"the request has one", []string{"History-Info: <sip:eve@far.test?Reason=SIP%3Bcause%3D302>;index=1,<sip:bob@home.test;cause=302>;index=1.1;mp=1"},
			before + " | <sip:bob@10.0.0.2:5060>;index=1.1.1;rc=1.1", ""},
		{"and a target is missing in it", []string{"History-Info: <sip:eve@far.test>;index=1"},
			"<sip:eve@far.test>;index=1 | <sip:bob@home.test>;index=1.0 | <sip:bob@10.0.0.2:5060>;index=1.0.1;rc=1.0", ""},
		{"and it cannot be read", []string{"History-Info: <sip:eve@far.test>;index=one"}, "<sip:eve@far.test>;index=one", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.bob()
				w.i.send("INVITE", "sip:bob@home.test", tt.lines...)
				got := w.p.want("INVITE")
				w.header(got, sip.HHistoryInfo, tt.want)
				w.p.reply(got, 180)
				w.header(w.i.want("180"), sip.HHistoryInfo, tt.response)
				w.p.reply(got, 486, sip.Field{ID: sip.HHistoryInfo, Value: "<sip:own@h>;index=1"})
				w.header(w.i.want("486"), sip.HHistoryInfo, "<sip:own@h>;index=1") // the phone knows
			})
		})
	}
}

// One contact after the other: each hears why the others have not taken the call,
// those that ring at once hear nothing of each other.
func TestHistoryOfACallToSeveralContacts(t *testing.T) {
	conformance.Shows(t, "HD-09")
	inWorld(t, nil, func(w *world) {
		w.register(user(nil, id("sip:bob@home.test")),
			registrar.Binding{Contact: "sip:one@10.0.0.2", Params: ";q=0.8"}, registrar.Binding{Contact: "sip:two@10.0.0.3", Params: ";q=0.8", Path: toP2},
			registrar.Binding{Contact: "sip:low@10.0.0.1", Params: ";q=0.1"})
		w.i.send("INVITE", "sip:bob@home.test", "Supported: histinfo")
		one, two := w.p.want("INVITE"), w.p2.want("INVITE")
		w.header(one, sip.HHistoryInfo, "<sip:bob@home.test>;index=1 | <sip:one@10.0.0.2>;index=1.1;rc=1")
		w.header(two, sip.HHistoryInfo, "<sip:bob@home.test>;index=1 | <sip:two@10.0.0.3>;index=1.2;rc=1")
		w.p.reply(one, 486)
		// The second is silent.
		low := w.p.want("INVITE")
		const all = "<sip:bob@home.test>;index=1 | <sip:one@10.0.0.2?Reason=SIP%3Bcause%3D486>;index=1.1;rc=1 | " +
			"<sip:two@10.0.0.3?Reason=SIP%3Bcause%3D408>;index=1.2;rc=1 | <sip:low@10.0.0.1>;index=1.3;rc=1"
		w.header(low, sip.HHistoryInfo, all)
		w.p.reply(low, 200)
		w.header(w.i.want("200"), sip.HHistoryInfo, all)
	})
}

// The caller's number is made global, and the called side sees both.
func TestHistoryOfANumber(t *testing.T) {
	conformance.Shows(t, "HD-09")
	inWorld(t, nil, func(w *world) {
		w.alice()
		w.p.call("sip:+4922@home.test;user=phone", "Supported: histinfo")
		got := w.i.want("INVITE")
		w.ruri(got, "tel:+4922")
		w.header(got, sip.HHistoryInfo, "<sip:+4922@home.test;user=phone>;index=1 | <tel:+4922>;index=1.1")
		w.i.reply(got, 404)
		w.p.want("404")
		w.p.call("tel:+4922", "Supported: histinfo") // nothing changes
		got = w.i.want("INVITE")
		w.header(got, sip.HHistoryInfo, "<tel:+4922>;index=1")
		w.i.reply(got, 404)
		w.p.want("404")
	})
}

// An application server that diverts, and one that says so itself.
func TestHistoryOfADivertedCall(t *testing.T) {
	conformance.Shows(t, "HD-09")
	inWorld(t, nil, func(w *world) {
		w.bob(to(0, "sip:as1.home.test", terminated, in(profile.TerminatingRegistered)))
		w.i.send("INVITE", "sip:bob@home.test")
		w.as1.back(w.as1.want("INVITE"), func(e *sip.Edits) { e.RequestURI("sip:carol@home.test;cause=302") })
		got := w.i.want("INVITE")
		w.header(got, sip.HHistoryInfo, "<sip:bob@home.test>;index=1 | <sip:carol@home.test;cause=302>;index=1.0")
		w.i.reply(got, 486)
		w.as1.relay(w.as1.want("486"))
		w.i.want("486")

		w.i.send("INVITE", "sip:bob@home.test", "Supported: histinfo")
		own := "<sip:carol@home.test;cause=486>;index=1.1;mp=1"
		m := w.as1.want("INVITE")
		w.header(m, sip.HHistoryInfo, "<sip:bob@home.test>;index=1") // for the server to go on from
		w.as1.back(m, func(e *sip.Edits) {
			e.RequestURI("sip:carol@home.test;cause=486")
			e.Add(sip.HHistoryInfo, own)
		})
		got = w.i.want("INVITE")
		w.header(got, sip.HHistoryInfo, "<sip:bob@home.test>;index=1 | "+own)
		w.i.reply(got, 486)
		w.as1.relay(w.as1.want("486"))
		w.i.want("486")
	})
}
