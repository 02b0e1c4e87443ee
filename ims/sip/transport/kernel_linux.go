package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

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
	notify func(netip.AddrPort, error)
	in     batchIn
	out    batchOut

	errMu  sync.Mutex
	errBuf [64]byte  // the quoted datagram, of which nothing is used
	errOOB [512]byte // control messages
}

func newPacketConn(c *net.UDPConn, is4 bool) net.PacketConn {
	p := &packetConn{UDPConn: c}
	raw, err := c.SyscallConn()
	if err != nil {
		return c // a plain socket works, without batches and errors
	}
	p.raw = raw
	p.out.v6 = !is4
	p.in.try, p.out.try = p.in.read, p.out.write
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

// ReadBatch waits for datagrams and reads as many as there are and have a buffer.
func (c *packetConn) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	in := &c.in
	in.space = func() [][]byte { return bufs }
	in.got = nil
	for {
		n, err := c.readOnce()
		for i := range n {
			sizes[i], from[i] = in.datagram(i)
		}
		if err == nil || !c.asyncError(err) {
			return n, err
		}
	}
}

// ReadBatches reads until the socket is closed or fails.
func (c *packetConn) ReadBatches(space func() [][]byte, got func(data []byte, from netip.AddrPort, more int), done func()) error {
	c.in.space, c.in.got, c.in.done = space, got, done
	for {
		if _, err := c.readOnce(); err != nil && !c.asyncError(err) {
			return err
		}
	}
}

func (c *packetConn) readOnce() (int, error) {
	c.in.n, c.in.err = 0, 0
	if err := c.raw.Read(c.in.try); err != nil {
		return 0, err
	}
	if c.in.err != 0 {
		return 0, os.NewSyscallError("recvmmsg", c.in.err)
	}
	return c.in.n, nil
}

// WriteBatch writes datagrams in order. An ICMP error that came for an earlier
// datagram fails whatever is written next, though nothing is wrong with that:
// it is reported where it belongs, and the write is tried again.
func (c *packetConn) WriteBatch(bufs [][]byte, to []netip.AddrPort) (int, error) {
	return c.writeBatch(bufs, to, false)
}

// WriteBatchNow writes what can be written at once.
func (c *packetConn) WriteBatchNow(bufs [][]byte, to []netip.AddrPort) (int, error) {
	return c.writeBatch(bufs, to, true)
}

func (c *packetConn) writeBatch(bufs [][]byte, to []netip.AddrPort, now bool) (int, error) {
	c.out.now = now
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
	out := &c.out
	if err := out.set(bufs, to); err != nil {
		return 0, err
	}
	err := c.raw.Write(out.try)
	out.clear()
	switch {
	case err != nil:
		return 0, err
	case out.err != 0:
		return 0, os.NewSyscallError("sendmmsg", out.err)
	}
	return out.n, nil
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
