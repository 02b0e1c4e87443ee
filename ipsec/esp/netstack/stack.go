package netstack

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
)

// Config says how a [Stack] works. The zero value of what is not needed is right.
type Config struct {
	// Carriers move ESP packets. The Stack closes them. Of several, each peer is
	// answered by the one it uses.
	Carriers []esp.Carrier
	// PeerUDPPort is where a peer listens for ESP in UDP as long as no packet of
	// his has shown it; 0 is 4500.
	PeerUDPPort uint16
	// KeepAlive is how often sets in UDP-enc-tun send a keep-alive while idle:
	// for a phone behind a NAT, 20 s (RFC 3948 4). 0 for none.
	KeepAlive time.Duration
	// MTU is the longest IP packet that should travel whole, outside of ESP; 0 is
	// 1400, which mobile networks let through, and 1381 the least: IPv6 wants
	// 1280 within. TCP makes its segments fit; a longer datagram travels in
	// fragments.
	MTU int
	// SocketBuffer is how much memory may wait in a UDP socket, in octets; 0 is
	// 512 KiB, some 250 messages.
	SocketBuffer int
	// Observer is told what happens to packets; nil for none.
	Observer esp.Observer
}

const (
	defaultMTU          = 1400
	defaultSocketBuffer = 512 << 10
)

// Stack is an [ipsec.Backend] with sockets.
type Stack struct {
	*esp.Engine
	cfg Config
	tcp tcpStack

	mu       sync.RWMutex
	udp      map[netip.AddrPort]*packetConn
	nextPort uint16
	closed   bool
}

var _ ipsec.Backend = (*Stack)(nil)

// New starts a stack.
func New(cfg Config) (*Stack, error) {
	if cfg.MTU == 0 {
		cfg.MTU = defaultMTU
	}
	if cfg.MTU < minMTU {
		return nil, fmt.Errorf("netstack: an MTU of %d octets: want %d at least, so that IPv6 has its 1280 within ESP (RFC 8200 5)", cfg.MTU, minMTU)
	}
	if cfg.SocketBuffer == 0 {
		cfg.SocketBuffer = defaultSocketBuffer
	}
	s := &Stack{cfg: cfg, udp: make(map[netip.AddrPort]*packetConn), nextPort: firstPort}
	s.tcp.stack = s
	s.Engine = esp.NewEngine(esp.Config{
		Carriers: cfg.Carriers, PeerUDPPort: cfg.PeerUDPPort, KeepAlive: cfg.KeepAlive, Observer: cfg.Observer,
	}, (*upper)(s))
	return s, nil
}

// minMTU leaves IPv6 its least in tunnel mode in UDP, and anything else more.
const minMTU = ipv6MinMTU + tcpOverhead

// AddAddr tells carriers in memory that packets for a are for this stack. Opening a
// socket or installing a set does it too.
func (s *Stack) AddAddr(a netip.Addr) { s.Claim(a) }

// Close closes sockets and connections, removes all sets and closes the carriers.
func (s *Stack) Close() error {
	s.mu.Lock()
	s.closed = true
	open := make([]*packetConn, 0, len(s.udp))
	for _, c := range s.udp {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	s.tcp.closeListeners()
	err := s.Engine.Close()
	s.tcp.destroy()
	return err
}

// upper receives from the engine.
type upper Stack

func (u *upper) ReceiveUDP(local, remote netip.AddrPort, payload []byte) error {
	u.mu.RLock()
	c := u.udp[local]
	u.mu.RUnlock()
	if c == nil {
		return esp.ErrNoListener
	}
	return c.push(remote, payload)
}

func (u *upper) ReceiveTCP(local, remote netip.AddrPort, segment []byte) error {
	return u.tcp.receive(local, remote, segment)
}

func (u *upper) Removed(local, remote netip.AddrPort) { u.tcp.abort(local, remote) }

// Ports that are picked (RFC 6335 6).
const (
	firstPort = 49152
	lastPort  = 65535
)

// ListenPacket opens a UDP socket. Port 0 takes a free one.
func (s *Stack) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	local = unmap(local)
	if !local.Addr().IsValid() || local.Addr().IsUnspecified() {
		return nil, opError("listen", "udp", local, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	}
	s.Claim(local.Addr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, opError("listen", "udp", local, net.ErrClosed)
	}
	for range lastPort - firstPort + 1 {
		if local.Port() != 0 {
			break
		}
		if a := netip.AddrPortFrom(local.Addr(), s.nextPort); s.udp[a] == nil {
			local = a
		}
		if s.nextPort++; s.nextPort < firstPort {
			s.nextPort = firstPort
		}
	}
	if local.Port() == 0 || s.udp[local] != nil {
		return nil, opError("listen", "udp", local, os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	c := newPacketConn(s, local)
	s.udp[local] = c
	return c, nil
}

func (s *Stack) forget(c *packetConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.udp[c.local] == c {
		delete(s.udp, c.local)
	}
}

func unmap(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func opError(op, network string, at netip.AddrPort, err error) error {
	e := &net.OpError{Op: op, Net: network, Err: err}
	if network == "tcp" {
		e.Addr = net.TCPAddrFromAddrPort(at)
	} else {
		e.Addr = net.UDPAddrFromAddrPort(at)
	}
	return e
}
