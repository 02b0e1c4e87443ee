//go:build integration

package kerneltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/ipsec/xfrm"
	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
)

func TestMain(m *testing.M) { guest.Main(m, guest.Options{Programs: []string{"nft"}}) }

// patience bounds every wait for the other side.
const patience = 10 * time.Second

// end is one side: a back end with its sockets.
type end interface {
	ipsec.Backend
	ListenPacket(netip.AddrPort) (net.PacketConn, error)
	Listen(netip.AddrPort) (net.Listener, error)
	Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error)
}

// kernelEnd is the kernel of a namespace, with its sockets.
type kernelEnd struct {
	*xfrm.Backend
	net *guest.Net
}

func reuse(_, _ string, c syscall.RawConn) error {
	var e error
	err := c.Control(func(fd uintptr) { e = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	return errors.Join(err, e)
}

func (k kernelEnd) ListenPacket(at netip.AddrPort) (c net.PacketConn, err error) {
	err = k.net.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	return c, err
}

func (k kernelEnd) Listen(at netip.AddrPort) (l net.Listener, err error) {
	err = k.net.Do(func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	})
	return l, err
}

func (k kernelEnd) Dial(ctx context.Context, local, remote netip.AddrPort) (c net.Conn, err error) {
	err = k.net.Do(func() (err error) {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local), Control: reuse}
		c, err = d.DialContext(ctx, "tcp", remote.String())
		return err
	})
	return c, err
}

// The ends of the wire that most tests have.
var (
	core4, core6   = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8:1::1")
	phone4, phone6 = netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8:1::2")
)

// wire is two namespaces with a wire between them.
func wire(t *testing.T) (core, phone *guest.Net) {
	t.Helper()
	core, phone = guest.NewNet(t, "core"), guest.NewNet(t, "phone")
	prefix := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()-8) }
	guest.Wire(t, "gm", core, []netip.Prefix{prefix(core4), prefix(core6)}, phone, []netip.Prefix{prefix(phone4), prefix(phone6)})
	return core, phone
}

