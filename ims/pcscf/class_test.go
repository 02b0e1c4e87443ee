package pcscf

import (
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// classOf classifies a message as the P-CSCF does that came over a flow.
func (w *world) classOf(f sip.Flow, text string) admission.Class {
	w.t.Helper()
	m, err := sip.Parse(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.p.classify(f, m)
}

// gmFlow is that of a datagram from a phone to the open port.
func gmFlow(from string) sip.Flow {
	return sip.Flow{Role: sip.RoleGm, Local: netipAddr(gmAddr), Remote: netipAddr(from)}
}

// TestClasses: what a phone dials in an emergency is never refused for load, what has
// come a long way late.
func TestClasses(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "192.0.2.50:5060")
		core := sip.Flow{Role: sip.RoleCore, Local: netipAddr(mwAddr), Remote: netipAddr(scscfAddr)}
		for _, tt := range []struct {
			name, method, uri string
			from              sip.Flow
			want              admission.Class
		}{
			{"a call", "INVITE", "sip:bob@" + domain, gmFlow(strangerAddr), admission.New},
			{"a call for the phone", "INVITE", "sip:bob@192.0.2.1", core, admission.Begun},
			{"emergency", "INVITE", sos, gmFlow(strangerAddr), admission.Vital},
			{"its number", "INVITE", "tel:112;phone-context=" + domain, gmFlow(strangerAddr), admission.Vital},
			{"its number at home", "INVITE", "sip:112@" + domain + ";user=phone", gmFlow(strangerAddr), admission.Vital},
			{"a message to that number", "MESSAGE", "tel:112;phone-context=" + domain, gmFlow(strangerAddr), admission.New},
			{"a message to the service", "MESSAGE", sos, gmFlow(strangerAddr), admission.New},
			{"a number that begins so", "INVITE", "tel:1123;phone-context=" + domain, gmFlow(strangerAddr), admission.New},
			{"a service that begins so", "INVITE", "urn:service:sosumi", gmFlow(strangerAddr), admission.New},
		} {
			if got := w.classOf(tt.from, p.text(tt.method, tt.uri, "c1")); got != tt.want {
				t.Errorf("%s is %v, want %v", tt.name, got, tt.want)
			}
		}
	}, takesEmergencies)
}

// What a request says of itself counts with those who are known; from others it would be
// a way past the overload control.
func TestClassesOfStrangers(t *testing.T) {
	within := "To: <sip:bob@" + domain + ">;tag=x"
	nonce := `Authorization: Digest username="alice@x", realm="x", nonce="x", uri="sip:x", response="x"`
	type row struct {
		name string
		flow sip.Flow
		text string
		want admission.Class
	}
	want := func(w *world, rows ...row) {
		for _, r := range rows {
			if got := w.classOf(r.flow, r.text); got != r.want {
				w.t.Errorf("%s is %v, want %v", r.name, got, r.want)
			}
		}
	}
	t.Run("in clear", func(t *testing.T) {
		run(t, func(w *world) {
			p, e := w.peer("alice", "192.0.2.50:5060"), w.scscf
			known, stranger := gmFlow("192.0.2.50:5060"), gmFlow(strangerAddr)
			p.register()
			want(w,
				row{"a phone's BYE", known, p.text("BYE", "sip:bob@x", "c1", within), admission.Vital},
				row{"another's BYE", stranger, p.text("BYE", "sip:bob@x", "c1", within), admission.New},
				row{"another's emergency in a dialog", stranger, p.text("INVITE", sos, "c1", within), admission.New},
				row{"the answer to a challenge", stranger, p.text("REGISTER", "sip:x", "r1", nonce), admission.Begun},
				row{"a BYE from the core", sip.Flow{Role: sip.RoleCore}, p.text("BYE", "sip:bob@x", "c1", within), admission.Vital},
			)
			s := w.peer("stranger", strangerAddr)
			c := s.sosCall(e, "e1")
			c.ring(200, "psap")
			want(w, row{"in his emergency call", stranger, s.text("BYE", "sip:bob@x", "e1", c.lines()...), admission.Vital},
				row{"in another", stranger, s.text("BYE", "sip:bob@x", "e2", c.lines()...), admission.New})
		}, takesEmergencies, besideTheSCSCF)
	})
	t.Run("with IPsec", func(t *testing.T) {
		secure(t, func(w *world) {
			u := w.ue("alice", "192.0.2.50")
			u.begin()
			a := w.p.sec.byID[w.ipsec.installed()[0].ID]
			over := sip.Flow{Role: sip.RoleProtectedServer, Local: a.Local.Server(), Remote: a.Remote.Client()}
			bye, register := u.text("BYE", "sip:bob@x", "c1", within), u.text("REGISTER", "sip:x", "r1", nonce)
			want(w, row{"over a set that is not answered for", over, bye, admission.New},
				row{"the answer to its challenge", over, register, admission.Begun},
				row{"one in clear", gmFlow("192.0.2.50:5060"), register, admission.New})
			u.answer401()
			want(w, row{"over its set", over, bye, admission.Vital}, row{"in clear", gmFlow("192.0.2.50:5060"), bye, admission.New})
		})
	})
	t.Run("emergency registrations", func(t *testing.T) {
		secure(t, func(w *world) {
			u := w.ue("alice", "192.0.2.50")
			text := u.register("Contact: <sip:alice@192.0.2.50;sos>")
			vital := func(f sip.Flow) (n int) {
				for range 1000 {
					if w.classOf(f, text) == admission.Vital {
						n++
					}
				}
				return n
			}
			if n := vital(gmFlow(strangerAddr)); n != strangeEmergencies {
				t.Errorf("%d of strangers at once, want %d", n, strangeEmergencies)
			}
			time.Sleep(500 * time.Millisecond)
			if n := vital(gmFlow(strangerAddr)); n != strangeEmergencies/2 {
				t.Errorf("%d of strangers in half a second, want %d", n, strangeEmergencies/2)
			}
			u.up()
			a := w.p.sec.byID[w.ipsec.installed()[0].ID]
			if n := vital(sip.Flow{Role: sip.RoleProtectedServer, Local: a.Local.Server(), Remote: a.Remote.Client()}); n != 1000 {
				t.Errorf("%d over SAs, want 1000", n)
			}
		})
	})
}
