//go:build integration

package kerneltest

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/xfrm"
	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// The kernel's packets open under our transform, are as long as ours, and where
// nothing in them is random are ours octet for octet.
func TestKernelAndUserSpaceMakeTheSamePackets(t *testing.T) {
	conformance.Shows(t, "IP-18")
	coreNet, phoneNet := wire(t)
	core := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4, core6}, Ports: ports(2 * len(ipsec.Pairs))})
	phone := byKernel(t, phoneNet, xfrm.Config{Addrs: []netip.Addr{phone4, phone6}})
	for i, pair := range ipsec.Pairs {
		for j, v6 := range []bool{false, true} {
			s := set(2*i+j, pair, v6)
			install(t, core, phone, s)
			wires := coreNet.Sniff(t)
			datagrams(t, core, phone, s)
			packets := wires.Stop()
			transform, err := esp.NewTransform(pair, s.Material())
			if err != nil {
				t.Fatal(err)
			}
			seen := make(map[uint32]uint32) // the sequence numbers by SPI
			for _, p := range packets {
				proto, packet := guest.Header(p)
				if proto != 50 || len(packet) > 1300 {
					continue // the fragments of the long ones
				}
				spi, seq := binary.BigEndian.Uint32(packet), binary.BigEndian.Uint32(packet[4:])
				if seq != seen[spi]+1 {
					t.Errorf("%v: SPI %d has %d after %d", pair, spi, seq, seen[spi])
				}
				seen[spi] = seq
				payload, next, err := transform.Open(bytes.Clone(packet))
				if err != nil {
					t.Errorf("%v: SPI %d, %d: %v", pair, spi, seq, err)
					continue
				}
				if next != 17 || transform.Size(len(payload)) != len(packet) {
					t.Errorf("%v: the kernel makes %d octets of %d of protocol %d, we %d", pair, len(packet), len(payload), next, transform.Size(len(payload)))
				}
				buf := make([]byte, len(packet))
				copy(buf[transform.Head():], payload)
				again := transform.Seal(buf, len(payload), next, spi, seq)
				// With an initialization vector only header and length are the same.
				same := len(again)
				if transform.Head() != 8 {
					same = 8
				}
				if !bytes.Equal(again[:same], packet[:same]) || len(again) != len(packet) {
					t.Errorf("%v: the kernel makes\n%x\nwe make\n%x", pair, packet, again)
				}
			}
			if len(seen) != 4 {
				t.Errorf("%v: packets with %d SPIs, want 4", pair, len(seen))
			}
		}
	}
}
