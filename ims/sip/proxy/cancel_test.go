package proxy

import (
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// Whoever hangs up while the next hop is silent need not wait for the transaction
// to time out where the target's own time is shorter.
func TestCancelWhileSilent(t *testing.T) {
	h := handlerFunc(func(x *Exchange) {
		x.Forward(Target{Hop: hop("192.0.2.20:5060"), Timeout: 4 * time.Second})
	})
	run(t, h, func(w *world) {
		a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", false)
		defer a.close()
		defer b.close()
		invite := a.text("INVITE", "sip:bob@test", "c1")
		start := time.Now()
		a.send(invite)
		b.request("INVITE")
		time.Sleep(time.Second)
		a.send(cancel(invite, ""))
		a.status(200)
		a.ack(invite, a.status(487))
		if took := time.Since(start).Round(time.Second); took != 4*time.Second {
			t.Errorf("487 after %v", took)
		}
		w.quiet()
	})
}

// A phone that is rung on in vain must not count a missed call when another has
// taken it (RFC 3326 3.1).
func TestReasonOfCancelledForks(t *testing.T) {
	for _, tt := range []struct {
		status int
		want   string
	}{
		{200, `SIP;cause=200;text="Call completed elsewhere"`},
		{603, `SIP;cause=603;text="Decline"`},
	} {
		trio(t, forkTo, func(w *world, a, b, c *peer) {
			invite := a.text("INVITE", "sip:bob@test", "c1")
			a.send(invite)
			mb, mc := b.request("INVITE"), c.request("INVITE")
			c.answer(mc, 180)
			a.status(180)
			b.answer(mb, tt.status)
			if tt.status >= 300 {
				b.request("ACK")
			}
			cm := c.request("CANCEL")
			check(t, "Reason", cm.msg.Get(sip.HReason), tt.want)
			c.answer(cm, 200)
			c.answer(mc, 487)
			c.request("ACK")
			a.ack(invite, a.status(tt.status))
		})
	}
}

// A CANCEL that comes while a connection is tried for a large INVITE: the callee
// must not be rung by the datagram that would have been next.
func TestCancelBeforeFallback(t *testing.T) {
	run(t, to("192.0.2.20:5060"), func(w *world) {
		a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", true)
		defer a.close()
		defer b.close()
		w.net.SetHook(func(p memnet.Packet) memnet.Verdict {
			if p.Kind == memnet.Connect {
				return memnet.Drop
			}
			return memnet.Pass
		})
		invite := a.text("INVITE", "sip:bob@test", "c1", big)
		a.send(invite)
		a.status(100)
		a.send(cancel(invite, ""))
		a.status(200)
		start := time.Now()
		a.ack(invite, a.status(487))
		if took := time.Since(start); took > 1100*time.Millisecond {
			t.Errorf("487 after %v", took)
		}
		b.nothing(time.Minute)
		w.quiet()
	})
}
