package proxy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// The client ports of the core; the second belongs to the phone's SA set.
const (
	portPC1 = "192.0.2.1:5100"
	portPC2 = "192.0.2.1:5101"
)

// What is too big for a datagram of an SA set leaves over a connection between the
// same two ports, and comes back to the datagram where nobody accepts one.
func TestLargeRequestKeepsItsSASet(t *testing.T) {
	conformance.Partly(t, "IP-16", "IP-14")
	for _, c := range []struct {
		name string
		tcp  bool // the phone accepts connections
		over sip.Proto
	}{{"TCP", true, sip.TCP}, {"UDP only", false, sip.UDP}} {
		t.Run(c.name, func(t *testing.T) {
			phone := handlerFunc(func(x *Exchange) {
				x.Forward(Target{Hop: Hop{Flow: sip.Flow{
					Role: sip.RoleProtectedClient, Local: netip.MustParseAddrPort(portPC2), Remote: netip.MustParseAddrPort("192.0.2.20:5060"),
				}}})
			})
			run(t, phone, func(w *world) {
				a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", c.tcp)
				defer a.close()
				defer b.close()
				for _, call := range []string{"small", "big"} {
					body := ""
					if call == "big" {
						body = strings.Repeat("x", 1500)
					}
					a.send(a.text("MESSAGE", "sip:bob@test", call, "body:"+body))
					m := b.request("MESSAGE")
					check(t, call+" from", m.flow.Remote.String(), portPC2)
					want := sip.UDP
					if call == "big" {
						want = c.over
					}
					check(t, call+" over", m.flow.Proto, want)
					b.answer(m, 200)
					a.status(200)
				}
				w.quiet()
			}, func(c *Config) {
				for _, pc := range []string{portPC1, portPC2} {
					c.Listen = append(c.Listen, transport.Listen{Addr: netip.MustParseAddrPort(pc), UDP: true, Role: sip.RoleProtectedClient})
				}
				// What the phone answers over UDP comes to the socket of the Via.
				c.Listen = append(c.Listen, transport.Listen{Addr: netip.MustParseAddrPort("192.0.2.1:6100"), UDP: true, Role: sip.RoleProtectedServer})
			})
		})
	}
}

// A connection of the phone's that has ended is dialled for from the set's own
// client port.
func TestEndedConnectionKeepsItsSASet(t *testing.T) {
	conformance.Partly(t, "IP-16")
	phone := handlerFunc(func(x *Exchange) {
		x.Forward(Target{Hop: Hop{
			Flow: sip.Flow{Proto: sip.TCP, Role: sip.RoleProtectedServer, Local: netip.MustParseAddrPort(coreAddr), Remote: netip.MustParseAddrPort("192.0.2.20:6301"), Conn: 1 << 40},
			Addr: netip.MustParseAddrPort("192.0.2.20:5060"), Proto: sip.TCP, Role: sip.RoleProtectedClient, Local: netip.MustParseAddrPort(portPC2),
		}})
	})
	run(t, phone, func(w *world) {
		a, b := w.peer("alice", "192.0.2.10", false), w.peer("bob", "192.0.2.20", true)
		defer a.close()
		defer b.close()
		start := time.Now()
		a.send(a.text("MESSAGE", "sip:bob@test", "c1"))
		m := b.request("MESSAGE")
		check(t, "from", m.flow.Remote.String(), portPC2)
		check(t, "over", m.flow.Proto, sip.TCP)
		if took := time.Since(start); took > time.Second {
			t.Errorf("after %v", took)
		}
		b.answer(m, 200)
		a.status(200)
		w.quiet()
	}, func(c *Config) {
		for _, pc := range []string{portPC1, portPC2} {
			c.Listen = append(c.Listen, transport.Listen{Addr: netip.MustParseAddrPort(pc), UDP: true, Role: sip.RoleProtectedClient})
		}
	})
}
