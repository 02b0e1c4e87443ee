package ipsec

import (
	"fmt"
	"net/netip"
	"time"
)

// Mode is how a set puts a packet into ESP: "mod" of TS 33.203 Annex H.
type Mode uint8

const (
	// Transport protects what is behind the IP header ("trans").
	Transport Mode = iota
	// UDPTunnel protects whole IP packets and carries them in UDP, for a phone
	// behind a NAT ("UDP-enc-tun", TS 33.203 Annex M; RFC 3948).
	UDPTunnel
)

func (m Mode) String() string {
	if m == UDPTunnel {
		return "UDP-enc-tun"
	}
	return "trans"
}

// NATPort is the UDP port of ESP in UDP (RFC 3948).
const NATPort = 4500

// End is one side of a set. The SPIs are those that this side has chosen: of the
// associations on which it receives.
type End struct {
	Addr  netip.Addr // IPv4 or IPv6, never IPv4-mapped; of the same family on both sides
	PortC uint16     // client port: port_uc or port_pc
	PortS uint16     // server port: port_us or port_ps
	SPIC  uint32     // of the association to PortC
	SPIS  uint32     // of the association to PortS
}

// Client is the address with the client port.
func (e End) Client() netip.AddrPort { return netip.AddrPortFrom(e.Addr, e.PortC) }

// Server is the address with the server port.
func (e End) Server() netip.AddrPort { return netip.AddrPortFrom(e.Addr, e.PortS) }

// SetID names a set within the process. 0 is none; numbers are not used again.
type SetID uint64

// Set is four security associations between two hosts, each for UDP and TCP alike
// (TS 33.203 7.1). It does not change once installed, but for its lifetime.
type Set struct {
	ID            SetID
	Local, Remote End
	Pair          Pair
	Mode          Mode
	// CK and IK are from the challenge that the set came with.
	CK, IK Key
	// Outer is with UDPTunnel where the peer's packets come from as far as is
	// known, the NAT's address; its port is 0 until a packet has shown it. For
	// Transport in bare UDP (a lab's) it may be preset in the same way.
	Outer netip.AddrPort
	// Hard is when the set ends by itself, a bound for what forgets to remove it.
	Hard time.Time
	// Owner is whom it is for, in logs and explanations: the IMPI.
	Owner string
}

// SA is one security association. Src and Dst are its selectors, for UDP and TCP.
type SA struct {
	SPI      uint32
	Src, Dst netip.AddrPort
}

// The associations of a set in each direction, by the port of ours that they end at.
const (
	AtServer = iota // from or to our server port
	AtClient        // from or to our client port
)

// In returns the associations on which the local side receives: what comes to our
// server port from the peer's client port, and to our client port from the peer's
// server port.
func (s *Set) In() [2]SA {
	return [2]SA{
		AtServer: {s.Local.SPIS, s.Remote.Client(), s.Local.Server()},
		AtClient: {s.Local.SPIC, s.Remote.Server(), s.Local.Client()},
	}
}

// Out returns the associations on which the local side sends.
func (s *Set) Out() [2]SA {
	return [2]SA{
		AtServer: {s.Remote.SPIC, s.Local.Server(), s.Remote.Client()},
		AtClient: {s.Remote.SPIS, s.Local.Client(), s.Remote.Server()},
	}
}

// Material returns the set's keys.
func (s *Set) Material() Material { return Expand(s.Pair, s.CK, s.IK) }

// Check reports what makes a set impossible. Back ends check what they install.
func (s *Set) Check() error {
	switch {
	case !s.Pair.Valid():
		return fmt.Errorf("set %d has the algorithms %v, which TS 33.203 Annex H does not have", s.ID, s.Pair)
	case !s.Local.Addr.IsValid() || !s.Remote.Addr.IsValid() || s.Local.Addr.Is4() != s.Remote.Addr.Is4():
		return fmt.Errorf("set %d is between %v and %v: want two addresses of one IP version", s.ID, s.Local.Addr, s.Remote.Addr)
	}
	for _, e := range [...]End{s.Local, s.Remote} {
		switch {
		case e.PortC == 0 || e.PortS == 0 || e.PortC == e.PortS:
			return fmt.Errorf("set %d has the ports %d and %d at %v: want two that differ", s.ID, e.PortC, e.PortS, e.Addr)
		case e.SPIC < MinSPI || e.SPIS < MinSPI || e.SPIC == e.SPIS:
			return fmt.Errorf("set %d has the SPIs %d and %d at %v: want two that differ, above 255", s.ID, e.SPIC, e.SPIS, e.Addr)
		}
	}
	return nil
}

// MinSPI is the lowest SPI that is not reserved (RFC 4303 2.1).
const MinSPI = 256

// String names the set without its keys.
func (s *Set) String() string {
	return fmt.Sprintf("set %d %v %v %v:%d,%d<->%v:%d,%d", s.ID, s.Pair, s.Mode,
		s.Local.Addr, s.Local.PortC, s.Local.PortS, s.Remote.Addr, s.Remote.PortC, s.Remote.PortS)
}
