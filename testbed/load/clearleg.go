package load

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
)

// ClearLeg is what many phones of package ue have in common to send in clear, as
// their first REGISTER before they have SAs: one socket of the kernel, bound to every
// address at once, from which each sends with an address of its own. It is a
// transport.Net without TCP.
type ClearLeg struct {
	pc   *ipv4.PacketConn
	port uint16
	done chan struct{}
	gm   *Impairment // nil for none

	mu     sync.Mutex
	phones map[netip.Addr]*leg
}

// NewClearLeg opens the socket at any port.
func NewClearLeg() (*ClearLeg, error) {
	c, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(4 << 20)
	l := &ClearLeg{
		pc: ipv4.NewPacketConn(c), port: c.LocalAddr().(*net.UDPAddr).AddrPort().Port(),
		done: make(chan struct{}), phones: map[netip.Addr]*leg{},
	}
	if err := l.pc.SetControlMessage(ipv4.FlagDst, true); err != nil {
		_ = c.Close()
		return nil, err
	}
	go l.read()
	return l, nil
}

func (l *ClearLeg) read() {
	defer close(l.done)
	buf := make([]byte, 1<<16)
	for {
		n, cm, src, err := l.pc.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || cm == nil {
			continue
		}
		dst, _ := netip.AddrFromSlice(cm.Dst)
		l.mu.Lock()
		p := l.phones[dst.Unmap()]
		l.mu.Unlock()
		from := src.(*net.UDPAddr).AddrPort()
		if p != nil && l.gm.pass(buf[:n], func(b []byte) { p.take(b, from) }) {
			p.take(buf[:n], from)
		}
	}
}

// Port is that of all phones.
func (l *ClearLeg) Port() uint16 { return l.port }

// Close closes the socket and waits for its reader.
func (l *ClearLeg) Close() error {
	err := l.pc.Close()
	<-l.done
	return err
}

// ListenPacket is a phone's part: its address with Port.
func (l *ClearLeg) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	p := &leg{shared: l, addr: local.Addr()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if local.Port() != l.port || l.phones[p.addr] != nil {
		return nil, syscall.EADDRINUSE
	}
	l.phones[p.addr] = p
	return p, nil
}

// Listen opens nothing: nobody connects to a phone in clear.
func (l *ClearLeg) Listen(local netip.AddrPort) (net.Listener, error) {
	return &deaf{local: local, closed: make(chan struct{})}, nil
}

// Dial reaches nobody: there is no TCP in clear.
func (l *ClearLeg) Dial(_ context.Context, _, _ netip.AddrPort) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
}

// leg is a phone's part of a ClearLeg. Like a socket of the stack in user space it
// calls, and is not read.
type leg struct {
	shared *ClearLeg
	addr   netip.Addr

	mu sync.Mutex
	f  func(data []byte, from netip.AddrPort)
}

func (p *leg) Deliver(f func(data []byte, from netip.AddrPort)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.f = f
}

func (p *leg) take(data []byte, from netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.f != nil {
		p.f(data, from)
	}
}

func (p *leg) WriteTo(b []byte, to net.Addr) (int, error) {
	write := func(b []byte) (int, error) {
		return p.shared.pc.WriteTo(b, &ipv4.ControlMessage{Src: p.addr.AsSlice()}, to)
	}
	if !p.shared.gm.pass(b, func(b []byte) { _, _ = write(b) }) {
		return len(b), nil
	}
	return write(b)
}

func (p *leg) Close() error {
	p.Deliver(nil)
	p.shared.mu.Lock()
	defer p.shared.mu.Unlock()
	delete(p.shared.phones, p.addr)
	return nil
}

func (p *leg) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.addr, p.shared.port))
}

func (*leg) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, os.ErrInvalid }
func (*leg) SetDeadline(time.Time) error            { return nil }
func (*leg) SetReadDeadline(time.Time) error        { return nil }
func (*leg) SetWriteDeadline(time.Time) error       { return nil }

// deaf is a listener to which nobody connects.
type deaf struct {
	local  netip.AddrPort
	closed chan struct{}
}

func (d *deaf) Accept() (net.Conn, error) { <-d.closed; return nil, net.ErrClosed }
func (d *deaf) Close() error              { close(d.closed); return nil }
func (d *deaf) Addr() net.Addr            { return net.TCPAddrFromAddrPort(d.local) }
