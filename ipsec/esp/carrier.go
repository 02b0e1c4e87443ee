package esp

import "net/netip"

// Kind is how a carrier moves ESP packets.
type Kind uint8

const (
	// IP is a carrier that puts ESP right into IP, protocol 50. It shows the
	// addresses of the hosts at both ends.
	IP Kind = iota
	// UDP is a carrier that puts ESP into UDP (RFC 3948). Its addresses may be a
	// NAT's, or in a lab anything.
	UDP
)

func (k Kind) String() string {
	if k == UDP {
		return "UDP"
	}
	return "IP"
}

// A Carrier moves ESP packets between this host and others.
type Carrier interface {
	Kind() Kind
	// Local is where the carrier receives. The address may be unspecified, or
	// invalid for any; the port is 0 with [IP].
	Local() netip.AddrPort
	// Send sends one packet to dst, whose port [IP] ignores. src is the address
	// of the set, which only [IP] heeds. The packet is the caller's again when
	// Send returns.
	Send(packet []byte, src netip.Addr, dst netip.AddrPort) error
	// Receive calls f with each packet until the carrier is closed, and then
	// returns nil. f owns data during the call and may change it. dst is
	// invalid where the carrier does not know it; both ports are 0 with [IP].
	Receive(f func(data []byte, src, dst netip.AddrPort)) error
	// Close ends Receive.
	Close() error
}

// Claimer is a carrier that wants to know which addresses are behind it.
type Claimer interface{ Claim(netip.Addr) }

// Path is a way to a peer.
type Path struct {
	Carrier Carrier
	// Outer is where packets come from and go to. Its port is 0 with [IP].
	Outer netip.AddrPort
}

// serves reports whether a carrier can send to a.
func serves(c Carrier, a netip.Addr) bool {
	l := c.Local().Addr()
	return !l.IsValid() || l.Is4() == a.Is4()
}
