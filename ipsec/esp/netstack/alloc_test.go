//go:build !race

package netstack_test

import (
	"net/netip"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
)

// The race detector makes sync.Pool forget, so these are not built with it.

func TestDatagramAllocatesNothing(t *testing.T) {
	for _, pair := range ipsec.Pairs {
		phone, pcscf, set := sockets(t, pair)
		message := make([]byte, 1000)
		buf := [][]byte{make([]byte, 2000)}
		size, from := make([]int, 1), make([]netip.AddrPort, 1)
		out, there, back := [][]byte{message}, []netip.AddrPort{set.Local.Server()}, []netip.AddrPort{set.Remote.Client()}
		if n := testing.AllocsPerRun(200, func() {
			for _, way := range []struct {
				from, to socket
				addr     []netip.AddrPort
			}{{phone, pcscf, there}, {pcscf, phone, back}} {
				if _, err := way.from.WriteBatch(out, way.addr); err != nil {
					t.Fatal(err)
				}
				if n, err := way.to.ReadBatch(buf, size, from); n != 1 || err != nil || size[0] != len(message) {
					t.Fatal(n, err)
				}
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations for a datagram each way, from socket to socket", pair, n)
		}
	}
}

func TestDeliveredDatagramAllocatesNothing(t *testing.T) {
	phone, pcscf, set := sockets(t, ipsec.Pairs[0])
	n := 0
	pcscf.(deliverer).Deliver(func(data []byte, _ netip.AddrPort) { n += len(data) })
	out, to := [][]byte{make([]byte, 1000)}, []netip.AddrPort{set.Local.Server()}
	if a := testing.AllocsPerRun(200, func() { _, _ = phone.WriteBatch(out, to) }); a != 0 || n != 201*1000 {
		t.Errorf("%v allocations a datagram; %d octets delivered", a, n)
	}
}
