package lab

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/ue"
)

// TestIPv6 registers and calls with IPv6 addresses in every Via, Route, Contact,
// Path and SDP, over UDP and over TCP.
func TestIPv6(t *testing.T) {
	conformance.Partly(t, "TR-19")
	six := netip.IPv6Loopback()
	if ln, err := net.Listen("tcp", netip.AddrPortFrom(six, 0).String()); err != nil {
		// Without IPv6 a core at ::1 must say what is missing.
		_, err := StartCore(t.Context(), CoreConfig{Domain: DefaultDomain, IP: six, Subscribers: demo()})
		if err == nil || !strings.Contains(err.Error(), "::1") {
			t.Errorf("the error does not name the address: %v", err)
		}
		return
	} else if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for _, proto := range []sip.Proto{sip.UDP, sip.TCP} {
		t.Run(proto.String(), func(t *testing.T) {
			b := startBenchAt(t, six, demo(), nil)
			over := func(c *ue.Config) { c.Local, c.Transport = six, proto }
			alice, bobPhone := newPhone(t, b, 0, over), newPhone(t, b, 1, over)
			mustWork(t, "alice registers", register(alice))
			mustWork(t, "bob registers", register(bobPhone))
			mustWork(t, "a call", call(alice, bob()))
			mustWork(t, "a call to a number", call(alice, "tel:+15550000002"))
			mustWork(t, "alice leaves", alice.Deregister)
		})
	}
}
