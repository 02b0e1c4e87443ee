package netstack

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// conn is a TCP connection. Besides net.Conn it has the method of the SIP engine's
// Rester.
type conn struct {
	ep            tcpip.Endpoint
	wq            *waiter.Queue
	local, remote *net.TCPAddr
	done          chan struct{} // closed by Close
	closeOnce     sync.Once
	read, write   connDeadline
	rest          rest
}

func newConn(ep tcpip.Endpoint, wq *waiter.Queue) (net.Conn, error) {
	local, err1 := ep.GetLocalAddress()
	remote, err2 := ep.GetRemoteAddress()
	if err1 != nil || err2 != nil { // reset in the meantime: the first read tells
		remote = tcpip.FullAddress{}
	}
	c := &conn{
		ep: ep, wq: wq, done: make(chan struct{}),
		local: net.TCPAddrFromAddrPort(addrPortOf(local)), remote: net.TCPAddrFromAddrPort(addrPortOf(remote)),
	}
	c.read.passes = c.rest.over
	c.rest.entry.Init(&c.rest, waiter.ReadableEvents)
	wq.EventRegister(&c.rest.entry) // for as long as the endpoint lives
	return c, nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// wait runs try until it does not block.
func (c *conn) wait(op string, d *connDeadline, mask waiter.EventMask, try func() tcpip.Error) error {
	var ready chan struct{}
	for {
		select {
		case <-c.done:
			return c.fail(op, net.ErrClosed)
		default:
		}
		if d.passed() {
			return c.fail(op, os.ErrDeadlineExceeded)
		}
		err := try()
		switch err.(type) {
		case nil:
			return nil
		case *tcpip.ErrClosedForReceive:
			select {
			case <-c.done:
				return c.fail(op, net.ErrClosed)
			default:
				return io.EOF
			}
		case *tcpip.ErrWouldBlock:
		default:
			select {
			case <-c.done:
				return c.fail(op, net.ErrClosed)
			default:
				return c.fail(op, gvisorError(err))
			}
		}
		if ready == nil { // registered, it is tried once more before it waits
			var entry waiter.Entry
			entry, ready = waiter.NewChannelEntry(mask)
			c.wq.EventRegister(&entry)
			defer c.wq.EventUnregister(&entry)
			continue
		}
		select {
		case <-ready:
		case <-c.done:
		case <-d.expired():
		}
	}
}

func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n := 0
	err := c.wait("read", &c.read, waiter.ReadableEvents, func() tcpip.Error {
		w := tcpip.SliceWriter(b)
		res, err := c.ep.Read(&w, tcpip.ReadOptions{})
		n = res.Count
		return err
	})
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	var r bytes.Reader
	n := 0
	for n < len(b) {
		err := c.wait("write", &c.write, waiter.WritableEvents, func() tcpip.Error {
			r.Reset(b[n:])
			w, err := c.ep.Write(&r, tcpip.WriteOptions{})
			n += int(w)
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// CloseWrite ends what this side sends.
func (c *conn) CloseWrite() error {
	if err := c.ep.Shutdown(tcpip.ShutdownWrite); err != nil {
		return c.fail("close", gvisorError(err))
	}
	return nil
}

// Close ends the connection; what was written is still sent.
func (c *conn) Close() error {
	err := c.fail("close", net.ErrClosed)
	c.closeOnce.Do(func() {
		close(c.done)
		c.ep.Close()
		_ = c.SetDeadline(time.Time{}) // stops the timers
		c.rest.over()
		err = nil
	})
	return err
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.read.set(t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.write.set(t) }
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.read.set(t)
	return c.write.set(t)
}

// gvisorError gives an error of gVisor the form that the kernel's would have.
func gvisorError(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset:
		return syscall.ECONNRESET
	case *tcpip.ErrConnectionAborted, *tcpip.ErrAborted:
		return syscall.ECONNABORTED
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrHostUnreachable, *tcpip.ErrHostDown:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrNetworkUnreachable:
		return syscall.ENETUNREACH
	case *tcpip.ErrPortInUse:
		return syscall.EADDRINUSE
	case *tcpip.ErrBadLocalAddress, *tcpip.ErrNoPortAvailable:
		return syscall.EADDRNOTAVAIL
	case *tcpip.ErrClosedForSend:
		return syscall.EPIPE
	case *tcpip.ErrInvalidEndpointState:
		return net.ErrClosed
	case *tcpip.ErrNotConnected:
		return syscall.ENOTCONN
	}
	return errors.New(err.String())
}