// byKernel is a back end in a namespace.
func byKernel(t *testing.T, n *guest.Net, c xfrm.Config) kernelEnd {
	t.Helper()
	k := kernelEnd{net: n}
	if c.Failed == nil {
		c.Failed = func(err error) { t.Error(err) }
	}
	err := n.Do(func() (err error) {
		k.Backend, err = xfrm.New(c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// byUser is a stack in user space, on raw sockets at the addresses in a namespace.
func byUser(t *testing.T, n *guest.Net, addrs ...netip.Addr) end {
	t.Helper()
	var s *netstack.Stack
	err := n.Do(func() error {
		c := netstack.Config{}
		for _, a := range addrs {
			raw, err := esp.ListenRaw(a)
			if err != nil {
				return err
			}
			c.Carriers = append(c.Carriers, raw)
		}
		var err error
		s, err = netstack.New(c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// The ports of tests' sets: that of set n is the first and n more.
const firstPC, firstPS, firstUC, firstUS = 5100, 6100, 40000, 50000

// set is one of the core's; its ports and SPIs follow from n.
func set(n int, pair ipsec.Pair, v6 bool) *ipsec.Set {
	core, phone := core4, phone4
	if v6 {
		core, phone = core6, phone6
	}
	spi := uint32(n)<<16 + 0x1000
	s := &ipsec.Set{
		ID: ipsec.SetID(n + 1), Pair: pair, Owner: "impi",
		Local:  ipsec.End{Addr: core, PortC: firstPC + uint16(n), PortS: firstPS + uint16(n), SPIC: spi + 1, SPIS: spi + 2},
		Remote: ipsec.End{Addr: phone, PortC: firstUC + uint16(n), PortS: firstUS + uint16(n), SPIC: spi + 3, SPIS: spi + 4},
		Hard:   time.Now().Add(time.Hour),
	}
	for i := range s.CK {
		s.CK[i], s.IK[i] = byte(n+i), byte(n-3*i)
	}
	return s
}

// mirror is the same set, seen from the phone.
func mirror(s *ipsec.Set) *ipsec.Set {
	m := *s
	m.Local, m.Remote = s.Remote, s.Local
	return &m
}

// ports are the protected ones of sets 0 to n-1.
func ports(n int) (list []uint16) {
	for i := range uint16(n) {
		list = append(list, firstPC+i, firstPS+i)
	}
	return list
}

// install puts a set in at both sides.
func install(t *testing.T, core, phone end, s *ipsec.Set) {
	t.Helper()
	if err := errors.Join(core.Install(s), phone.Install(mirror(s))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, core, phone, s) })
}

func remove(t *testing.T, core, phone end, s *ipsec.Set) {
	t.Helper()
	if err := errors.Join(core.Remove(s.ID), phone.Remove(s.ID)); err != nil {
		t.Error(err)
	}
}

// packetSocket opens one, and closes it with the test.
func packetSocket(t *testing.T, e end, at netip.AddrPort) net.PacketConn {
	t.Helper()
	c, err := e.ListenPacket(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// datagram goes from one socket to another, and must come from the first's port.
func datagram(from, to net.PacketConn, size int) error {
	msg := bytes.Repeat([]byte{byte(size), 0x55}, (size+1)/2)[:size]
	if _, err := from.WriteTo(msg, to.LocalAddr()); err != nil {
		return fmt.Errorf("send from %v to %v: %w", from.LocalAddr(), to.LocalAddr(), err)
	}
	buf := make([]byte, 1<<16)
	_ = to.SetReadDeadline(time.Now().Add(patience))
	n, src, err := to.ReadFrom(buf)
	switch {
	case err != nil:
		return fmt.Errorf("from %v to %v: %w", from.LocalAddr(), to.LocalAddr(), err)
	case !bytes.Equal(buf[:n], msg):
		return fmt.Errorf("from %v to %v: %d octets have become %d", from.LocalAddr(), to.LocalAddr(), size, n)
	case src.String() != from.LocalAddr().String():
		return fmt.Errorf("from %v to %v: it comes from %v", from.LocalAddr(), to.LocalAddr(), src)
	}
	return nil
}

// datagrams go over all four associations, small ones and one beyond the MTU.
func datagrams(t *testing.T, core, phone end, s *ipsec.Set) {
	t.Helper()
	ps, pc := packetSocket(t, core, s.Local.Server()), packetSocket(t, core, s.Local.Client())
	us, uc := packetSocket(t, phone, s.Remote.Server()), packetSocket(t, phone, s.Remote.Client())
	for _, size := range []int{1, 2, 3, 4, 500, 4000} {
		for _, way := range [][2]net.PacketConn{{uc, ps}, {ps, uc}, {pc, us}, {us, pc}} {
			if err := datagram(way[0], way[1], size); err != nil {
				t.Error(err)
				return
			}
		}
	}
	for _, c := range []net.PacketConn{ps, pc, us, uc} {
		c.Close()
	}
}

// stream connects from one end to the other, and sends something there and back.
func stream(t *testing.T, from end, local netip.AddrPort, to end, remote netip.AddrPort) {
	t.Helper()
	l, err := to.Listen(remote)
	if err != nil {
		t.Error(err)
		return
	}
	defer l.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			t.Errorf("accept at %v: %v", remote, err)
			return
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.Copy(c, c); err != nil {
			t.Errorf("echo at %v: %v", remote, err)
		}
		c.Close()
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := from.Dial(ctx, local, remote)
	if err != nil {
		t.Errorf("connect %v to %v: %v", local, remote, err)
		l.Close()
		wg.Wait()
		return
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	sent := bytes.Repeat([]byte("0123456789"), 700)
	if _, err := c.Write(sent); err != nil {
		t.Errorf("write from %v to %v: %v", local, remote, err)
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("from %v to %v: what comes back is not what was sent: %v", local, remote, err)
	}
	c.Close()
	wg.Wait()
}

// streams go over both pairs of associations.
func streams(t *testing.T, core, phone end, s *ipsec.Set) {
	t.Helper()
	stream(t, phone, s.Remote.Client(), core, s.Local.Server())
	stream(t, core, s.Local.Client(), phone, s.Remote.Server())
}

// inClear counts UDP and TCP packets, and protected those of ESP.
func inClear(packets [][]byte) (clear, protected int) {
	for _, p := range packets {
		switch proto, _ := guest.Header(p); proto {
		case unix.IPPROTO_UDP, unix.IPPROTO_TCP:
			clear++
		case unix.IPPROTO_ESP:
			protected++
		}
	}
	return clear, protected
}
