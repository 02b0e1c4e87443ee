package esp

import (
	"encoding/binary"
	"net/netip"
)

// IP protocol numbers, which are also ESP's next headers (RFC 4303 2.6).
const (
	protoIPv4 = 4 // a whole IPv4 packet: tunnel mode
	protoTCP  = 6
	protoUDP  = 17
	protoIPv6 = 41 // a whole IPv6 packet: tunnel mode
	protoESP  = 50
	protoNone = 59 // a dummy packet (RFC 4303 2.6)
)

const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
	udpHeaderLen  = 8
	hopLimit      = 64
)

// ipHeaderLen is the length of the IP header that putIPHeader writes.
func ipHeaderLen(a netip.Addr) int {
	if a.Is4() {
		return ipv4HeaderLen
	}
	return ipv6HeaderLen
}

// putIPHeader writes the header of a packet with n octets behind it.
func putIPHeader(b []byte, src, dst netip.Addr, proto uint8, n int) {
	if src.Is4() {
		clear(b[:ipv4HeaderLen])
		b[0] = 0x45
		binary.BigEndian.PutUint16(b[2:], uint16(ipv4HeaderLen+n))
		b[8], b[9] = hopLimit, proto
		s, d := src.As4(), dst.As4()
		copy(b[12:], s[:])
		copy(b[16:], d[:])
		putIPv4Checksum(b)
		return
	}
	clear(b[:8])
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	b[6], b[7] = proto, hopLimit
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
}

func putIPv4Checksum(b []byte) {
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^fold(sum16(0, b[:ipv4HeaderLen])))
}

// ipPacket is an IP packet taken apart. A fragment has more or offset.
type ipPacket struct {
	src, dst netip.Addr
	proto    uint8
	payload  []byte
	id       uint32
	spi      uint32 // of the association that it came by, where it is a fragment in a tunnel
	offset   int    // of the payload in the whole datagram
	more     bool
}

// parseIP reads the header of an IP packet; what follows the packet is cut off
// (padding for traffic flow confidentiality, RFC 4303 2.7). Of IPv6's extension
// headers it knows the fragment header, right behind the first header.
func parseIP(b []byte) (p ipPacket, ok bool) {
	if len(b) < ipv4HeaderLen {
		return p, false
	}
	switch b[0] >> 4 {
	case 4:
		hl, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		if hl < ipv4HeaderLen || total < hl || total > len(b) || fold(sum16(0, b[:hl])) != 0xffff {
			return p, false
		}
		frag := binary.BigEndian.Uint16(b[6:])
		p = ipPacket{
			src: netip.AddrFrom4([4]byte(b[12:])), dst: netip.AddrFrom4([4]byte(b[16:])),
			proto: b[9], payload: b[hl:total],
			id: uint32(binary.BigEndian.Uint16(b[4:])), offset: int(frag&0x1fff) * 8, more: frag&0x2000 != 0,
		}
	case 6:
		if len(b) < ipv6HeaderLen {
			return p, false
		}
		n := int(binary.BigEndian.Uint16(b[4:]))
		if n > len(b)-ipv6HeaderLen {
			return p, false
		}
		p = ipPacket{
			src: netip.AddrFrom16([16]byte(b[8:])), dst: netip.AddrFrom16([16]byte(b[24:])),
			proto: b[6], payload: b[ipv6HeaderLen : ipv6HeaderLen+n],
		}
		if p.src.Is4In6() || p.dst.Is4In6() {
			return p, false // never on a wire, and no key of ours
		}
		if p.proto == ipv6Fragment {
			if n < ipv6FragmentLen {
				return p, false
			}
			f := p.payload
			frag := binary.BigEndian.Uint16(f[2:])
			p.proto, p.payload = f[0], f[ipv6FragmentLen:]
			p.id, p.offset, p.more = binary.BigEndian.Uint32(f[4:]), int(frag&^7), frag&1 != 0
		}
	default:
		return p, false
	}
	return p, true
}

func (p *ipPacket) isFragment() bool { return p.more || p.offset != 0 }

// putUDPHeader writes the header of the datagram b, whose payload is in place.
func putUDPHeader(b []byte, src, dst netip.AddrPort) {
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	b[6], b[7] = 0, 0
	c := ^fold(sum16(pseudo(src.Addr(), dst.Addr(), protoUDP, len(b)), b))
	if c == 0 {
		c = 0xffff // 0 says that there is none
	}
	binary.BigEndian.PutUint16(b[6:], c)
}

// parseUDP returns what a datagram between two addresses carries. What follows its
// length is cut off.
func parseUDP(b []byte, src, dst netip.Addr) (payload []byte, ok bool) {
	if len(b) < udpHeaderLen {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n < udpHeaderLen || n > len(b) {
		return nil, false
	}
	b = b[:n]
	if b[6]|b[7] == 0 {
		return b[udpHeaderLen:], src.Is4() // IPv6 wants a checksum (RFC 8200 8.1)
	}
	return b[udpHeaderLen:], fold(sum16(pseudo(src, dst, protoUDP, n), b)) == 0xffff
}
