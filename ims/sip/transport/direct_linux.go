package transport

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Direct returns a TCP connection that reads and writes without telling the
// scheduler of it (see batch_linux.go). One goroutine may read while one writes, no
// more. Other connections are returned as they are.
func Direct(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	d := &directConn{TCPConn: tcp, raw: raw}
	d.in.try, d.out.try = d.in.read, d.out.write
	return d
}

type directConn struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out direction
}

// direction is one of the two ways through a connection.
type direction struct {
	buf  []byte
	late *stream       // to be read into instead; nil for none
	n    int           // octets moved
	err  syscall.Errno // why no more were
	try  func(fd uintptr) bool
}

func (c *directConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.in.buf = b
	return c.readIn()
}

func (c *directConn) readLate(s *stream) (int, error) {
	c.in.late = s
	return c.readIn()
}

func (c *directConn) readIn() (int, error) {
	d := &c.in
	d.n, d.err = 0, 0
	err := c.raw.Read(d.try)
	d.buf, d.late = nil, nil
	switch {
	case err != nil:
		return d.n, err
	case d.err != 0:
		return d.n, os.NewSyscallError("read", d.err)
	case d.n == 0:
		return 0, io.EOF
	}
	return d.n, nil
}

func (c *directConn) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	d := &c.out
	d.buf, d.n, d.err = b, 0, 0
	err := c.raw.Write(d.try)
	d.buf = nil
	if err == nil && d.err != 0 {
		err = os.NewSyscallError("write", d.err)
	}
	return d.n, err
}

// read is what the poller calls when the connection may be readable; false waits.
func (d *direction) read(fd uintptr) bool {
	if d.late != nil {
		d.buf = d.late.space()
	}
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&d.buf[0])), uintptr(len(d.buf)))
		switch errno {
		case 0:
			d.n = int(n)
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			if d.late != nil {
				d.buf = nil
				d.late.rest()
			}
			return false
		default:
			d.err = errno
			return true
		}
	}
}

// write is what the poller calls when the connection may be writable; false waits.
func (d *direction) write(fd uintptr) bool {
	for d.n < len(d.buf) {
		n, _, errno := syscall.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&d.buf[d.n])), uintptr(len(d.buf)-d.n))
		switch errno {
		case 0:
			d.n += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			d.err = errno
			return true
		}
	}
	return true
}
