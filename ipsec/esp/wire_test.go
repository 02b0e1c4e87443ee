package esp

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
)

// wire joins UDP sockets in memory. A NAT may stand between.
type wire struct {
	mu    sync.Mutex
	socks map[netip.AddrPort]*wireConn
	nat   map[netip.AddrPort]netip.AddrPort // inside to outside
	seen  []wireDatagram
}

type wireDatagram struct {
	src, dst netip.AddrPort
	data     []byte
}

type wireConn struct {
	net.PacketConn // nil: what is not overridden is not used
	w              *wire
	local          netip.AddrPort
	in             chan wireDatagram
	done           chan struct{}
}

func newWire() *wire {
	return &wire{socks: make(map[netip.AddrPort]*wireConn), nat: make(map[netip.AddrPort]netip.AddrPort)}
}

func (w *wire) carrier(local string) Carrier {
	c := &wireConn{w: w, local: netip.MustParseAddrPort(local), in: make(chan wireDatagram, 100), done: make(chan struct{})}
	w.socks[c.local] = c
	return NewUDP(c)
}

// take returns what has been on the wire.
func (w *wire) take() []wireDatagram {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

// rebind changes the NAT.
func (w *wire) rebind(inside, outside string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nat[ap(inside)] = ap(outside)
}

// route carries a datagram over the NAT.
func (w *wire) route(src, dst netip.AddrPort, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, wireDatagram{src, dst, bytes.Clone(data)})
	if out, ok := w.nat[src]; ok {
		src = out
	}
	for inside, outside := range w.nat {
		if outside == dst {
			dst = inside
		}
	}
	if c := w.socks[dst]; c != nil {
		c.in <- wireDatagram{src, dst, bytes.Clone(data)}
	}
}

func (c *wireConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }
func (c *wireConn) Close() error        { close(c.done); return nil }
func (c *wireConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.w.route(c.local, addrPort(to), b)
	return len(b), nil
}
func (c *wireConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.in:
		return copy(b, d.data), net.UDPAddrFromAddrPort(d.src), nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}
