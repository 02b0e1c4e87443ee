package scscf

import (
	"testing"

	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

const (
	continued  = profile.SessionContinued
	terminated = profile.SessionTerminated
)

func TestTheTopmostRouteDecidesTheCase(t *testing.T) {
	conformance.Shows(t, "SO-01", "SO-02")
	asserted := "P-Asserted-Identity: <sip:alice@home.test>"
	tests := []struct {
		name   string
		lines  []string
		at     func(w *world) *peer
		want   string
		status bool
	}{
		{"along the Service-Route: originating", []string{alongSR, asserted}, func(w *world) *peer { return w.i }, "INVITE", false},
		{"parameter orig: originating", []string{"Route: <sip:" + scscfAddr + ";lr;orig>", asserted}, func(w *world) *peer { return w.i }, "INVITE", false},
		{"our name alone: terminating", []string{"Route: <sip:" + scscfAddr + ";lr>", asserted}, func(w *world) *peer { return w.p }, "INVITE", false},
		{"our name as alias: terminating", []string{"Route: <sip:scscf.home.test;lr>", asserted}, func(w *world) *peer { return w.p }, "INVITE", false},
		{"no Route: terminating", []string{asserted}, func(w *world) *peer { return w.p }, "INVITE", false},
		{"an identifier goes before orig, known or not", []string{"Route: <sip:odi-abc@" + scscfAddr + ";lr;orig>", asserted}, func(w *world) *peer { return w.other }, "481", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.alice()
				w.bob()
				w.other.send("INVITE", "sip:bob@home.test", tt.lines...)
				got := tt.at(w).want(tt.want)
				if tt.status {
					w.why(got, "original dialog identifier")
					return
				}
				for v := range got.Values(sip.HRoute) {
					if v != "<sip:token@192.0.2.1;lr>" {
						t.Errorf("Route %s is left", v)
					}
				}
				w.header(got, sip.HPAssertedIdentity, map[*peer]string{w.i: "<sip:alice@home.test> | <tel:+4911>", w.p: "<sip:alice@home.test>"}[tt.at(w)])
				tt.at(w).reply(got, 486)
				w.other.want("486")
			})
		})
	}
}

func TestRequestsWithinADialogFollowTheirRoute(t *testing.T) {
	conformance.Shows(t, "IF-25", "SO-12")
	inWorld(t, nil, func(w *world) {
		w.alice()
		w.bob()
		// The first requests leave us in the route, where they form a dialog.
		w.p.call("sip:bob@home.test")
		got := w.i.want("INVITE")
		w.header(got, sip.HRecordRoute, "<sip:mo@"+scscfAddr+";lr>")
		w.i.reply(got, 486)
		w.p.want("486")
		w.i.send("INVITE", "sip:bob@home.test")
		got = w.p.want("INVITE")
		w.header(got, sip.HRecordRoute, "<sip:mt@"+scscfAddr+";lr>")
		w.p.reply(got, 486)
		w.i.want("486")
		w.p.send("MESSAGE", "sip:bob@home.test", alongSR, "P-Asserted-Identity: <sip:alice@home.test>")
		got = w.i.want("MESSAGE")
		w.header(got, sip.HRecordRoute, "")
		w.i.reply(got, 200)
		w.p.want("200")
	})
	inWorld(t, nil, func(w *world) {
		w.alice(to(1, "sip:as1.home.test", terminated))
		w.bob(to(1, "sip:as1.home.test", terminated))
		const tagged = "To: <sip:bob@home.test>;tag=b"
		for _, user := range []string{"mo", "mt", "orig"} {
			w.p.send("UPDATE", "sip:bob@10.0.0.2", "Route: <sip:"+user+"@"+scscfAddr+";lr>, <sip:x@192.0.2.3;lr>", tagged, "P-Asserted-Identity: <sip:alice@home.test>")
			got := w.p2.want("UPDATE")
			w.header(got, sip.HRoute, "<sip:x@192.0.2.3;lr>")
			w.header(got, sip.HRecordRoute, "")
			w.ruri(got, "sip:bob@10.0.0.2")
			w.p2.reply(got, 200)
			w.p.want("200")
		}
		// A NOTIFY may be the first that its receiver hears of the dialog (RFC 6665 4.3).
		for _, c := range []struct{ route, want string }{
			{"<sip:mo@" + scscfAddr + ";lr>, ", "<sip:mo@" + scscfAddr + ";lr>"},
			{"<sip:mt@" + scscfAddr + ";lr>, <sip:mo@" + scscfAddr + ";lr>, ", "<sip:mt@" + scscfAddr + ";lr>"},
			{"", ""},
		} {
			w.p.send("NOTIFY", "sip:bob@192.0.2.3", "Route: "+c.route+"<sip:x@192.0.2.3;lr>", tagged)
			got := w.p2.want("NOTIFY")
			w.header(got, sip.HRecordRoute, c.want)
			w.p2.reply(got, 200)
			w.p.want("200")
		}
		for _, ruri := range []string{"sip:" + scscfAddr, "sip:mo@" + scscfAddr, "sip:bob@home.test"} {
			w.p.send("BYE", ruri, tagged)
			w.why(w.p.want("481"), "within a dialog ends here")
		}
		w.as1.nothing()
	})
}
