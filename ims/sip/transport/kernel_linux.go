package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

func setReuseAddr(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}

func setReusePort(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// setBindLate leaves the choice of a source port to connect, which knows the
// remote and so does not run out of ports at 28,000 connections in all.
func setBindLate(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}

// packetConn is a UDP socket that reads and writes in batches (recvmmsg,
// sendmmsg) and learns of ICMP errors from the socket's error queue (ip(7),
// IP_RECVERR), without being connected.
type packetConn struct {
	*net.UDPConn
	raw    syscall.RawConn
	mmsg   mmsg
	notify func(netip.AddrPort, error)

	// Reading.
	busy  bool // batches were worth it lately
	alone uint // datagrams read singly since
	in    []ipv4.Message

	// Writing.
	out      []ipv4.Message
	outAddrs []net.UDPAddr // what out[i].Addr points to

	errMu  sync.Mutex
	errBuf [64]byte  // the quoted datagram, of which nothing is used
	errOOB [512]byte // control messages
}

// mmsg is what ipv4.PacketConn and ipv6.PacketConn share; their Message is one type.
type mmsg interface {
	ReadBatch([]ipv4.Message, int) (int, error)
	WriteBatch([]ipv4.Message, int) (int, error)
}

func newPacketConn(c *net.UDPConn, is4 bool) net.PacketConn {
	p := &packetConn{UDPConn: c}
	if is4 {
		p.mmsg = ipv4.NewPacketConn(c)
	} else {
		p.mmsg = ipv6.NewPacketConn(c)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return c // a plain socket works, without batches and errors
	}
	p.raw = raw
	_ = raw.Control(func(fd uintptr) {
		if is4 {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		} else {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
		}
	})
	return p
}

func (c *packetConn) NotifyUnreachable(f func(netip.AddrPort, error)) { c.notify = f }

// ReadBatch reads one datagram with recvfrom while the socket is quiet, since
// recvmmsg costs a third more for a single one, and in batches under load. It
// looks for load at every eighth datagram.
func (c *packetConn) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	const probe = 8
	for {
		if c.busy {
			n, err := c.readMany(bufs, sizes, from)
			if err == nil && n > 0 {
				c.busy = n > 1
				return n, nil
			}
			c.busy = false
			if errors.Is(err, unix.EAGAIN) {
				continue
			}
			if c.asyncError(err) {
				continue
			}
			return 0, err
		}
		n, addr, err := c.ReadFromUDPAddrPort(bufs[0])
		if err != nil {
			if c.asyncError(err) {
				continue
			}
			return 0, err
		}
		sizes[0], from[0] = n, addr
		if c.alone++; c.alone%probe == 0 {
			c.busy = len(bufs) > 1
		}
		return 1, nil
	}
}

func (c *packetConn) readMany(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	for len(c.in) < len(bufs) {
		c.in = append(c.in, ipv4.Message{Buffers: make([][]byte, 1)})
	}
	in := c.in[:len(bufs)]
	for i := range in {
		in[i].Buffers[0] = bufs[i]
	}
	n, err := c.mmsg.ReadBatch(in, unix.MSG_DONTWAIT)
	for i := range max(n, 0) {
		sizes[i], from[i] = in[i].N, addrPort(in[i].Addr)
	}
	return n, err
}

// WriteBatch writes datagrams in order. An ICMP error that came for an earlier
// datagram fails whatever is written next, though nothing is wrong with that:
// it is reported where it belongs, and the write is tried again.
func (c *packetConn) WriteBatch(bufs [][]byte, to []netip.AddrPort) (int, error) {
	const retries = 4
	sent, tries := 0, 0
	for sent < len(bufs) {
		n, err := c.writeSome(bufs[sent:], to[sent:])
		if n > 0 {
			sent, tries = sent+n, 0
			continue
		}
		if err == nil {
			err = net.ErrClosed // sendmmsg that sent nothing gives an error
		}
		if tries++; tries <= retries && c.asyncError(err) {
			continue
		}
		return sent, err
	}
	return sent, nil
}

func (c *packetConn) writeSome(bufs [][]byte, to []netip.AddrPort) (int, error) {
	if len(bufs) == 1 {
		if _, err := c.WriteToUDPAddrPort(bufs[0], to[0]); err != nil {
			return 0, err
		}
		return 1, nil
	}
	for len(c.out) < len(bufs) {
		c.out = append(c.out, ipv4.Message{Buffers: make([][]byte, 1)})
	}
	if len(c.outAddrs) < len(bufs) {
		c.outAddrs = make([]net.UDPAddr, len(bufs))
	}
	out := c.out[:len(bufs)]
	for i := range out {
		a := &c.outAddrs[i]
		a.IP = append(a.IP[:0], to[i].Addr().AsSlice()...)
		a.Port, a.Zone = int(to[i].Port()), to[i].Addr().Zone()
		out[i].Buffers[0], out[i].Addr = bufs[i], a
	}
	n, err := c.mmsg.WriteBatch(out, 0)
	for i := range out {
		out[i].Buffers[0] = nil
	}
	return n, err
}

// asyncError reports whether err is the socket's pending ICMP error rather than
// about the call that returned it. It then reads the error queue, so that the
// destinations concerned are known.
func (c *packetConn) asyncError(err error) bool {
	for _, e := range []syscall.Errno{
		unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN,
		unix.ENOPROTOOPT, unix.EPROTO, unix.EOPNOTSUPP, unix.EMSGSIZE,
	} {
		if errors.Is(err, e) {
			n := c.readErrors()
			// A refusal is never about a call on an unconnected socket; the
			// others can be, and are if nothing is queued.
			return n > 0 || e == unix.ECONNREFUSED
		}
	}
	return false
}

// readErrors reports everything in the error queue, and how much that was.
func (c *packetConn) readErrors() (n int) {
	type report struct {
		remote netip.AddrPort
		err    error
	}
	var reports []report
	c.errMu.Lock()
	_ = c.raw.Control(func(fd uintptr) {
		for n < 256 {
			_, oobn, _, from, err := unix.Recvmsg(int(fd), c.errBuf[:], c.errOOB[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			n++
			remote, ok := sockaddr(from)
			if errno := icmpError(c.errOOB[:oobn]); ok && errno != 0 {
				reports = append(reports, report{remote, errno})
			}
		}
	})
	c.errMu.Unlock()
	for _, r := range reports {
		if c.notify != nil {
			c.notify(r.remote, r.err)
		}
	}
	return n
}

// icmpError finds the errno of an ICMP error in the control messages of
// MSG_ERRQUEUE: a struct sock_extended_err, whose ee_errno comes first and
// ee_origin fifth. Errors of local origin were returned by the call itself.
func icmpError(oob []byte) syscall.Errno {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range msgs {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if (v4 || v6) && len(m.Data) >= 16 {
			if o := m.Data[4]; o == unix.SO_EE_ORIGIN_ICMP || o == unix.SO_EE_ORIGIN_ICMP6 {
				return syscall.Errno(binary.NativeEndian.Uint32(m.Data))
			}
		}
	}
	return 0
}

func sockaddr(sa unix.Sockaddr) (netip.AddrPort, bool) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)), true
	}
	return netip.AddrPort{}, false
}
