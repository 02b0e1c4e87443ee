package xfrm

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

// udpEncap is a UDP socket from which the kernel takes ESP (RFC 3948). What is not
// ESP, a key exchange's, stays in its buffer and then is dropped: nobody reads it.
type udpEncap struct {
	net.PacketConn
}

func (b *Backend) openEncap() error {
	if b.config.EncapPort == 0 {
		return nil
	}
	for _, a := range b.config.Addrs {
		at := netip.AddrPortFrom(a, b.config.EncapPort)
		u, err := listenEncap(at)
		if err != nil {
			if errors.Is(err, unix.EADDRINUSE) {
				err = fmt.Errorf("%w: an IKE daemon or another P-CSCF has it: stop that, or set ipsec.udp to another port", err)
			}
			return fmt.Errorf("listen for ESP in UDP at %v: %w", at, err)
		}
		b.encap = append(b.encap, u)
	}
	return nil
}

func listenEncap(at netip.AddrPort) (udpEncap, error) {
	network := "udp4"
	if at.Addr().Is6() {
		network = "udp6"
	}
	c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return udpEncap{}, err
	}
	_ = c.SetReadBuffer(0) // the kernel's least
	raw, err := c.SyscallConn()
	if err == nil {
		var e error
		err = raw.Control(func(fd uintptr) {
			e = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_ENCAP, encapESPInUDP)
		})
		err = errors.Join(err, e)
	}
	if err != nil {
		c.Close()
		return udpEncap{}, err
	}
	return udpEncap{c}, nil
}

// checkOuter reports what makes a set's place of the peer impossible.
func (b *Backend) checkOuter(in *installed) error {
	s := in.set
	switch {
	case !in.outer.IsValid() && s.Mode == ipsec.UDPTunnel:
		return errors.New("UDP-enc-tun without the address that the phone's packets come from")
	case !in.outer.IsValid():
		return nil
	case b.config.EncapPort == 0:
		return errors.New("ESP in UDP, and no port for it: set ipsec.udp")
	case in.outer.Addr().Is4() != s.Remote.Addr.Is4():
		return fmt.Errorf("ESP in UDP from %v and the phone's %v are not of one IP version", in.outer, s.Remote.Addr)
	case s.Mode == ipsec.Transport && in.outer.Addr() != s.Remote.Addr:
		return fmt.Errorf("ESP in UDP comes from %v, not from the phone's %v: that takes UDP-enc-tun", in.outer, s.Remote.Addr)
	}
	return nil
}

// associations lists a set's four, with the peer where it is now.
func (b *Backend) associations(in *installed) []association {
	return in.associations(b.config.EncapPort)
}
