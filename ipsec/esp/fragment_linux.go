package esp

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// letFragment lets the network fragment what an IPv4 socket sends. By default the
// kernel forbids it and waits for ICMP to tell it the path's MTU; where that is
// filtered, what is a little too long for a tunnel on the way vanishes for ever.
// IPv6 routers fragment nothing: there the kernel has to be told.
func letFragment(c syscall.Conn, local netip.Addr) {
	if !local.Unmap().Is4() {
		return
	}
	if rc, err := c.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		})
	}
}
