package scscf

import (
	"testing"

	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// The I-CSCF says which HSS it has asked: the S-CSCF asks the same one, and tells
// nobody.
func TestUserDatabaseIsWhereTheUserIs(t *testing.T) {
	conformance.Shows(t, "HD-08") // P-Profile-Key: TestNumbersAndWildcards
	const here = "P-User-Database: <aaa://hss.home.test:3868;transport=tcp>"
	for line, want := range map[string]string{here: "hss.home.test", "P-User-Database: <sip:hss.home.test>": "", "X: y": ""} {
		atHome(t, nil, func(h *homeNet) {
			p := h.alicePhone()
			p.challenge(line)
			if got := h.hss.mars[0].DestinationHost; got != want {
				t.Errorf("%s: the MAR is for %q, want %q", line, got, want)
			}
		})
	}
	hss := &scriptedHSS{profiles: map[string]*profile.Profile{"sip:carol@home.test": user([]profile.InitialFilterCriteria{
		to(1, "sip:as1.home.test", terminated)}, id("sip:carol@home.test"))}}
	inWorld(t, hss, func(w *world) {
		w.i.send("INVITE", "sip:carol@home.test", here)
		got := w.as1.want("INVITE")
		w.header(got, sip.HPUserDatabase, "")
		if hss.host != "hss.home.test" {
			t.Errorf("the SAR is for %q", hss.host)
		}
	})
}

// The icid stays with the request, and with it what it is related to; the operator
// identifiers are of the type of each hop.
func TestChargingVectorOfEachHop(t *testing.T) {
	conformance.Shows(t, "HD-02") // a new icid for each dialog: TestRegisterGoesHomeWithWhatItNeeds
	const related = `;related-icid="before";related-icid-gen-addr=192.0.2.9;x="y z"`
	const icid = `icid-value="ic1"`
	inWorld(t, nil, func(w *world) {
		w.alice(to(0, "sip:as1.home.test", terminated))
		// The phone's P-CSCF, type 1, to the application server, type 3.
		w.p.send("INVITE", "sip:bob@home.test", alongSR, "P-Asserted-Identity: <sip:alice@home.test>",
			"-P-Charging-Vector: "+icid+`;orig-ioi="Type 1visited.test"`+related)
		as := w.as1.want("INVITE")
		w.header(as, sip.HPChargingVector, icid+`;orig-ioi="Type 3home.test"`+related)
		// The server gives it back; to the called side, type 2.
		w.as1.back(as, func(e *sip.Edits) {
			e.Set(sip.HPChargingVector, icid+`;orig-ioi="Type 3home.test";term-ioi="Type 3as1"`+related)
		})
		far := w.i.want("INVITE")
		w.header(far, sip.HPChargingVector, icid+`;orig-ioi="Type 2home.test"`+related)
		// Back the same way: each gets its own orig-ioi, with our term-ioi.
		w.i.reply(far, 180, sip.Field{ID: sip.HPChargingVector, Value: icid + `;orig-ioi="Type 2home.test";term-ioi="Type 2other.test"` + related})
		as180 := w.as1.want("180")
		w.header(as180, sip.HPChargingVector, icid+`;orig-ioi="Type 3home.test";term-ioi="Type 3home.test"`+related)
		w.as1.relay(as180)
		w.header(w.p.want("180"), sip.HPChargingVector, icid+`;orig-ioi="Type 1visited.test";term-ioi="Type 1home.test"`+related)
	})
}

// What stands in several Path entries, on one line or more, comes back in the 200
// and becomes the Route to the phone in that order.
func TestPathIsKeptInOrder(t *testing.T) {
	conformance.Shows(t, "HD-03") // the P-CSCF's entry and the phone's wish: TestRegisterGoesHomeWithWhatItNeeds
	const first, second, third = "<sip:token-alice@192.0.2.1:5060;lr>", `"the edge" <sip:edge@192.0.2.98;lr;x="y,z">;q=1`, "<sip:far@192.0.2.99;lr>"
	atHome(t, nil, func(h *homeNet) {
		p := h.alicePhone()
		m := p.register("Path: "+first+", "+second, "Path: "+third)
		h.header(m, sip.HPath, first+" | "+second+" | "+third)
		h.i.send("INVITE", "sip:alice@home.test")
		h.header(h.p.want("INVITE"), sip.HRoute, first+" | "+second+" | "+third)
		// A REGISTER that says nothing of Path has none either.
		h.why(p.send(403, p.answer(), "Path:"), "has no Path")
	})
}
