package esp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// socketBuffer is asked of the kernel for each socket and direction; it cuts it to
// what it allows.
const socketBuffer = 4 << 20

// udpCarrier is ESP in UDP (RFC 3948).
type udpCarrier struct {
	pc    net.PacketConn
	kc    *net.UDPConn // pc, where it is a kernel's socket
	local netip.AddrPort

	closed atomic.Bool
}

// ListenUDP opens a UDP socket of the operating system as a carrier. Port 0 takes a
// free one.
func ListenUDP(local netip.AddrPort) (Carrier, error) {
	network := "udp4"
	if a := local.Addr().Unmap(); a.Is6() {
		network = "udp6"
	}
	c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(local))
	if err != nil {
		return nil, fmt.Errorf("esp: opening %v for ESP in UDP: %w; choose another address or port (0 takes a free one)", local, err)
	}
	_ = c.SetReadBuffer(socketBuffer) // less is no error
	_ = c.SetWriteBuffer(socketBuffer)
	letFragment(c, local.Addr())
	return NewUDP(c), nil
}

// NewUDP makes a carrier of a socket, which it closes.
func NewUDP(pc net.PacketConn) Carrier {
	u := &udpCarrier{pc: pc, local: addrPort(pc.LocalAddr())}
	u.kc, _ = pc.(*net.UDPConn)
	return u
}

func (*udpCarrier) Kind() Kind              { return UDP }
func (u *udpCarrier) Local() netip.AddrPort { return u.local }

func (u *udpCarrier) Close() error {
	u.closed.Store(true)
	return u.pc.Close()
}

func (u *udpCarrier) Send(packet []byte, _ netip.Addr, dst netip.AddrPort) (err error) {
	if u.kc != nil {
		_, err = u.kc.WriteToUDPAddrPort(packet, dst)
	} else {
		_, err = u.pc.WriteTo(packet, net.UDPAddrFromAddrPort(dst))
	}
	return err
}

func (u *udpCarrier) Receive(f func(data []byte, src, dst netip.AddrPort)) error {
	buf := make([]byte, 1<<16)
	pause := time.Duration(0)
	for {
		n, src, err := u.read(buf)
		switch {
		case err == nil:
			pause = 0
		case u.closed.Load() || errors.Is(err, net.ErrClosed):
			return nil
		default: // an ICMP error, or worse: go on, but do not spin
			time.Sleep(pause)
			pause = min(2*pause+time.Millisecond, 100*time.Millisecond)
			continue
		}
		if n == 1 && buf[0] == keepAlive[0] {
			continue
		}
		f(buf[:n], src, netip.AddrPort{})
	}
}

func (u *udpCarrier) read(buf []byte) (int, netip.AddrPort, error) {
	if u.kc != nil {
		n, src, err := u.kc.ReadFromUDPAddrPort(buf)
		return n, netip.AddrPortFrom(src.Addr().Unmap(), src.Port()), err
	}
	n, src, err := u.pc.ReadFrom(buf)
	return n, addrPort(src), err
}

// addrPort returns a socket's address as a value, IPv4 in its own form.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	if u, ok := a.(*net.UDPAddr); ok {
		ap = u.AddrPort()
	} else if a != nil {
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
