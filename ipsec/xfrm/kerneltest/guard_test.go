//go:build integration

package kerneltest

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/xfrm"
	"github.com/gocscf/gocscf/testbed/conformance"
)

var sha1Null = ipsec.Pair{Alg: ipsec.HMACSHA1}

// arrives reports whether a datagram reaches a socket. What goes after it to an open
// port of the same host shows that it had its time.
func arrives(t *testing.T, from, to net.PacketConn, openFrom, openTo net.PacketConn) bool {
	t.Helper()
	if _, err := from.WriteTo([]byte("in clear"), to.LocalAddr()); err != nil {
		t.Errorf("send from %v to %v: %v", from.LocalAddr(), to.LocalAddr(), err)
	}
	if err := datagram(openFrom, openTo, 10); err != nil {
		t.Error(err)
	}
	_ = to.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, _, err := to.ReadFrom(make([]byte, 100))
	return err == nil
}

// What is in clear to a protected port is dropped and counted, whoever sends it; on
// other ports nothing is touched.
func TestNothingInClearAtProtectedPorts(t *testing.T) {
	conformance.Partly(t, "IP-13")
	coreNet, phoneNet := wire(t)
	core := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4, core6}, Ports: ports(1)})
	// The phone has no policy of its own: what it sends is in clear.
	stranger := kernelEnd{net: phoneNet}
	for _, v6 := range []bool{false, true} {
		s := set(0, sha1Null, v6)
		openTo := packetSocket(t, core, netip.AddrPortFrom(s.Local.Addr, 5060))
		openFrom := packetSocket(t, stranger, netip.AddrPortFrom(s.Remote.Addr, 5060))
		uc := packetSocket(t, stranger, s.Remote.Client())
		other := packetSocket(t, stranger, netip.AddrPortFrom(s.Remote.Addr, 33333))
		targets := []net.PacketConn{packetSocket(t, core, s.Local.Server()), packetSocket(t, core, s.Local.Client())}
		listener, err := core.Listen(s.Local.Server())
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		sent := uint64(0)
		before, err := core.Drops()
		if err != nil {
			t.Fatal(err)
		}
		for _, with := range []bool{false, true} {
			if with {
				if err := core.Install(s); err != nil {
					t.Fatal(err)
				}
			}
			for _, from := range []net.PacketConn{uc, other} {
				for _, to := range targets {
					sent++
					if arrives(t, from, to, openFrom, openTo) {
						t.Errorf("set installed %v: in clear from %v to %v", with, from.LocalAddr(), to.LocalAddr())
					}
				}
			}
		}
		d, err := core.Drops()
		if err != nil || d.Clear-before.Clear != sent {
			t.Errorf("of %d in clear %d are counted, %v", sent, d.Clear-before.Clear, err)
		}
		// A TCP connection in clear is not even refused.
		refused := make(chan error, 1)
		go func() {
			refused <- phoneNet.Do(func() error {
				c, err := net.DialTimeout("tcp", s.Local.Server().String(), 500*time.Millisecond)
				if err == nil {
					c.Close()
				}
				return err
			})
		}()
		var timeout net.Error
		if err := <-refused; !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("a connection in clear: %v", err)
		}
		// Nor does anything leave in clear from there.
		for _, from := range targets {
			if _, err := from.WriteTo([]byte("in clear"), other.LocalAddr()); !errors.Is(err, unix.EPERM) {
				t.Errorf("sent in clear from %v: %v", from.LocalAddr(), err)
			}
		}
		if d, err := core.Drops(); err != nil || d.OutBlocked-before.OutBlocked != uint64(len(targets)) {
			t.Errorf("%d are counted that would have left in clear, %v", d.OutBlocked-before.OutBlocked, err)
		}
		if err := core.Remove(s.ID); err != nil {
			t.Error(err)
		}
	}
}

// A set's packets are those of its own ports: with its keys, but from another port,
// they are dropped.
func TestSelectorsBindAnAssociationToItsPorts(t *testing.T) {
	conformance.Shows(t, "IP-04")
	conformance.Partly(t, "IP-11")
	coreNet, phoneNet := wire(t)
	core := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4}, Ports: ports(2)})
	phone := byUser(t, phoneNet, phone4)
	s, other := set(0, sha1Null, false), set(1, sha1Null, false)
	install(t, core, phone, s)
	if err := core.Install(other); err != nil {
		t.Fatal(err)
	}
	// The phone's view of the first set has the ports of the second.
	lie := mirror(s)
	lie.ID = 100
	lie.Local.PortC, lie.Remote.PortS = other.Remote.PortC, other.Local.PortS
	lie.Local.SPIC, lie.Local.SPIS = 0x7001, 0x7002
	if err := phone.Install(lie); err != nil {
		t.Fatal(err)
	}
	target := packetSocket(t, core, other.Local.Server())
	honest, to := packetSocket(t, phone, s.Remote.Client()), packetSocket(t, core, s.Local.Server())
	liar := packetSocket(t, phone, lie.Local.Client())
	if _, err := liar.WriteTo([]byte("lie"), target.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	// The lie has taken sequence number 1.
	if _, err := honest.WriteTo([]byte("a replay"), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if err := datagram(honest, to, 100); err != nil {
		t.Error(err)
	}
	_ = target.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, _, err := target.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("an association carries what comes from another's port, %d octets", n)
	}
	if st, _ := core.Stats(s.ID); st.In[ipsec.AtServer].Replayed != 1 {
		t.Errorf("a replay is counted as %+v", st.In[ipsec.AtServer])
	}
	if d, err := core.Drops(); err != nil || d.Malformed+d.Clear == 0 {
		t.Errorf("it is not counted: %+v, %v", d, err)
	}
}
