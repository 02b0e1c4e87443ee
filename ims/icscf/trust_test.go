package icscf

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// Another network may call a user of ours, and for nobody but itself.
func TestOutsideOfTheTrustDomain(t *testing.T) {
	conformance.Shows(t, "IC-18")
	conformance.Partly(t, "HD-05", "HD-06")
	for _, tt := range []struct {
		name    string
		trusted string
		inside  bool
	}{{"outside", "198.51.100.0/24", false}, {"inside", "192.0.2.0/24", true}} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				asserted := "P-Asserted-Identity: <sip:eve@" + domain + ">"
				history := "History-Info: <sip:eve@x.org>;index=1, <sip:alice@" + domain + ">;index=1.1"
				network := "P-Access-Network-Info: 3GPP-E-UTRAN-FDD"
				remote, diversion, charge := "Remote-Party-ID: <sip:eve@x.org>", "Diversion: <sip:eve@x.org>", "P-Charge-Info: <sip:eve@x.org>"
				w.p.send(w.p.text("INVITE", "sip:alice@"+domain, "c1", asserted, history, remote, diversion, charge, "P-Served-User: <sip:eve@"+domain+">", `P-Charging-Vector: icid-value="x"`))
				w.lir("sip:alice@"+domain).named(t, s1)
				m := w.s1.request("INVITE")
				for _, id := range []sip.ID{sip.HPAssertedIdentity, sip.HHistoryInfo, sip.HPServedUser, sip.HPChargingVector, sip.HRemotePartyID, sip.HDiversion, sip.HPChargeInfo} {
					if m.Has(id) != tt.inside {
						t.Errorf("%v comes in: %v", id, m.Has(id))
					}
				}
				w.s1.answer(m, 180, "Privacy: id", "P-Asserted-Identity: <sip:alice@"+domain+">", network)
				back := w.p.status(180)
				if back.Has(sip.HPAssertedIdentity) != tt.inside || back.Has(sip.HPAccessNetworkInfo) != tt.inside {
					t.Errorf("what goes out:\n%s", back.Raw())
				}
				w.s1.answer(m, 486)
				w.p.status(486)

				// An ACK from there is of no dialog whose route we are in.
				w.p.send(w.p.text("ACK", "sip:alice@198.51.100.1", "c3", "To: <sip:alice@"+domain+">;tag=z", "Route: <sip:"+s1Addr+";lr>"))
				time.Sleep(time.Second)
				acks := 0
				for len(w.s1.box) > 0 {
					if m := <-w.s1.box; m.CallID() == "c3" {
						acks++
					}
				}
				if tt.inside && acks != 1 || !tt.inside && acks != 0 {
					t.Errorf("%d ACKs come in", acks)
				}

				w.p.send(w.p.text("INVITE", "sip:alice@"+domain, "c2", asserted, "Route: <sip:icscf."+domain+";lr;orig>"))
				if !tt.inside {
					w.p.refused(403, "acts for a user of ours, and that address is not of the trust domain")
					w.p.register("r1")
					w.p.refused(403, "registers a user of ours, and that address is not of the trust domain")
					w.quiet()
				}
			}, func(c *Config) { c.Trusted = append(c.Trusted, netip.MustParsePrefix(tt.trusted)) })
		})
	}
}

// Whoever is outside of the trust domain and writes a To tag into a request has it carried
// nowhere, and is not let in where only what was let in before is.
func TestDialogsOfOutsiders(t *testing.T) {
	const farAddr, strangerAddr = "198.51.100.66:5060", "203.0.113.7:5060"
	within := func(p *peer, method, callID, route string) string {
		return p.text(method, "sip:x@198.51.100.66", callID, "To: <sip:x@198.51.100.66>;tag=1", "Route: "+route)
	}
	const along = "<sip:icscf." + domain + ";lr>, <sip:" + farAddr + ";lr>"
	inside := func(c *Config) { c.Trusted = append(c.Trusted, netip.MustParsePrefix("192.0.2.0/24")) }
	t.Run("carried nowhere", func(t *testing.T) {
		run(t, func(w *world) {
			far, stranger := w.peer("far", farAddr), w.peer("stranger", strangerAddr)
			for _, method := range []string{"INVITE", "BYE", "NOTIFY", "ACK"} {
				for i, route := range []string{along, "<sip:" + farAddr + ";lr>", "<sip:icscf." + domain + ";lr>, <sip:" + s1Addr + ";lr>, <sip:" + farAddr + ";lr>", "<sip:icscf." + domain + ";lr>"} {
					stranger.send(within(stranger, method, fmt.Sprint(method, i), route))
					if method != "ACK" {
						stranger.refused(481, "which is not of the trust domain: an I-CSCF is in no dialog's route")
					}
				}
			}
			time.Sleep(time.Second)
			for _, p := range []*peer{far, w.s1} {
				if len(p.box) > 0 {
					t.Errorf("%s got:\n%s", p.name, (<-p.box).Raw())
				}
			}
			w.p.send(within(w.p, "BYE", "inside", along)) // of the trust domain
			far.answer(far.request("BYE"), 200)
			w.p.status(200)
		}, inside)
	})
	t.Run("let in after others", func(t *testing.T) {
		const most = 16
		run(t, func(w *world) {
			far, stranger := w.peer("far", farAddr), w.peer("stranger", strangerAddr)
			for i := range most - most/8 { // they wait for the HSS
				w.p.send(w.p.text("INVITE", "sip:alice@"+domain, fmt.Sprint("c", i)))
			}
			time.Sleep(100 * time.Millisecond)
			check(t, "open", w.i.core.Stats().Transaction.Open, most-most/8)
			stranger.send(within(stranger, "INVITE", "outside", along))
			stranger.status(503)
			w.p.send(within(w.p, "BYE", "inside", along))
			far.answer(far.request("BYE"), 200)
			w.p.status(200)
		}, inside, func(c *Config) { c.MaxTransactions = most })
	})
}
