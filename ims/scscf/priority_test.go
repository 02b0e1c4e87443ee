package scscf

import (
	"net/netip"
	"testing"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
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

// Under load the priority that a phone asks for counts if its user may have it; what the
// core or an application server says counts.
func TestClassOfPriority(t *testing.T) {
	const bob = "sip:bob@home.test"
	inWorld(t, nil, func(w *world) {
		alice := id("sip:alice@home.test")
		alice.Priorities = []profile.Priority{{Namespace: "wps", Level: "2"}}
		w.register(user(nil, alice), at("sip:alice@10.0.0.1"))
		w.register(user(nil, id("sip:carol@home.test")), at("sip:carol@10.0.0.3"))
		for _, tt := range []struct {
			name, route, who, priority, uri, toTag string
			want                                   admission.Class
		}{
			{"a call", alongSR, "alice", "", bob, "", admission.New},
			{"what she may have", alongSR, "alice", "wps.2", bob, "", admission.Vital},
			{"that and more", alongSR, "alice", "wps.0, wps.3", bob, "", admission.Vital},
			{"more", alongSR, "alice", "wps.1", bob, "", admission.New},
			{"more within a dialog", alongSR, "alice", "wps.1", bob, ";tag=x", admission.Vital},
			{"of whom who may have none", alongSR, "carol", "wps.2", bob, "", admission.New},
			{"of whom nobody knows", alongSR, "mallory", "wps.2", bob, "", admission.New},
			{"what an application server asks for", "Route: <sip:scscf.home.test;lr;orig>", "carol", "wps.0", bob, "", admission.Vital},
			{"what has been through the caller's half", "Route: <sip:scscf.home.test;lr>", "carol", "wps.0", bob, "", admission.Vital},
			{"an emergency, which another P-CSCF than ours may bring", alongSR, "carol", "wps.0", "urn:service:sos", "", admission.Vital},
			{"a call to her", "Route: <sip:scscf.home.test;lr>", "carol", "", bob, "", admission.Begun},
		} {
			text := "INVITE " + tt.uri + " SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\nFrom: <sip:x@home.test>;tag=1\r\nTo: <sip:bob@home.test>" + tt.toTag +
				"\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nP-Asserted-Identity: <sip:" + tt.who + "@home.test>\r\n" + tt.route + "\r\n"
			if tt.priority != "" {
				text += "Resource-Priority: " + tt.priority + "\r\n"
			}
			m, err := sip.Parse(text + "Content-Length: 0\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if got := w.s.classify(sip.Flow{Role: sip.RoleCore}, m); got != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
			if tt.priority == "" || tt.uri != bob {
				continue // it is Vital for another reason, or for none
			}
			w.s.cfg.Trusted = node.Trusted{netip.MustParsePrefix("10.0.0.0/8")}
			if got := w.s.classify(outsider, m); got == admission.Vital {
				t.Errorf("%s: %v from outside of the trust domain", tt.name, got)
			}
			w.s.cfg.Trusted = nil
		}
	})
}

var outsider = sip.Flow{Role: sip.RoleCore, Remote: netip.MustParseAddrPort("203.0.113.1:5060")}

// From outside of the trust domain a dialog counts if we are in its route.
func TestClassOfDialogs(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for _, tt := range []struct {
			name, uri, route string
			want             admission.Class
		}{
			{"along our Record-Route", "sip:bob@10.0.0.2", "<sip:mt@" + scscfAddr + ";lr>, <sip:x@192.0.2.1;lr>", admission.Vital},
			{"by our name", "sip:bob@10.0.0.2", "<sip:mo@scscf.home.test;lr>", admission.Vital},
			{"from a strict router", "sip:mo@" + scscfAddr + ";lr", "<sip:x@192.0.2.1;lr>, <sip:bob@10.0.0.2>", admission.Vital},
			{"to us", "sip:bob@10.0.0.2", "<sip:" + scscfAddr + ";lr>, <sip:198.51.100.66;lr>", admission.New},
			{"along a Service-Route", "sip:bob@10.0.0.2", "<sip:orig@" + scscfAddr + ";lr>", admission.New},
			{"as if from an application server", "sip:bob@10.0.0.2", "<sip:odi-x@" + scscfAddr + ";lr>", admission.New},
			{"along another's route", "sip:bob@10.0.0.2", "<sip:mt@198.51.100.66;lr>", admission.New},
			{"an emergency", "urn:service:sos", "<sip:198.51.100.66;lr>", admission.New},
			{"without a route", "sip:mt@" + scscfAddr + ";lr", "", admission.New},
		} {
			text := "INVITE " + tt.uri + " SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bK1\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:bob@home.test>;tag=2" +
				"\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
			if tt.route != "" {
				text += "Route: " + tt.route + "\r\n"
			}
			m, err := sip.Parse(text + "Content-Length: 0\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			for _, of := range []struct {
				trusted string
				want    admission.Class
			}{{"", admission.Vital}, {"203.0.113.0/24", admission.Vital}, {"10.0.0.0/8", tt.want}} {
				w.s.cfg.Trusted = nil
				if of.trusted != "" {
					w.s.cfg.Trusted = node.Trusted{netip.MustParsePrefix(of.trusted)}
				}
				if got := w.s.classify(outsider, m); got != of.want {
					t.Errorf("%s: %v where %q is trusted, want %v", tt.name, got, of.trusted, of.want)
				}
			}
		}
	})
}
