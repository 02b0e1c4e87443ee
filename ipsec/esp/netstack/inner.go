package netstack

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
)

// Within gVisor all is IPv6. Its IPv4 compares the source of each packet with every
// address of its own, to see whether it is a broadcast, and is slow with thousands
// of them. An IPv4 address stands below the well-known prefix of RFC 6052, whose sum
// is 0: a segment has the same checksum in both families.
const network = ipv6.ProtocolNumber

var below4 = [12]byte{0x00, 0x64, 0xff, 0x9b}

// inner is an address as gVisor knows it.
func inner(a netip.Addr) tcpip.Address {
	if !a.Is4() {
		return tcpip.AddrFrom16(a.As16())
	}
	var b [16]byte
	four := a.As4()
	copy(b[copy(b[:], below4[:]):], four[:])
	return tcpip.AddrFrom16(b)
}

// outer is the address of a packet that gVisor has made or of an endpoint of its.
func outer(b [16]byte) netip.Addr {
	if [12]byte(b[:12]) == below4 {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(b)
}

func fullAddress(ap netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: inner(ap.Addr()), Port: ap.Port()}
}

// addrPortOf is not valid for an endpoint that has no address any more.
func addrPortOf(a tcpip.FullAddress) netip.AddrPort {
	if a.Addr.Len() != 16 {
		return netip.AddrPortFrom(netip.Addr{}, a.Port)
	}
	return netip.AddrPortFrom(outer(a.Addr.As16()), a.Port)
}
