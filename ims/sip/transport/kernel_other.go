//go:build unix && !linux

package transport

import (
	"net"

	"golang.org/x/sys/unix"
)

func setReuseAddr(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}

func setReusePort(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

func setBindLate(int) error { return nil }

// newPacketConn returns the socket as it is: a datagram at a time, and ICMP
// errors unknown, since an unconnected socket is not told of them here.
func newPacketConn(c *net.UDPConn, _ bool) net.PacketConn { return c }

// Direct returns the connection as it is.
func Direct(c net.Conn) net.Conn { return c }
