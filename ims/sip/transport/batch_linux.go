package transport

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below bypass syscall.Syscall, which tells the runtime's scheduler of a
// call that may block. These never do: the sockets are non-blocking, and the poller
// waits for them. What that saves is a wake-up of the runtime's monitor thread, with
// two or three switches of context, for each message that finds the process idle.

// mmsghdr is struct mmsghdr (recvmmsg(2)).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// name holds a socket address of either family.
type name = unix.RawSockaddrInet6

// headers are what the kernel is passed for a batch, each pointing to the next.
type headers struct {
	hdrs  []mmsghdr
	iovs  []unix.Iovec
	names []name
}

// grow makes room for n datagrams.
func (h *headers) grow(n int) {
	if len(h.hdrs) >= n {
		return
	}
	h.hdrs, h.iovs, h.names = make([]mmsghdr, n), make([]unix.Iovec, n), make([]name, n)
	for i := range h.hdrs {
		m := &h.hdrs[i].hdr
		m.Name, m.Iov = (*byte)(unsafe.Pointer(&h.names[i])), &h.iovs[i]
		m.SetIovlen(1)
	}
}

// batchIn is the reading side of a packet socket. One goroutine uses it.
type batchIn struct {
	space func() [][]byte                                  // where to read to, asked before each read
	got   func(data []byte, from netip.AddrPort, more int) // nil: return from the first read that brings something
	done  func()                                           // with got: the socket is empty
	try   func(fd uintptr) bool                            // read, bound once
	bufs  [][]byte                                         // of the last read
	n     int                                              // datagrams that it brought
	err   syscall.Errno                                    // or why it failed

	waited waited

	headers
}

// read is what the poller calls when the socket may be readable; false waits.
func (b *batchIn) read(fd uintptr) bool {
	for {
		b.bufs = b.space()
		b.grow(len(b.bufs))
		for i, buf := range b.bufs {
			b.iovs[i].Base = &buf[0]
			b.iovs[i].SetLen(len(buf))
			b.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		}
		r, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[0])), uintptr(len(b.bufs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			if b.got != nil {
				b.done()
			}
			return false
		default:
			b.err = errno
			return true
		}
		b.n = int(r)
		b.waited.fd, b.waited.fresh = fd, true
		if b.got == nil {
			return true
		}
		for i := range b.n {
			size, from := b.datagram(i)
			b.got(b.bufs[i][:size], from, b.n-1-i)
		}
		// Fewer than would have fitted: the socket is empty, and whatever comes from
		// now on wakes the poller anew (epoll(7), edge-triggered). Else the poller is
		// asked first whether the socket has been closed, which in a flood nobody else
		// would tell: its descriptor stays open for as long as this function runs.
		if b.n == len(b.bufs) {
			return true
		}
		b.done()
		return false
	}
}

// datagram returns the length of a datagram that was read, and who sent it.
func (b *batchIn) datagram(i int) (size int, from netip.AddrPort) {
	return min(int(b.hdrs[i].n), len(b.bufs[i])), addrPortOf(&b.names[i])
}

// batchOut is the writing side of a packet socket. One goroutine uses it.
type batchOut struct {
	v6  bool // of the socket
	now bool // do not wait
	try func(fd uintptr) bool
	len int           // datagrams to be written
	n   int           // of those, how many were
	err syscall.Errno // or why none was

	headers
}

// set takes what is to be written. It must stay until clear.
func (b *batchOut) set(bufs [][]byte, to []netip.AddrPort) error {
	bufs = bufs[:min(len(bufs), writeBatch)]
	b.grow(len(bufs))
	b.len, b.n, b.err = 0, 0, 0
	for i, buf := range bufs {
		size, ok := setName(&b.names[i], to[i], b.v6)
		if !ok && i == 0 {
			return fmt.Errorf("a socket of the other family cannot send to %s", to[i])
		}
		if !ok || len(buf) == 0 {
			break
		}
		b.hdrs[i].hdr.Namelen = size
		b.iovs[i].Base = &buf[0]
		b.iovs[i].SetLen(len(buf))
		b.len++
	}
	return nil
}

func (b *batchOut) clear() {
	for i := range b.len {
		b.iovs[i].Base = nil
	}
}

// write is what the poller calls when the socket may be writable; false waits.
func (b *batchOut) write(fd uintptr) bool {
	for {
		var r uintptr
		var errno syscall.Errno
		if b.len == 1 { // a third cheaper than sendmmsg
			_, _, errno = syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(b.iovs[0].Base)), uintptr(b.iovs[0].Len), 0,
				uintptr(unsafe.Pointer(&b.names[0])), uintptr(b.hdrs[0].hdr.Namelen))
			r = 1
		} else {
			r, _, errno = syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[0])), uintptr(b.len), 0, 0, 0)
		}
		switch errno {
		case 0:
			b.n = int(r)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			if !b.now {
				return false
			}
			b.err = errno
			return true
		default:
			b.err = errno
			return true
		}
	}
}

// addrPortOf reads a socket address, IPv4 in its own form.
func addrPortOf(n *name) netip.AddrPort {
	switch n.Family {
	case unix.AF_INET:
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(n))
		return netip.AddrPortFrom(netip.AddrFrom4(p.Addr), ntohs(p.Port))
	case unix.AF_INET6:
		a := netip.AddrFrom16(n.Addr).Unmap()
		if n.Scope_id != 0 && a.Is6() {
			a = a.WithZone(zones.name(n.Scope_id))
		}
		return netip.AddrPortFrom(a, ntohs(n.Port))
	}
	return netip.AddrPort{}
}

// setName writes a socket address and returns its length; false where a socket of
// that family cannot send there.
func setName(n *name, to netip.AddrPort, v6 bool) (uint32, bool) {
	a := to.Addr()
	if !v6 {
		if !a.Is4() && !a.Is4In6() {
			return 0, false
		}
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(n))
		*p = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: htons(to.Port()), Addr: a.As4()}
		return unix.SizeofSockaddrInet4, true
	}
	if !a.Is6() {
		return 0, false
	}
	*n = name{Family: unix.AF_INET6, Port: htons(to.Port()), Addr: a.As16(), Scope_id: zones.index(a.Zone())}
	return unix.SizeofSockaddrInet6, true
}

func ntohs(p uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], p)
	return binary.BigEndian.Uint16(b[:])
}

func htons(p uint16) uint16 { return ntohs(p) } // swapping is its own inverse
