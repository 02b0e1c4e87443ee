package proxy

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// With LateTrying a core node's INVITE has its 100 when the next hop has said so, or else
// in time (RFC 3261 17.2.1); a phone's at once.
func TestTryingFollowsTheNextHop(t *testing.T) {
	run(t, to(homeAddr), func(w *world) {
		up, phone, h := w.peer("up", "192.0.2.70", false), w.peer("phone", phoneIP, false), w.peer("home", homeIP, false)
		for _, p := range []*peer{up, phone, h} {
			defer p.close()
		}
		refuse := func(from *peer, to, invite string, a arrival) {
			t.Helper()
			h.answer(a, 486)
			h.request("ACK")
			from.sendTo(sip.UDP, to, from.ackText(invite, from.status(486)))
		}
		waits := func(p *peer) {
			t.Helper()
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if len(p.box) > 0 {
				t.Fatalf("%s has %q, and the next hop has said nothing", p.name, (<-p.box).msg.StartLine())
			}
		}
		within := func(p *peer, d time.Duration) {
			t.Helper()
			began := time.Now()
			p.status(100)
			if took := time.Since(began); took > d {
				t.Errorf("%s has its 100 after %v more, want %v at most", p.name, took, d)
			}
		}

		invite := up.text("INVITE", "sip:test", "heard")
		up.send(invite)
		a := h.request("INVITE")
		waits(up)
		h.answer(a, 100)
		within(up, 20*time.Millisecond)
		refuse(up, coreAddr, invite, a)

		invite = up.text("INVITE", "sip:test", "silent")
		up.send(invite)
		a = h.request("INVITE")
		waits(up)
		within(up, 60*time.Millisecond)
		refuse(up, coreAddr, invite, a)

		invite = phone.text("INVITE", "sip:test", "phone")
		phone.sendTo(sip.UDP, gmAddr, invite)
		within(phone, 10*time.Millisecond)
		refuse(phone, gmAddr, invite, h.request("INVITE"))
		w.quiet()
	}, func(c *Config) { c.LateTrying = true })
}
