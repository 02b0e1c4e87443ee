package scscf

import (
	"testing"
	"testing/synctest"
	"time"
)

// Who sends an INVITE hears that it has come through the core when the next hop has said
// so: a P-CSCF counts those of which it has not heard.
func TestTryingComesFromTheNextHop(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.alice()
		w.bob()
		for _, tt := range []struct {
			name     string
			from, at *peer
			ruri     string
			lines    []string
		}{
			{"originating", w.p, w.i, "sip:bob@home.test", []string{alongSR, "P-Asserted-Identity: <sip:alice@home.test>"}},
			{"terminating", w.i, w.p, "sip:bob@home.test", []string{"P-Asserted-Identity: <sip:carol@away.test>"}},
		} {
			before := tt.from.tryings.Load()
			tried := func() int32 {
				time.Sleep(50 * time.Millisecond)
				synctest.Wait()
				return tt.from.tryings.Load() - before
			}
			tt.from.send("INVITE", tt.ruri, tt.lines...)
			m := tt.at.want("INVITE")
			if n := tried(); n != 0 {
				t.Errorf("%s: %d times 100, and the next hop has not said so", tt.name, n)
			}
			tt.at.reply(m, 100)
			if n := tried(); n != 1 {
				t.Errorf("%s: %d times 100 when the next hop has said so", tt.name, n)
			}
			tt.at.reply(m, 486)
			tt.from.want("486")
		}
	})
}
