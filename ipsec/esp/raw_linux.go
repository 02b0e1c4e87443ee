package esp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// rawCarrier is ESP as IP protocol 50, or IPv6 next header 50. The kernel puts
// fragments together and makes them.
type rawCarrier struct {
	c     *net.IPConn
	local netip.Addr

	closed atomic.Bool
}

// ListenRaw opens a raw socket for ESP at an address of this host, which may be
// unspecified. It needs CAP_NET_RAW.
func ListenRaw(local netip.Addr) (Carrier, error) {
	local = local.Unmap()
	network := "ip4:esp"
	if local.Is6() {
		network = "ip6:esp"
	}
	network = network[:4] + "50" // the number: a host may have no /etc/protocols
	c, err := net.ListenIP(network, &net.IPAddr{IP: local.WithZone("").AsSlice(), Zone: local.Zone()})
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("esp: opening a raw socket at %v: %w; run with CAP_NET_RAW, or use ESP in UDP", local, err)
	}
	if err != nil {
		return nil, fmt.Errorf("esp: opening a raw socket at %v: %w", local, err)
	}
	_ = c.SetReadBuffer(socketBuffer)
	_ = c.SetWriteBuffer(socketBuffer)
	letFragment(c, local)
	return &rawCarrier{c: c, local: local}, nil
}

func (*rawCarrier) Kind() Kind              { return IP }
func (r *rawCarrier) Local() netip.AddrPort { return netip.AddrPortFrom(r.local, 0) }

func (r *rawCarrier) Close() error {
	r.closed.Store(true)
	return r.c.Close()
}

func (r *rawCarrier) Send(packet []byte, src netip.Addr, dst netip.AddrPort) error {
	to := &net.IPAddr{IP: dst.Addr().WithZone("").AsSlice(), Zone: dst.Addr().Zone()}
	if !r.local.IsUnspecified() {
		_, err := r.c.WriteToIP(packet, to)
		return err
	}
	_, _, err := r.c.WriteMsgIP(packet, sourceOf(src), to)
	return err
}

// sourceOf is the control message that sets a packet's source.
func sourceOf(src netip.Addr) []byte {
	if src.Is4() {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: src.As4()})
	}
	return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: src.As16()})
}

func (r *rawCarrier) Receive(f func(data []byte, src, dst netip.AddrPort)) error {
	buf := make([]byte, 1<<16)
	for {
		// IPv4 comes with its header, IPv6 without.
		n, _, _, from, err := r.c.ReadMsgIP(buf, nil)
		switch {
		case r.closed.Load() || errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			time.Sleep(time.Millisecond) // an ICMP error, or worse: go on, but do not spin
			continue
		}
		if r.local.Is6() {
			src, _ := netip.AddrFromSlice(from.IP)
			dst := r.local
			if dst.IsUnspecified() {
				dst = netip.Addr{}
			}
			f(buf[:n], netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0))
			continue
		}
		if p, ok := parseIP(buf[:n]); ok && p.proto == protoESP && !p.isFragment() {
			f(p.payload, netip.AddrPortFrom(p.src, 0), netip.AddrPortFrom(p.dst, 0))
		}
	}
}
