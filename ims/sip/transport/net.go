package transport

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Net opens sockets. Addresses are IPv4 or IPv6, never IPv4-mapped; an IPv6
// socket carries IPv6 alone.
//
// What ListenPacket returns may also implement [BatchConn], [BatchReader],
// [Deliverer], [Neighbour], [UnreachableNotifier] and [Waiter]; without them it is
// used a datagram at a time. Connections may be [StreamDeliverer]s or [Rester]s.
type Net interface {
	// ListenPacket opens a UDP socket. Port 0 takes a free one.
	ListenPacket(local netip.AddrPort) (net.PacketConn, error)
	// Listen opens a listening TCP socket. Port 0 takes a free one.
	Listen(local netip.AddrPort) (net.Listener, error)
	// Dial opens a TCP connection to remote. The zero local leaves the source
	// to the stack, port 0 only its port; a port given is used even when a
	// listening socket, or a connection to somebody else, has it as well.
	Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error)
}

// BatchConn is a packet socket that moves several datagrams in one call. All
// slices of a call have the same length. One goroutine reads, one writes.
type BatchConn interface {
	// ReadBatch waits for at least one datagram and fills bufs, sizes and from
	// with the n that were there. A datagram longer than its buffer is cut.
	ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (n int, err error)
	// WriteBatch sends the datagrams in order. With n < len(bufs) the error is
	// about bufs[n]; the rest was not tried.
	WriteBatch(bufs [][]byte, to []netip.AddrPort) (n int, err error)
}

// BatchReader is a BatchConn that reads on by itself, which spares it to ask an
// empty socket once more after each batch.
type BatchReader interface {
	// ReadBatches reads until the socket fails or is closed, and returns that error.
	// space is asked before each read for the buffers, at least one; got takes what
	// came, a datagram at a time, of which more have come with it, and does not keep
	// data beyond its return; done is called behind them when there is nothing more, or
	// that is not known. None blocks.
	ReadBatches(space func() [][]byte, got func(data []byte, from netip.AddrPort, more int), done func()) error
}

// NowWriter is a BatchConn that can write without waiting.
type NowWriter interface {
	// WriteBatchNow is WriteBatch, but for datagrams that would have to wait: for
	// those the error is EAGAIN.
	WriteBatchNow(bufs [][]byte, to []netip.AddrPort) (n int, err error)
}

// errWouldWait is what WriteBatchNow gives for what would have to wait.
const errWouldWait = syscall.EAGAIN

// Deliverer is a packet socket that is not read but calls: one of many behind the
// same reader, such as those of a stack in user space, which costs no goroutine and
// no buffer of its own. Deliver is called once; from then on the function gets each
// datagram, one at a time, and does not keep data beyond its return. It does not
// block. Close waits for a call that runs; none follows.
type Deliverer interface {
	Deliver(func(data []byte, from netip.AddrPort))
}

// Neighbour is a packet socket that is read, and calls besides: with datagrams from
// other sockets of the process, which do not come over the network. DeliverNear is
// called once; from then on the function gets each such datagram, as with a Deliverer.
type Neighbour interface {
	DeliverNear(func(data []byte, from netip.AddrPort))
}

// StreamDeliverer is a connection that is not read but calls, such as one within the
// process. DeliverStream returns when the connection has ended, with what Read would
// say; until then the function gets what comes, in order, one piece at a time, and does
// not keep data beyond its return. It does not block. An error of it ends the
// calls, and is returned; the connection can still be written to.
type StreamDeliverer interface {
	DeliverStream(func(data []byte) error) error
}

// Rester is a connection that can be left alone while nothing comes, such as one of a
// stack in user space: at rest it costs no goroutine and no buffer. WhenReadable is
// called where no Read runs. It is false where Read would not wait; else ready is called
// once, on any goroutine, when that is so: something has come, the connection has ended or
// was closed, or the read deadline has passed. ready does not block, and uses nothing of
// the connection.
type Rester interface {
	WhenReadable(ready func()) bool
}

// UnreachableNotifier is a packet socket that learns of ICMP errors. The
// function is set once, before the first datagram is sent, and called on any
// goroutine with the destination of a datagram that did not arrive and the
// errno (ECONNREFUSED, EHOSTUNREACH, EMSGSIZE …) that the network gave for it.
type UnreachableNotifier interface {
	NotifyUnreachable(func(remote netip.AddrPort, err error))
}

// MTUKnower is a [Net] that knows the MTU of some paths from end to end, in octets
// of IP packets; 0 where it does not. Without it no MTU is known.
type MTUKnower interface {
	PathMTU(local, remote netip.Addr) int
}

// Waiter is a packet socket that knows when its datagrams arrived.
type Waiter interface {
	// Waited is about how long the datagram had been with the kernel that was read last,
	// 0 if that is not known. It is for whom a read calls.
	Waited() time.Duration
}

// batchOf returns pc's own batches, or one datagram at a time.
func batchOf(pc net.PacketConn) BatchConn {
	if b, ok := pc.(BatchConn); ok {
		return b
	}
	return singly{pc}
}

// readerOf returns b's own way to read on, or one that asks it again and again.
func readerOf(b BatchConn) BatchReader {
	if r, ok := b.(BatchReader); ok {
		return r
	}
	return &asking{b: b}
}

// asking makes a BatchReader of a BatchConn.
type asking struct {
	b     BatchConn
	sizes []int
	from  []netip.AddrPort
}

func (a *asking) ReadBatches(space func() [][]byte, got func(data []byte, from netip.AddrPort, more int), done func()) error {
	for {
		bufs := space()
		if len(a.sizes) < len(bufs) {
			a.sizes, a.from = make([]int, len(bufs)), make([]netip.AddrPort, len(bufs))
		}
		n, err := a.b.ReadBatch(bufs, a.sizes[:len(bufs)], a.from[:len(bufs)])
		for i := range n {
			got(bufs[i][:a.sizes[i]], a.from[i], n-1-i)
		}
		done()
		if err != nil {
			return err
		}
	}
}

// singly gives a plain net.PacketConn the shape of a BatchConn.
type singly struct{ net.PacketConn }

func (s singly) ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error) {
	n, addr, err := s.ReadFrom(bufs[0])
	if err != nil {
		return 0, err
	}
	sizes[0], from[0] = n, addrPort(addr)
	return 1, nil
}

func (s singly) WriteBatch(bufs [][]byte, to []netip.AddrPort) (int, error) {
	for i, b := range bufs {
		if _, err := s.WriteTo(b, net.UDPAddrFromAddrPort(to[i])); err != nil {
			return i, err
		}
	}
	return len(bufs), nil
}

// addrPort returns a socket address as a value, IPv4 in its own form.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	case nil:
	default:
		ap, _ = netip.ParseAddrPort(a.String())
	}
	return unmap(ap)
}

func unmap(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
