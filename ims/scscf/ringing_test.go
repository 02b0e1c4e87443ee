package scscf

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/node"
)

// However often the callee says that it rings, a call ends, and what is within a dialog
// and says so; an emergency call is let ring.
func TestEndOfRinging(t *testing.T) {
	const terminating, tagged = "Route: <sip:" + scscfAddr + ";lr>", "To: <sip:bob@home.test>;tag=t"
	for _, tt := range []struct {
		name, uri string
		lines     []string
		to        func(w *world) *peer
		ends      bool
		why       string
	}{
		{"a call to a contact", "sip:bob@home.test", []string{terminating}, func(w *world) *peer { return w.p }, true, "or it has rung for eleven"},
		{"a call of a phone", "sip:carol@home.test", []string{alongSR, "P-Asserted-Identity: <sip:bob@home.test>"}, func(w *world) *peer { return w.i }, true, "or it has rung for eleven"},
		{"a call that an application server has", "sip:carol@home.test", []string{alongSR, "P-Asserted-Identity: <sip:alice@home.test>"}, func(w *world) *peer { return w.as1 }, true, ""},
		{"within a dialog", "sip:bob@10.0.0.2", []string{"Route: <sip:mt@" + scscfAddr + ";lr>, <sip:token@192.0.2.22;lr>", tagged}, func(w *world) *peer { return w.as2 }, true, ""},
		{"an emergency call", "urn:service:sos", []string{alongSR, "To: <urn:service:sos>", "P-Asserted-Identity: <sip:alice@home.test>"}, func(w *world) *peer { return w.as1 }, false, ""},
		{"an emergency within a dialog", "urn:service:sos", []string{"Route: <sip:mt@" + scscfAddr + ";lr>, <sip:token@192.0.2.22;lr>", tagged}, func(w *world) *peer { return w.as2 }, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.alice(to(1, "sip:as1.home.test", terminated))
				w.bob()
				w.other.send("INVITE", tt.uri, tt.lines...)
				callee := tt.to(w)
				m, began := callee.want("INVITE"), time.Now()
				for time.Since(began) < 2*node.MaxRinging && len(callee.box) == 0 {
					callee.reply(m, 180)
					time.Sleep(170 * time.Second)
					synctest.Wait()
				}
				for w.other.want("180"); len(w.other.box) > 0; { // a 180 within a dialog is told once
					w.other.want("180")
				}
				if ends := len(callee.box) > 0; ends != tt.ends {
					t.Fatalf("it ends: %v, after %v", ends, time.Since(began))
				}
				if !tt.ends {
					callee.reply(m, 486)
					w.other.want("486")
					return
				}
				if took := time.Since(began); took < node.MaxRinging {
					t.Errorf("it rang for %v", took)
				}
				callee.reply(callee.want("CANCEL"), 200)
				callee.reply(m, 487)
				if m := w.other.want("408"); tt.why != "" {
					w.why(m, tt.why)
				}
			})
		})
	}
}
