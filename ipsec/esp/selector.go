package esp

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// inside checks that a decrypted packet is what its association may carry
// (RFC 4301 5.2 step 4; TS 33.203 7.1: addresses, ports, UDP and TCP alike), and
// returns the datagram or segment in it. proto is protoNone where there is nothing
// to take: a dummy packet, or a fragment that others are still missing to.
func (e *Engine) inside(sa *inbound, by Path, b []byte, next uint8, now time.Time) (proto uint8, payload []byte, r Reason, ok bool) {
	if next == protoNone {
		return protoNone, nil, 0, true
	}
	ours, theirs := sa.of.set.Local.Addr, sa.of.set.Remote.Addr
	var src, dst netip.Addr
	switch {
	case next == protoIPv4 || next == protoIPv6:
		if sa.of.set.Mode != ipsec.UDPTunnel || by.Carrier.Kind() != UDP {
			return 0, nil, Selector, false
		}
		p, ok := parseIP(b)
		if !ok || (next == protoIPv4) != p.src.Is4() {
			return 0, nil, Malformed, false
		}
		src, dst, next, b = p.src, p.dst, p.proto, p.payload
		if p.isFragment() && src == theirs && dst == ours {
			p.spi = sa.spi()
			var lost uint64
			b, ok, lost = e.inner.add(p, now)
			for range lost { // of whatever association
				e.dropped(Drop{Reason: Fragments})
			}
			if !ok {
				return protoNone, nil, 0, true
			}
		}
	case sa.of.set.Mode == ipsec.UDPTunnel:
		return 0, nil, Selector, false
	case by.Carrier.Kind() == IP:
		// Its destination was looked at before, where it is known.
		src, dst = by.Outer.Addr(), ours
	default:
		src, dst = theirs, ours
	}
	if src != theirs || dst != ours || next != protoUDP && next != protoTCP {
		return 0, nil, Selector, false
	}
	if len(b) < 4 {
		return 0, nil, Malformed, false
	}
	if binary.BigEndian.Uint16(b) != sa.src().Port() || binary.BigEndian.Uint16(b[2:]) != sa.dst().Port() {
		return 0, nil, Selector, false
	}
	return next, b, 0, true
}
