package netstack

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/gocscf/gocscf/ipsec/esp"
)

// backlog is how many connections wait for Accept.
const backlog = 128

// listener is a listening socket. gVisor learns of it when the first segment comes,
// so that thousands of phones that nobody calls over TCP cost a map entry each.
type listener struct {
	t     *tcpStack
	local netip.AddrPort
	done  chan struct{} // closed by Close
	begun chan struct{} // closed when ep stands

	mu     sync.Mutex
	ep     tcpip.Endpoint
	wq     waiter.Queue
	err    error
	closed bool
}

// Listen opens a listening TCP socket. Port 0 takes a free one.
func (s *Stack) Listen(local netip.AddrPort) (net.Listener, error) {
	local = unmap(local)
	if !local.Addr().IsValid() || local.Addr().IsUnspecified() {
		return nil, opError("listen", "tcp", local, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	}
	s.Claim(local.Addr())
	t := &s.tcp
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, opError("listen", "tcp", local, net.ErrClosed)
	}
	for p := firstPort; p <= lastPort && local.Port() == 0; p++ {
		if a := netip.AddrPortFrom(local.Addr(), uint16(p)); t.listeners[a] == nil {
			local = a
		}
	}
	if local.Port() == 0 || t.listeners[local] != nil {
		return nil, opError("listen", "tcp", local, os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	if t.listeners == nil {
		t.listeners = make(map[netip.AddrPort]*listener)
	}
	l := &listener{t: t, local: local, done: make(chan struct{}), begun: make(chan struct{})}
	t.listeners[local] = l
	return l, nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// begin makes gVisor listen.
func (l *listener) begin(g *gvisor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ep != nil || l.err != nil || l.closed {
		return
	}
	ep, err := newEndpoint(g, &l.wq)
	if err == nil {
		if err = ep.Bind(fullAddress(l.local)); err == nil {
			err = ep.Listen(backlog)
		}
		if err != nil {
			ep.Close()
		}
	}
	if err != nil {
		l.err = opError("listen", "tcp", l.local, gvisorError(err))
	} else {
		l.ep = ep
	}
	close(l.begun)
}

// newEndpoint makes a TCP endpoint that may share its port with others: a listening
// one and connections to several peers. gVisor then lets two share even both
// addresses and both ports, which connect sees to.
func newEndpoint(g *gvisor, wq *waiter.Queue) (tcpip.Endpoint, tcpip.Error) {
	ep, err := g.NewEndpoint(tcp.ProtocolNumber, network, wq)
	if err == nil {
		ep.SocketOptions().SetReusePort(true)
		ep.SocketOptions().SetV6Only(true)
	}
	return ep, err
}

func (l *listener) Accept() (net.Conn, error) {
	closed := opError("accept", "tcp", l.local, net.ErrClosed)
	select {
	case <-l.done:
		return nil, closed
	case <-l.begun:
	}
	if l.err != nil { // written before begun was closed
		return nil, l.err
	}
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	l.wq.EventRegister(&entry)
	defer l.wq.EventUnregister(&entry)
	for {
		ep, wq, err := l.ep.Accept(nil)
		switch err.(type) {
		case nil:
			return newConn(ep, wq)
		case *tcpip.ErrWouldBlock:
			select {
			case <-l.done:
				return nil, closed
			case <-ready:
			}
		default:
			select {
			case <-l.done:
				return nil, closed
			default:
				return nil, opError("accept", "tcp", l.local, gvisorError(err))
			}
		}
	}
}

func (l *listener) Close() error {
	l.t.mu.Lock()
	if l.t.listeners[l.local] == l {
		delete(l.t.listeners, l.local)
	}
	l.t.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return opError("close", "tcp", l.local, net.ErrClosed)
	}
	l.closed = true
	close(l.done)
	if l.ep != nil {
		l.ep.Close()
	}
	return nil
}

// Dial opens a TCP connection. A local port that is given is used even when
// somebody listens on it, or has a connection to somebody else from it; what is
// left open is taken from the newest set that leads to remote, which it takes a
// look at all sets to find.
func (s *Stack) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	remote = unmap(remote)
	local, ok := s.Source(unmap(local), remote)
	if !ok {
		return nil, opError("dial", "tcp", remote, esp.ErrNoSA)
	}
	g, err := s.tcp.start()
	if err == nil {
		err = g.assign(local.Addr())
	}
	if err != nil {
		return nil, opError("dial", "tcp", remote, err)
	}
	c, err := g.dial(ctx, local, remote)
	if err != nil {
		return nil, opError("dial", "tcp", remote, err)
	}
	return c, nil
}

func (g *gvisor) dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	wq := new(waiter.Queue)
	ep, gerr := newEndpoint(g, wq)
	if gerr != nil {
		return nil, gvisorError(gerr)
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	err := g.connect(ep, local, remote)
	if err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-ready:
			if gerr := ep.LastError(); gerr != nil {
				err = gvisorError(gerr)
			}
		}
	}
	if err != nil {
		ep.Close()
		return nil, err
	}
	return newConn(ep, wq)
}

// connect begins to connect ep. A connection that this side has closed, but whose
// end the peer has not confirmed, does not keep its successor from coming up.
func (g *gvisor) connect(ep tcpip.Endpoint, local, remote netip.AddrPort) error {
	g.mu.Lock() // from the look to the registration
	defer g.mu.Unlock()
	if old := g.endpoint(local, remote); old != nil {
		if !closing(old) {
			return syscall.EADDRINUSE
		}
		old.Abort()
	}
	if err := ep.Bind(fullAddress(local)); err != nil {
		return gvisorError(err)
	}
	switch err := ep.Connect(fullAddress(remote)); err.(type) {
	case nil, *tcpip.ErrConnectStarted:
		return nil
	default:
		return gvisorError(err)
	}
}

// closing reports whether this side has closed a connection.
func closing(ep *tcp.Endpoint) bool {
	switch ep.EndpointState() {
	case tcp.StateFinWait1, tcp.StateFinWait2, tcp.StateClosing, tcp.StateLastAck, tcp.StateTimeWait, tcp.StateClose, tcp.StateError:
		return true
	}
	return false
}
