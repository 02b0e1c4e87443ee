package pcscf

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// toAlice are the headers of a request that the S-CSCF sends along the Path.
func toAlice(token string, more ...string) []string {
	return append([]string{
		"Route: <sip:" + token + "@" + mwAddr + ";lr>", "Record-Route: " + farRoute[1] + ", " + farRoute[0],
		"P-Called-Party-ID: <tel:+49" + number("alice") + ">",
		`P-Charging-Vector: icid-value="i1";orig-ioi="Type 1home"`,
	}, more...)
}

func TestOnlyAlongThePath(t *testing.T) {
	conformance.Shows(t, "PT-01")
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		token := p.register()
		for _, lines := range [][]string{
			{"Route: <sip:" + strings.Repeat("a", len(token)) + "@" + mwAddr + ";lr>"},
			{"Route: <sip:" + strings.ToUpper(token) + "@" + mwAddr + ";lr>"},
			{"Route: <sip:" + mwAddr + ";lr>"},
			{"X: no Route"},
			{"Route: <sip:gone@" + mwAddr + ";lr>", "To: <sip:alice@" + domain + ">;tag=x"},
		} {
			w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@198.51.100.1:5060", sip.NewCallID(), lines...))
			w.scscf.refused(404, "not registered through this P-CSCF")
			a := w.scscf.text("ACK", "sip:alice@198.51.100.1:5060", sip.NewCallID(), lines...)
			w.scscf.send(mwAddr, a)
		}
		p.nothing(time.Second)
	})
}

func TestCallForAPhone(t *testing.T) {
	conformance.Shows(t, "PT-02", "PT-03")
	conformance.Partly(t, "PT-05", "HD-02", "HD-10")
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		token := p.register()
		w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@198.51.100.1:5060", "c1", toAlice(token,
			"+Route: <sip:198.51.100.99;lr>", "P-Charging-Function-Addresses: ccf=x", "P-Served-User: <sip:x@y>", "P-User-Database: <aaa://x>",
			"P-Profile-Key: <sip:x!.*!@y>", "P-Visited-Network-ID: x", "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=x",
			"Cellular-Network-Info: x", "P-Private-Network-Indication: x", "Restoration-Info: x", "P-Asserted-Identity: <sip:bob@"+domain+">",
			"P-Asserted-Service: urn:urn-7:mmtel", "P-Early-Media: supported", "Feature-Caps: *;+x")...))
		a := p.request("INVITE")
		for _, id := range []sip.ID{
			sip.HRoute, sip.HPChargingFunctionAddresses, sip.HPChargingVector, sip.HPServedUser, sip.HPUserDatabase, sip.HPProfileKey,
			sip.HPVisitedNetworkID, sip.HPAccessNetworkInfo, sip.HCellularNetworkInfo, sip.HPPrivateNetworkIndication, sip.HRestorationInfo,
		} {
			if a.Has(id) {
				t.Errorf("the phone sees %v: %q", id, a.Get(id))
			}
		}
		for _, id := range []sip.ID{sip.HPCalledPartyID, sip.HPAssertedIdentity, sip.HPAssertedService, sip.HPEarlyMedia, sip.HFeatureCaps} {
			if !a.Has(id) {
				t.Errorf("the phone does not see %v", id)
			}
		}
		check(t, "Request-URI", a.RequestURI(), "sip:alice@198.51.100.1:5060")
		recorded := []string{"<sip:" + token + "@" + gmAddr + ";lr>", "<sip:" + token + "@" + mwAddr + ";lr>", farRoute[1], farRoute[0]}
		check(t, "Record-Route", values(a.Message, sip.HRecordRoute), recorded)
		check(t, "Via", values(a.Message, sip.HVia)[0][:len("SIP/2.0/UDP "+gmAddr)], "SIP/2.0/UDP "+gmAddr)

		const contact = "Contact: <sip:alice@198.51.100.1:5060>"
		tel := "<tel:+49" + number("alice") + ">"
		asserts := func(status int, want string, record []string, more ...string) arrival {
			t.Helper()
			p.reply(a, responseText(a, status, "alice", record, append(more, contact)...))
			m := w.scscf.status(status)
			check(t, fmt.Sprint(status, ": P-Asserted-Identity"), values(m.Message, sip.HPAssertedIdentity), []string{want})
			if m.Has(sip.HPPreferredIdentity) {
				t.Error("P-Preferred-Identity goes on")
			}
			v, err := sip.ParseChargingVector(m.Get(sip.HPChargingVector))
			if err != nil || v.ICID != "i1" || v.OrigIOI != "Type 1home" || v.TermIOI != "Type 1"+domain {
				t.Errorf("P-Charging-Vector is %q", m.Get(sip.HPChargingVector))
			}
			if status < 300 {
				check(t, fmt.Sprint(status, ": Record-Route"), values(m.Message, sip.HRecordRoute), recorded)
			}
			if strings.Contains(m.Raw(), "MiNe") || m.Has(sip.HPEarlyMedia) {
				t.Errorf("forwarded:\n%s", m.Raw())
			}
			return m
		}
		// What the phone says of itself counts only if it is true; the route is ours.
		asserts(180, tel, recorded)
		asserts(181, tel, []string{"<sip:MiNe@198.51.100.66;lr>"}, "P-Asserted-Identity: <sip:MiNe@x.org>", "P-Preferred-Identity: <sip:bob@"+domain+">")
		asserts(183, "<sip:alice@"+domain+">", nil, "P-Preferred-Identity: <sip:alice@"+domain+">", "P-Early-Media: supported, MiNe", "P-Charging-Vector: icid-value=MiNe", "Require: 100rel, sec-agree")
		asserts(486, tel, nil, "Reason: Q.850;cause=17")
	})
}

