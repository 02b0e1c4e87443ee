package proxy

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// What the checks refuse has passed no handler, so that nobody has looked who it is: on Gm
// an INVITE's answer goes out once for each time it comes, to whoever a datagram names.
func TestRefusedByTheChecksOnce(t *testing.T) {
	for _, tt := range []struct {
		name, at    string
		proto       sip.Proto
		uri, line   string
		status, all int // messages within three minutes
		open        int // a second later
	}{
		{"Max-Forwards", gmAddr, sip.UDP, "sip:bob@test", "Max-Forwards: 0", 483, 1, 0},
		{"Proxy-Require, with a field in the answer", gmAddr, sip.UDP, "sip:bob@test", "Proxy-Require: unheard-of", 420, 1, 0},
		{"scheme", gmAddr, sip.UDP, "http://bob.test", "Max-Forwards: 70", 416, 1, 0},
		{"over a connection its ACK is awaited", gmAddr, sip.TCP, "sip:bob@test", "Max-Forwards: 0", 483, 1, 1},
		{"so it is in the core, and the answer repeated", coreAddr, sip.UDP, "sip:bob@test", "Max-Forwards: 0", 483, 11, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, to("192.0.2.20:5060"), func(w *world) {
				a := w.peer("alice", "192.0.2.10", true)
				defer a.close()
				a.repeats = true
				via := fmt.Sprintf("Via: SIP/2.0/%v %s;branch=z9hG4bKc1", tt.proto, a.addr)
				for range 2 {
					a.sendTo(tt.proto, tt.at, a.text("INVITE", tt.uri, "c1", via, tt.line))
					time.Sleep(time.Second)
					synctest.Wait()
					check(t, "open transactions", w.core.Stats().Transaction.Open, tt.open)
					time.Sleep(3 * time.Minute)
					synctest.Wait()
					n := 0
					for ; len(a.box) > 0; n++ {
						if m := (<-a.box).msg; m.Status() != tt.status {
							n--
						}
					}
					check(t, "answers", n, tt.all)
				}
				w.quiet()
			})
		})
	}
}
