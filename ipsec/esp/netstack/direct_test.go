package netstack_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
)

// direct is a carrier that hands a packet to the other end before Send returns.
type direct struct {
	local netip.AddrPort
	peer  *direct
	buf   [1 << 16]byte
	f     func(data []byte, src, dst netip.AddrPort)
	ready chan struct{}
	done  chan struct{}
}

func directPair(a, b string) (*direct, *direct) {
	x := &direct{local: netip.MustParseAddrPort(a), ready: make(chan struct{}), done: make(chan struct{})}
	y := &direct{local: netip.MustParseAddrPort(b), ready: make(chan struct{}), done: make(chan struct{}), peer: x}
	x.peer = y
	return x, y
}

func (*direct) Kind() esp.Kind          { return esp.UDP }
func (d *direct) Local() netip.AddrPort { return d.local }
func (d *direct) Close() error          { close(d.done); return nil }
func (d *direct) Send(packet []byte, _ netip.Addr, _ netip.AddrPort) error {
	d.peer.f(d.peer.buf[:copy(d.peer.buf[:], packet)], d.local, netip.AddrPort{})
	return nil
}
func (d *direct) Receive(f func(data []byte, src, dst netip.AddrPort)) error {
	d.f = f
	close(d.ready)
	<-d.done
	return nil
}

// sockets opens the two ends of a set's UDP flow over a direct carrier.
func sockets(t testing.TB, pair ipsec.Pair) (phone, pcscf socket, set *ipsec.Set) {
	t.Helper()
	a, b := directPair("192.0.2.1:4500", "192.0.2.2:4500")
	p, u := sets(1, "192.0.2.1", "192.0.2.2", pair)
	sa, sb := pairOf(t, a, b, p, u)
	<-a.ready
	<-b.ready
	open := func(s *netstack.Stack, at netip.AddrPort) socket {
		c, err := s.ListenPacket(at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c.(socket)
	}
	return open(sb, u.Local.Client()), open(sa, p.Local.Server()), p
}

// socket is what the SIP engine makes use of where a socket has it.
type socket interface {
	net.PacketConn
	ReadBatch(bufs [][]byte, sizes []int, from []netip.AddrPort) (int, error)
	WriteBatch(bufs [][]byte, to []netip.AddrPort) (int, error)
}
