package scscf

import (
	"fmt"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// The HSS gives no vectors any more: a few REGISTERs wait for it, all others get 503 at
// once, what is kept for them stays bounded, and who comes when it is back is served.
func TestSilentHSSKeepsNobodyWaiting(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		const every, phones = 10 * time.Millisecond, 200
		h.alicePhone().register()
		h.hss.silent("MAR")
		refused, most := 0, 0
		for i := range phones {
			name := fmt.Sprint("u", i)
			h.hss.user(name+"@"+home, user(nil, id("sip:"+name+"@home.test")))
			h.phone(name).write(h.phone(name).digest("", nil))
			time.Sleep(every)
			most = max(most, h.s.core.Stats().Transaction.Open)
			for len(h.p.box) > 0 {
				m := <-h.p.box
				if m.Status() != 503 {
					continue
				}
				refused++
				if n, ok := sip.ParseRetryAfter(m.Get(sip.HRetryAfter)); !ok || n < 5 || n > 10 {
					t.Errorf("Retry-After %q, want 5 to 10", m.Get(sip.HRetryAfter))
				}
			}
		}
		// Its silence shows after a quarter of the time-out, half a second.
		if waiting := int(time.Second / 2 / every); most > waiting+5 || refused < phones-waiting-5 {
			t.Errorf("of %d REGISTERs %d were under way at once and %d refused, want %d and the rest", phones, most, refused, waiting)
		}
		h.hss.silent("")
		time.Sleep(3 * time.Second)
		for len(h.p.box) > 0 { // what has been given up
			<-h.p.box
		}
		h.phone("u0").register()
		if open := h.s.core.Stats().Transaction.Open; open != 0 {
			t.Errorf("%d transactions are open when all is over", open)
		}
	})
}
