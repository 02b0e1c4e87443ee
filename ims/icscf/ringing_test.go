package icscf

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
)

// However often the callee says that it rings, a call ends; an emergency call is let ring.
func TestEndOfRinging(t *testing.T) {
	for _, tt := range []struct {
		name, uri string
		lines     []string
		asked     string // of the HSS
		ends      bool
	}{
		{"a call", "sip:alice@" + domain, nil, "sip:alice@" + domain, true},
		{"within a dialog", "sip:alice@" + s1Addr, []string{"To: <sip:alice@" + domain + ">;tag=z", "Route: <sip:" + s1Addr + ";lr>"}, "", true},
		{"an emergency call", "urn:service:sos", []string{"To: <urn:service:sos>", "Route: <sip:icscf." + domain + ";lr;orig>", "P-Asserted-Identity: <sip:alice@" + domain + ">"}, "sip:alice@" + domain, false},
		{"an emergency within a dialog", "urn:service:sos", []string{"To: <urn:service:sos>;tag=z", "Route: <sip:" + s1Addr + ";lr>"}, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.send(w.p.text("INVITE", tt.uri, "c1", tt.lines...))
				if tt.asked != "" {
					w.lir(tt.asked).named(t, s1)
				}
				m, began := w.s1.request("INVITE"), time.Now()
				for time.Since(began) < 2*node.MaxRinging && len(w.s1.box) == 0 {
					w.s1.answer(m, 180, "X-Count: "+sip.NewTag())
					w.p.status(180)
					time.Sleep(170 * time.Second)
					synctest.Wait()
				}
				if ends := len(w.s1.box) > 0; ends != tt.ends {
					t.Fatalf("it ends: %v, after %v", ends, time.Since(began))
				}
				if !tt.ends {
					w.s1.answer(m, 486)
					w.p.status(486)
					return
				}
				if took := time.Since(began); took < node.MaxRinging {
					t.Errorf("it rang for %v", took)
				}
				w.s1.answer(w.s1.request("CANCEL"), 200)
				w.s1.answer(m, 487)
				w.p.status(408)
			})
		})
	}
}
