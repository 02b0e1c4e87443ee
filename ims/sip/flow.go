package sip

import (
	"net/netip"
	"strconv"
)

// Proto is a transport protocol of RFC 3261 §18.
type Proto uint8

// The transports that the core speaks.
const (
	UDP Proto = iota
	TCP
	TLS
)

// String returns the transport token of a Via (RFC 3261 §20.42).
func (p Proto) String() string {
	switch p {
	case UDP:
		return "UDP"
	case TCP:
		return "TCP"
	case TLS:
		return "TLS"
	}
	return "Proto(" + strconv.Itoa(int(p)) + ")"
}

// Stream reports whether messages must be framed by Content-Length, and the
// transport retransmits by itself.
func (p Proto) Stream() bool { return p != UDP }

// ParseProto reads a transport token of a Via or of a transport parameter, in
// any letter case.
func ParseProto(s string) (Proto, bool) {
	switch {
	case equalFold(s, "UDP"):
		return UDP, true
	case equalFold(s, "TCP"):
		return TCP, true
	case equalFold(s, "TLS"):
		return TLS, true
	}
	return 0, false
}

// Role says what one of our sockets is for. What may arrive on it, and which
// host and port the headers show towards the other side, follow from it.
type Role uint8

const (
	// RoleCore is the open port towards other functions (Mw).
	RoleCore Role = iota
	// RoleGm is the open port towards phones.
	RoleGm
	// RoleProtectedServer is port_ps of an IPsec SA set (TS 33.203 §7.1).
	RoleProtectedServer
	// RoleProtectedClient is port_pc of an IPsec SA set.
	RoleProtectedClient
	// RoleISC is the port towards application servers.
	RoleISC
)

var roleNames = [...]string{"core", "gm", "protected-server", "protected-client", "isc"}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return "Role(" + strconv.Itoa(int(r)) + ")"
}

// Flow is where a message came from or goes to. It is comparable.
type Flow struct {
	Proto  Proto
	Role   Role
	Local  netip.AddrPort
	Remote netip.AddrPort
	// Conn identifies a stream connection, for ever: numbers are not used
	// again. It is 0 for UDP, and for a stream flow that still has to be dialled.
	Conn uint64
}

// Source is by what a limit for each sender counts who is at the other end: an IPv4
// address, or the /64 of an IPv6 one, all of which a phone may send from (TS 23.401
// 5.3.1.2.2).
func (f Flow) Source() netip.Addr {
	a := f.Remote.Addr().Unmap()
	if !a.Is6() {
		return a
	}
	zone := a.Zone() // another link
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr().WithZone(zone)
}

func (f Flow) String() string {
	s := f.Role.String() + " " + f.Proto.String() + " " + f.Local.String() + "->" + f.Remote.String()
	if f.Conn != 0 {
		s += "#" + strconv.FormatUint(f.Conn, 10)
	}
	return s
}
