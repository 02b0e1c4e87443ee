package esp

import (
	"encoding/binary"
	"net/netip"
)

const (
	ipv6Fragment    = 44 // the fragment header's number (RFC 8200 4.5)
	ipv6FragmentLen = 8
)

// ipPackets calls f with the IP packets that carry a payload over a link of this
// MTU, one or several fragments (RFC 791 2.3, RFC 8200 4.5). f owns each.
func ipPackets(payload []byte, src, dst netip.Addr, proto uint8, id uint32, mtu int, f func([]byte)) {
	head := ipHeaderLen(src)
	if head+len(payload) <= mtu {
		b := make([]byte, head+len(payload))
		putIPHeader(b, src, dst, proto, len(payload))
		copy(b[head:], payload)
		f(b)
		return
	}
	if src.Is6() {
		head += ipv6FragmentLen
	}
	room := max((mtu-head)&^7, 8)
	for off := 0; off < len(payload); off += room {
		part := payload[off:min(off+room, len(payload))]
		more := off+len(part) < len(payload)
		b := make([]byte, head+len(part))
		if src.Is4() {
			putIPHeader(b, src, dst, proto, len(part))
			binary.BigEndian.PutUint16(b[4:], uint16(id))
			flags := uint16(off / 8)
			if more {
				flags |= 0x2000
			}
			binary.BigEndian.PutUint16(b[6:], flags)
			putIPv4Checksum(b)
		} else {
			putIPHeader(b, src, dst, ipv6Fragment, ipv6FragmentLen+len(part))
			h := b[ipv6HeaderLen:]
			h[0] = proto
			flags := uint16(off)
			if more {
				flags |= 1
			}
			binary.BigEndian.PutUint16(h[2:], flags)
			binary.BigEndian.PutUint32(h[4:], id)
		}
		copy(b[head:], part)
		f(b)
	}
}
