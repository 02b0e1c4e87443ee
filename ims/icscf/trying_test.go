package icscf

import (
	"testing"
	"testing/synctest"
	"time"
)

// Who sends an INVITE hears that it has come through when the S-CSCF has said so, or
// else in time (RFC 3261 17.2.1), however long the HSS takes.
func TestTryingComesFromTheNextHop(t *testing.T) {
	for _, slow := range []bool{false, true} {
		run(t, func(w *world) {
			tried := func(d time.Duration) (n int) {
				time.Sleep(d)
				synctest.Wait()
				for len(w.p.box) > 0 {
					if m := <-w.p.box; m.Status() == 100 {
						n++
					}
				}
				return n
			}
			w.p.send(w.p.text("INVITE", "sip:alice@"+domain, "c1"))
			q := w.lir("sip:alice@" + domain)
			if slow {
				if n := tried(200 * time.Millisecond); n != 1 {
					t.Errorf("%d times 100 within 200 ms while the HSS is silent", n)
				}
			}
			q.named(t, s1)
			m := w.s1.request("INVITE")
			if n := tried(50 * time.Millisecond); n != 0 {
				t.Errorf("slow %v: %d times 100, and the next hop has not said so", slow, n)
			}
			w.s1.answer(m, 100)
			if n := tried(50 * time.Millisecond); n != map[bool]int{false: 1, true: 0}[slow] {
				t.Errorf("slow %v: %d times 100 when the next hop has said so", slow, n)
			}
			w.s1.answer(m, 486)
			w.p.status(486)
		})
	}
}
