package lab

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/ue"
)

// TestProfiles: a phone of each make does over IPsec all that phones do, with one of
// another make at the other end: with all that it offers, over TCP; and with the
// first of its offers, so that its REGISTER fits a datagram, while it takes no
// connection, over a network with an MTU.
func TestProfiles(t *testing.T) {
	conformance.Partly(t, "PR-09", "PR-10", "PR-14", "PR-23", "IP-14", "IP-16", "PO-01", "UE-05", "UE-13")
	for _, proto := range []sip.Proto{sip.TCP, sip.UDP} {
		t.Run(proto.String(), func(t *testing.T) {
			t.Parallel()
			makes := slices.Sorted(maps.Keys(ue.Profiles))
			domain := DefaultDomain
			var network *radio
			if proto == sip.UDP {
				domain, network = shortDomain, newRadio()
			}
			subs := manySubscribers(2*len(makes), domain)
			for i := range subs { // whose registration state fits no packet
				for j := range 8 {
					subs[i].IMPUs = append(subs[i].IMPUs, fmt.Sprintf("sip:user%d.%s-%d@%s", i+1, strings.Repeat("long", 8), j, domain))
				}
			}
			b := startSecureOver(t, network, subs, func(c *Configs) {
				c.S.Reauthenticate = true
				if proto == sip.UDP {
					inDatagrams(c)
				}
			})
			sideBySide(t, makes, func(t *testing.T, i int) {
				b.lifeOf(t, [2]hss.Subscriber(subs[2*i:2*i+2]), [2]string{makes[i], makes[(i+1)%len(makes)]}, proto)
			})
			b.keepsSecret(t)
		})
	}
}

// noConnections is a stack that takes no connections.
type noConnections struct{ *netstack.Stack }

// Listen opens nothing.
func (noConnections) Listen(local netip.AddrPort) (net.Listener, error) {
	return nowhere{local, make(chan struct{})}, nil
}

type nowhere struct {
	at     netip.AddrPort
	closed chan struct{}
}

func (n nowhere) Accept() (net.Conn, error) { <-n.closed; return nil, net.ErrClosed }
func (n nowhere) Close() error              { close(n.closed); return nil }
func (n nowhere) Addr() net.Addr            { return net.TCPAddrFromAddrPort(n.at) }

// lifeOf is a day in the life of a phone of the first make, beside one of the second.
func (b *secureBench) lifeOf(t *testing.T, subs [2]hss.Subscriber, makes [2]string, proto sip.Proto) {
	var phones [2]*ue.Phone
	for i := range phones {
		phones[i] = b.phone(t, fmt.Sprintf("%s-%d", makes[i], i), subs[i], func(c *ue.Config) {
			c.Profile, c.Transport = makes[i], proto
			if proto == sip.UDP {
				oneOffer(c)
				c.Stack = noConnections{b.stack}
			}
		})
	}
	p, peer := phones[0], phones[1]
	mustWork(t, "the other phone registers", register(peer))

	var last *ue.Protection
	for n := range 3 {
		var r *ue.Registration
		mustWork(t, fmt.Sprintf("registration %d", n+1), func(ctx context.Context) (err error) { r, err = p.Register(ctx); return err })
		if r.Challenges != 1 || r.Protection == nil {
			t.Fatalf("registration %d: %+v", n+1, r)
		}
		if is := r.Protection; last != nil {
			b.renewed(t, last, is, ue.Profiles[makes[0]].Security.Ports.FreshServer)
		}
		last = r.Protection
		mustWork(t, "a message from the phone", message(p, peer, "good morning"))
		mustWork(t, "a message to the phone", message(peer, p, "good evening"))
	}
	inDatagrams := proto == sip.UDP && !ue.Profiles[makes[0]].RegisterTCP // else it is reached over its connection
	if inDatagrams {
		b.notified(t, p, radioMTU, sip.UDP)
		b.radio.fragmented(t, p.Addr().Addr())
	} else {
		b.notified(t, p, radioMTU, sip.TCP)
	}

	mustWork(t, "a call to it", b.call(peer, p, ue.CallOptions{}))
	mustWork(t, "a call", b.call(p, peer, ue.CallOptions{}))
	mustWork(t, "a plain call to it", b.call(peer, p, ue.CallOptions{No100rel: true}))
	mustWork(t, "a long message", message(p, peer, strings.Repeat("z", 3000)))
	mustWork(t, "a long message to it", message(peer, p, strings.Repeat("a", 3000)))
	for _, p := range phones {
		mustWork(t, "leaving", p.Deregister)
	}
	switch {
	case inDatagrams: // the second INVITE comes over the connection that its own has opened
		b.came(t, p, sip.UDP, "INVITE", "BYE", "NOTIFY", "MESSAGE")
		b.came(t, p, sip.TCP, "INVITE", "MESSAGE")
	case proto == sip.TCP:
		b.came(t, p, sip.TCP, "INVITE", "BYE", "NOTIFY", "MESSAGE")
	}
}

