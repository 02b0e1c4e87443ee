//go:build integration

package netstack_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
)

// ESP as IP protocol 50 over the kernel's loopback, which wants CAP_NET_RAW. The
// kernel fragments and reassembles.
func TestRawCarrier(t *testing.T) {
	for _, c := range []struct{ pcscf, phone, listenP, listenU string }{
		{"127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"},
		{"127.0.0.1", "127.0.0.2", "0.0.0.0", "0.0.0.0"}, // the source is the set's
		{"::1", "::1", "::1", "::1"},
		{"::1", "::1", "::", "::"},
	} {
		t.Run(fmt.Sprint(c.pcscf, " at ", c.listenP), func(t *testing.T) {
			open := func(at string) esp.Carrier {
				r, err := esp.ListenRaw(netip.MustParseAddr(at))
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			p, u := sets(1, c.pcscf, c.phone, ipsec.Pairs[2])
			pcscf, phone := pairOf(t, open(c.listenP), open(c.listenU), p, u)
			exchange(t, pcscf, phone, p)
			if path, ok := pcscf.Path(1); !ok || path.Outer != netip.AddrPortFrom(p.Remote.Addr, 0) || path.Carrier.Kind() != esp.IP {
				t.Errorf("the phone is reached by %+v, %v", path, ok)
			}
		})
	}
}

func TestRawCarrierSaysWhatItNeeds(t *testing.T) {
	_, err := esp.ListenRaw(netip.MustParseAddr("192.0.2.1"))
	if err == nil {
		t.Fatal("listens at an address that is not here")
	}
	if errors.Is(err, os.ErrPermission) {
		t.Fatalf("run with CAP_NET_RAW: %v", err)
	}
}
