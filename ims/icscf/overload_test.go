package icscf

import (
	"fmt"
	"testing"
	"time"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
)

// The user's S-CSCF has no time: the I-CSCF says so in its own name, and when to come
// back.
func TestBusySCSCF(t *testing.T) {
	for _, tt := range []struct{ said, passed string }{{"9", "9"}, {"9 (soon)", "9 (soon)"}, {"", "5"}, {"soon", "5"}} {
		t.Run("Retry-After "+tt.said, func(t *testing.T) {
			run(t, func(w *world) {
				w.p.register("r1")
				w.uar(cx.Registration).named(t, s1)
				m := w.s1.request("REGISTER")
				var lines []string
				if tt.said != "" {
					lines = append(lines, "Retry-After: "+tt.said)
				}
				w.s1.answer(m, 503, lines...)
				check(t, "Retry-After", w.p.refused(503, "S-CSCF is overloaded").Get(sip.HRetryAfter), tt.passed)
				w.quiet()
			})
		})
	}
}

// An HSS that answers nothing any more: a few wait for it, all others get 503 at once,
// and when it is back everybody is served.
func TestSlowHSS(t *testing.T) {
	run(t, func(w *world) {
		for i := range 60 {
			w.p.register(fmt.Sprint("r", i))
			time.Sleep(20 * time.Millisecond)
		}
		asked, refused := len(w.asked), 0
		for len(w.p.box) > 0 {
			m := <-w.p.box
			if m.Status() != 503 {
				continue
			}
			refused++
			if n, ok := sip.ParseRetryAfter(m.Get(sip.HRetryAfter)); !ok || n < 5 || n > 10 {
				t.Errorf("Retry-After %q, want 5 to 10", m.Get(sip.HRetryAfter))
			}
		}
		// Its silence shows after a quarter of the time-out.
		if most := int(2*time.Second/4/(20*time.Millisecond)) + 2; asked < 16 || asked > most || asked+refused < 59 {
			t.Errorf("the HSS was asked for %d of 60, want 16 to %d, and %d were refused", asked, most, refused)
		}
		w.explained("HSS does not answer fast enough")
		for len(w.asked) > 0 {
			w.ask().result(t, cx.FirstRegistration.Result())
		}
		time.Sleep(time.Second)
		for len(w.asked) > 0 { // questions that were put again
			w.ask().result(t, cx.FirstRegistration.Result())
		}
		w.p.register("after")
		if q := w.uar(cx.Registration); q.uar == nil {
			t.Error("the HSS is not asked after its silence")
		}
	}, func(c *Config) { c.Diameter.Timeout = node.Duration(2 * time.Second) })
}