// renewed compares what protects a phone after a re-registration with what did before.
func (b *secureBench) renewed(t *testing.T, was, is *ue.Protection, freshServer bool) {
	t.Helper()
	spis := []uint32{was.Local.SPIC, was.Local.SPIS, was.Remote.SPIC, was.Remote.SPIS}
	for _, spi := range []uint32{is.Local.SPIC, is.Local.SPIS, is.Remote.SPIC, is.Remote.SPIS} {
		if slices.Contains(spis, spi) {
			t.Errorf("SPI %d is used again", spi)
		}
	}
	if is.Local.PortC == was.Local.PortC || is.Remote.PortC == was.Remote.PortC {
		t.Errorf("client ports are used again: %+v after %+v", is, was)
	}
	if (is.Local.PortS == was.Local.PortS) == freshServer {
		t.Errorf("the phone's server port is %d after %d", is.Local.PortS, was.Local.PortS)
	}
	if is.Remote.PortS != was.Remote.PortS && is.Local.Addr != Loopback { // who shares an address may need another
		t.Errorf("our server port is %d after %d", is.Remote.PortS, was.Remote.PortS)
	}
}

// notified wants a NOTIFY of at least that many octets to have come to a phone by
// proto and to have been answered.
func (b *secureBench) notified(t *testing.T, p *ue.Phone, octets int, proto sip.Proto) {
	t.Helper()
	node := phonePrefix + p.Name()
	b.wait(t, fmt.Sprintf("a NOTIFY of %d octets", octets), func() bool {
		for _, e := range b.messages(node, trace.In) {
			if len(e.Raw) < octets || e.Proto != trace.ESP+strings.ToLower(proto.String()) || !strings.HasPrefix(string(e.Raw), "NOTIFY ") {
				continue
			}
			m := parsed(t, e)
			for _, r := range b.messages(node, trace.Out) {
				a := parsed(t, r)
				if a.Status() == 200 && a.CallID() == m.CallID() && a.Get(sip.HCSeq) == m.Get(sip.HCSeq) {
					return true
				}
			}
		}
		return false
	})
}

// came wants requests of each method to have come to a phone by proto.
func (b *secureBench) came(t *testing.T, p *ue.Phone, proto sip.Proto, methods ...string) {
	t.Helper()
	b.settle()
	by := map[string][]string{}
	for _, e := range b.messages(phonePrefix+p.Name(), trace.In) {
		method, _, _ := strings.Cut(string(e.Raw), " ")
		by[method] = append(by[method], e.Proto)
	}
	for _, m := range methods {
		if !slices.Contains(by[m], trace.ESP+strings.ToLower(proto.String())) {
			t.Errorf("no %s came by %v, only by %v", m, proto, by[m])
		}
	}
}

// call is a call that is answered, and its end, which the called phone hears of.
func (b *secureBench) call(from, to *ue.Phone, opt ue.CallOptions) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := from.Call(ctx, to.Registration().Default, opt)
		if err != nil {
			return err
		}
		in := <-to.Calls()
		if err := c.Hangup(ctx); err != nil {
			return err
		}
		select {
		case <-in.Done():
			return nil
		case <-time.After(5 * time.Second):
			return fmt.Errorf("the called phone does not know that the call is over")
		}
	}
}
