package icscf

import (
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

				// An ACK passes, and says no more than others.
				w.p.send(w.p.text("ACK", "sip:alice@198.51.100.1", "c3", "To: <sip:alice@"+domain+">;tag=z", asserted, network, "Route: <sip:"+s1Addr+";lr>"))
				time.Sleep(time.Second)
				acks := 0
				for len(w.s1.box) > 0 {
					if m := <-w.s1.box; m.CallID() == "c3" {
						acks++
						if m.Has(sip.HPAssertedIdentity) != tt.inside || m.Has(sip.HPAccessNetworkInfo) != tt.inside {
							t.Errorf("the ACK comes in as:\n%s", m.Raw())
						}
					}
				}
				if acks != 1 {
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