// The called phone answers without anybody having said by which name it is called.
func TestAnswerWithoutCalledParty(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		token := p.register()
		w.scscf.send(mwAddr, w.scscf.text("MESSAGE", "sip:alice@198.51.100.1:5060", "c1", "Route: <sip:"+token+"@"+mwAddr+";lr>"))
		a := p.request("MESSAGE")
		if a.Has(sip.HRecordRoute) {
			t.Error("a MESSAGE makes no dialog")
		}
		p.answer(a, 200)
		check(t, "P-Asserted-Identity", w.scscf.status(200).Get(sip.HPAssertedIdentity), "<sip:alice@"+domain+">")
	})
}

// The called phone is kept to the dialog's route as the calling one is.
func TestCalledPhoneWithinTheDialog(t *testing.T) {
	conformance.Partly(t, "PO-08", "PT-05")
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		token := p.register()
		w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@198.51.100.1:5060", "c1", toAlice(token)...))
		a := p.request("INVITE")
		recorded := values(a.Message, sip.HRecordRoute)
		p.reply(a, responseText(a, 200, "alice", recorded, "Contact: <sip:alice@198.51.100.1:5060>"))
		m := w.scscf.status(200)
		w.scscf.send(mwAddr, w.scscf.text("ACK", "sip:alice@198.51.100.1:5060", "c1", "To: "+m.Get(sip.HTo), "Route: "+recorded[1]+", "+recorded[0]))
		if b := p.request("ACK"); b.Has(sip.HRoute) {
			t.Errorf("the phone sees:\n%s", b.Raw())
		}

		within := []string{"From: <sip:alice@" + domain + ">;tag=alice", "To: " + a.Get(sip.HFrom)}
		p.send(gmAddr, p.text("INVITE", "sip:far@192.0.2.88", "c1", append(within, "Route: "+strings.Join(recorded, ", "))...))
		b := w.scscf.nextAt("192.0.2.77:5060", "INVITE")
		check(t, "Route", values(b.Message, sip.HRoute), []string{farRoute[1], farRoute[0]})
		if v, err := sip.ParseChargingVector(b.Get(sip.HPChargingVector)); err != nil || v.ICID != "i1" {
			t.Errorf("P-Charging-Vector is %q", b.Get(sip.HPChargingVector))
		}
		p.send(gmAddr, p.text("BYE", "sip:far@192.0.2.88", "c1", append(within, "Route: <sip:198.51.100.66;lr>")...))
		b = w.scscf.nextAt("192.0.2.77:5060", "BYE")
		check(t, "Route", values(b.Message, sip.HRoute), []string{farRoute[1], farRoute[0]})
	})
}

// nextAt opens a socket of the core's at an address that a route names, if it has
// none yet, and returns the next request there.
func (p *peer) nextAt(addr, method string) arrival {
	p.w.t.Helper()
	for _, q := range p.w.peers {
		if q.addr.String() == addr {
			return q.request(method)
		}
	}
	return p.w.peer(addr, addr).request(method)
}

func TestPhoneThatIsNotReached(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		token := p.register()

		// It rings and nobody answers: that is no fault.
		w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@198.51.100.1:5060", "c1", toAlice(token)...))
		a := p.request("INVITE")
		p.answer(a, 180)
		w.scscf.status(180)
		p.answer(p.request("CANCEL"), 200) // Timer C
		p.answer(a, 487)
		w.scscf.refused(408, "has not answered the call to")

		// It is silent.
		w.scscf.send(mwAddr, w.scscf.text("INVITE", "sip:alice@198.51.100.1:5060", "c2", toAlice(token)...))
		p.request("INVITE")
		w.scscf.refused(480, "is not reached")

		// Its port is closed.
		w.net.SetHook(func(k memnet.Packet) memnet.Verdict {
			if k.To == p.addr {
				return memnet.Refuse
			}
			return memnet.Pass
		})
		start := time.Now()
		w.scscf.send(mwAddr, w.scscf.text("MESSAGE", "sip:alice@198.51.100.1:5060", "c3", toAlice(token)...))
		w.scscf.refused(480, "is not reached")
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
