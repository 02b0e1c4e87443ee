package transport

import (
	"context"
	"math"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketBuffer is asked of the kernel for each UDP socket and direction: some
// thousand messages, while a burst outruns the reader. The kernel cuts it to
// net.core.rmem_max and wmem_max.
const socketBuffer = 4 << 20

// descriptors is how many the process may have open.
func descriptors() uint64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return math.MaxUint64
	}
	return uint64(l.Cur) //nolint:unconvert // it is signed elsewhere
}

// Kernel returns the sockets of the operating system.
func Kernel() Net { return kernel{} }

type kernel struct{}

// network names the protocol with its family: an IPv6 socket is then IPv6 only.
func network(proto string, a netip.Addr) string {
	switch {
	case a.Is4() || a.Is4In6():
		return proto + "4"
	case a.Is6():
		return proto + "6"
	}
	return proto
}

// PathMTU knows the paths that do not leave the machine.
func (kernel) PathMTU(local, remote netip.Addr) int {
	if remote.IsLoopback() || remote == local && remote.IsValid() {
		return loopbackMTU()
	}
	return 0
}

// loopbackMTU is that of the interface by which the machine reaches itself.
var loopbackMTU = sync.OnceValue(func() int {
	ifs, err := net.Interfaces()
	if err != nil {
		return 0
	}
	for _, i := range ifs {
		if i.Flags&net.FlagLoopback != 0 {
			return i.MTU
		}
	}
	return 0
})

func (kernel) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	local = unmap(local)
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(context.Background(), network("udp", local.Addr()), local.String())
	if err != nil {
		return nil, err
	}
	c := pc.(*net.UDPConn)
	// A smaller buffer than asked for is no error; nor is a refusal.
	_ = c.SetReadBuffer(socketBuffer)
	_ = c.SetWriteBuffer(socketBuffer)
	return newPacketConn(c, local.Addr().Is4()), nil
}

func (kernel) Listen(local netip.AddrPort) (net.Listener, error) {
	local = unmap(local)
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), network("tcp", local.Addr()), local.String())
	if err != nil {
		return nil, err
	}
	// Only now, so that a second listener on the address still fails: from here
	// on a dial may take the same port as its source.
	if rc, err := l.(*net.TCPListener).SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { _ = setReusePort(int(fd)) })
	}
	return directListener{l}, nil
}

// directListener accepts connections as Dial makes them.
type directListener struct{ net.Listener }

func (l directListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Direct(c), nil
}

func (kernel) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	local, remote = unmap(local), unmap(remote)
	d := net.Dialer{KeepAlive: -1}
	d.SetMultipathTCP(false)
	if local.Addr().IsValid() && !(local.Addr().IsUnspecified() && local.Port() == 0) {
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
		d.Control = func(_, _ string, rc syscall.RawConn) error {
			var err error
			cerr := rc.Control(func(fd uintptr) {
				if local.Port() == 0 {
					err = setBindLate(int(fd))
				} else if err = setReuseAddr(int(fd)); err == nil {
					err = setReusePort(int(fd))
				}
			})
			if cerr != nil {
				return cerr
			}
			return err
		}
	}
	c, err := d.DialContext(ctx, network("tcp", remote.Addr()), remote.String())
	if err != nil {
		return nil, err
	}
	return Direct(c), nil
}
