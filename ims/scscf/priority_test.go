package scscf

import (
	"testing"

	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestPriorityIsWhatTheSubscriptionAllows(t *testing.T) {
	conformance.Shows(t, "HD-11") // what phones may ask for: TestPriorityOfPhones (ims/pcscf); load: TestOverload (ims/sip/transaction)
	inWorld(t, nil, func(w *world) {
		alice := id("sip:alice@home.test")
		alice.Priorities = []profile.Priority{{Namespace: "wps", Level: "2"}, {Namespace: "dsn", Level: "priority"}}
		w.register(user(nil, alice), at("sip:alice@10.0.0.1"))
		w.register(user([]profile.InitialFilterCriteria{to(1, "sip:as1.home.test", terminated)}, id("sip:carol@home.test")), at("sip:carol@10.0.0.3"))
		for said, want := range map[string]string{
			"wps.2": "wps.2", "WPS.4, Dsn.Priority": "WPS.4 | Dsn.Priority",
			"wps.1": "", "wps.0, wps.3": "wps.3", "ets.4": "", "dsn.flash": "", "wps": "", "wps.-1": "", "dsn.2": "",
		} {
			w.p.call("sip:bob@home.test", "Resource-Priority: "+said)
			got := w.i.want("INVITE")
			w.header(got, sip.HResourcePriority, want)
			w.i.reply(got, 486)
			w.p.want("486")
		}
		w.told(trace.Decision, "may not ask for priority")

		// Who has not subscribed to any has none; what a server of hers adds counts.
		w.p.send("INVITE", "sip:bob@home.test", alongSR, "P-Asserted-Identity: <sip:carol@home.test>", "Resource-Priority: wps.4")
		as := w.as1.want("INVITE")
		w.header(as, sip.HResourcePriority, "")
		w.as1.back(as, func(e *sip.Edits) { e.Add(sip.HResourcePriority, "ets.0") })
		w.header(w.i.want("INVITE"), sip.HResourcePriority, "ets.0")
	})
}
