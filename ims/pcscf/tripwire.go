package pcscf

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
)

// tripwire sits on the protected ports outside of the stack in user space, where
// nothing but what is in clear can come: a phone whose packets miss their SA is
// noticed there, and nowhere else. What comes is dropped without an answer.
type tripwire struct {
	told func(proto sip.Proto, local, remote netip.AddrPort)
	open []interface{ Close() error }
	done chan struct{}
	wg   sync.WaitGroup
}

// newTripwire opens what it can: a port that is taken is not watched, and that is
// all.
func newTripwire(n transport.Net, addr netip.Addr, ports PortList, log *zap.Logger, told func(sip.Proto, netip.AddrPort, netip.AddrPort)) *tripwire {
	w := &tripwire{told: told, done: make(chan struct{})}
	taken := 0
	for _, port := range ports {
		at := netip.AddrPortFrom(addr, port)
		pc, err := n.ListenPacket(at)
		if err != nil {
			taken++
			continue
		}
		w.open = append(w.open, pc)
		w.wg.Go(func() { w.datagrams(pc, at) })
		ln, err := n.Listen(at)
		if err != nil {
			taken++
			continue
		}
		w.open = append(w.open, ln)
		w.wg.Go(func() { w.connections(ln, at) })
	}
	if taken > 0 {
		log.Info("some protected ports are taken outside of IPsec: what comes there in clear is not noticed", zap.Int("sockets", taken))
	}
	return w
}

func (w *tripwire) datagrams(pc net.PacketConn, at netip.AddrPort) {
	var buf [1]byte // the rest is cut off: nobody reads it
	for {
		_, from, err := pc.ReadFrom(buf[:])
		if u, ok := from.(*net.UDPAddr); ok && err == nil {
			w.told(sip.UDP, at, unmapped(u.AddrPort()))
			continue
		}
		if err != nil && !w.goOn(err) {
			return
		}
	}
}

func (w *tripwire) connections(ln net.Listener, at netip.AddrPort) {
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
			if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
				w.told(sip.TCP, at, unmapped(a.AddrPort()))
			}
			if l, ok := c.(interface{ SetLinger(int) error }); ok {
				_ = l.SetLinger(0)
			}
			_ = c.Close()
		case !w.goOn(err):
			return
		}
	}
}

// goOn reports whether a socket still works after err; it must not spin.
func (w *tripwire) goOn(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	select {
	case <-w.done:
		return false
	case <-time.After(100 * time.Millisecond): // out of descriptors, say
		return true
	}
}

// close ends it and waits.
func (w *tripwire) close() {
	close(w.done)
	for _, c := range w.open {
		_ = c.Close()
	}
	w.wg.Wait()
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
