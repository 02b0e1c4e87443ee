package esp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func send(t *testing.T, by *host, from, to netip.AddrPort, text string) {
	t.Helper()
	if err := by.SendUDP(from, to, []byte(text)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// A phone that may use raw sockets tries them first, against a P-CSCF that may not.
func TestSilenceOnIPLeadsToUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWire(), NewMemory(MemoryConfig{})
		pcscf := newHost(t, Config{Carriers: []Carrier{w.carrier("192.0.2.1:4500")}})
		phone := newHost(t, Config{Carriers: []Carrier{n.Carrier(), w.carrier("192.0.2.2:4500")}})
		p, u := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		install(t, pcscf, p)
		install(t, phone, u)
		send(t, phone, u.Local.Client(), u.Remote.Server(), "lost")
		time.Sleep(time.Second)
		send(t, phone, u.Local.Client(), u.Remote.Server(), "by both")
		pcscf.expect(t, []string{"UDP 192.0.2.2:6301->192.0.2.1:6100 by both"}, []string{"first of 1 by UDP 192.0.2.2:4500"})
		send(t, pcscf, p.Local.Server(), p.Remote.Client(), "200")
		phone.expect(t, []string{"UDP 192.0.2.1:6100->192.0.2.2:6301 200"}, []string{"first of 1 by UDP 192.0.2.1:4500"})
	})
}

// Whoever is reached both ways is answered by the way he uses.
func TestAnswerGoesTheWayOfTheLastPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWire(), NewMemory(MemoryConfig{})
		pcscf := newHost(t, Config{Carriers: []Carrier{n.Carrier(), w.carrier("192.0.2.1:4500")}})
		p, u := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		install(t, pcscf, p)
		raw, lab := newHost(t, Config{Carriers: []Carrier{n.Carrier()}}), newHost(t, Config{Carriers: []Carrier{w.carrier("127.0.0.1:3333")}})
		install(t, raw, u)
		send(t, raw, u.Local.Client(), u.Remote.Server(), "1")
		send(t, pcscf, p.Local.Server(), p.Remote.Client(), "raw")
		raw.expect(t, []string{"UDP 192.0.2.1:6100->192.0.2.2:6301 raw"}, nil)
		_ = raw.Remove(1)
		u.Outer = ap("192.0.2.1:4500")
		install(t, lab, u)
		lab.sets[1].out[ipsec.AtClient].seq.Store(1)
		send(t, lab, u.Local.Client(), u.Remote.Server(), "2")
		send(t, pcscf, p.Local.Server(), p.Remote.Client(), "udp")
		lab.expect(t, []string{"UDP 192.0.2.1:6100->192.0.2.2:6301 udp"}, nil)
		pcscf.expect(t, []string{"UDP 192.0.2.2:6301->192.0.2.1:6100 1", "UDP 192.0.2.2:6301->192.0.2.1:6100 2"},
			[]string{"first of 1 by IP 192.0.2.2:0", "1 now by UDP 127.0.0.1:3333"})
	})
}

// A packet that was overtaken says where the peer was, not where he is.
func TestOvertakenPacketsMoveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		pcscf := newHost(t, Config{Carriers: []Carrier{w.carrier("192.0.2.1:4500")}})
		p, u := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		install(t, pcscf, p)
		u.Outer = ap("192.0.2.1:4500")
		// from has the phone behind an address send the packet with a number.
		from := func(at string, seq uint64, text string) {
			phone := newHost(t, Config{Carriers: []Carrier{w.carrier(at)}})
			install(t, phone, u)
			phone.sets[1].out[ipsec.AtClient].seq.Store(seq - 1)
			send(t, phone, u.Local.Client(), u.Remote.Server(), text)
			_ = phone.Close()
		}
		from("198.51.100.1:1001", 5, "5")
		from("198.51.100.2:1002", 7, "7")
		from("198.51.100.1:1001", 6, "6")
		pcscf.expect(t, []string{"UDP 192.0.2.2:6301->192.0.2.1:6100 5", "UDP 192.0.2.2:6301->192.0.2.1:6100 7", "UDP 192.0.2.2:6301->192.0.2.1:6100 6"},
			[]string{"first of 1 by UDP 198.51.100.1:1001", "1 now by UDP 198.51.100.2:1002"})
	})
}

// Phones that share a carrier may choose the same SPI: each association is tried,
// and those that the packet is not for leave it as it is.
func TestSameSPIAtSeveralAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		pcscf := newHost(t, Config{Carriers: []Carrier{w.carrier("192.0.2.1:4500")}})
		phones := newHost(t, Config{Carriers: []Carrier{w.carrier("192.0.2.2:4500")}, PeerUDPPort: 4500})
		for i := range maxSameSPI + 1 {
			p, u := setPair(ipsec.SetID(i+1), "192.0.2.1", fmt.Sprintf("10.0.0.%d", i+1), ipsec.Pairs[i%len(ipsec.Pairs)])
			p.Remote.SPIC, p.Remote.SPIS = 300, 301
			p.CK[0], p.IK[0] = byte(i), byte(i)
			u.Local, u.CK, u.IK = p.Remote, p.CK, p.IK
			p.Outer = ap("192.0.2.2:4500")
			install(t, pcscf, p)
			err := phones.Install(u)
			if (err == nil) != (i < maxSameSPI) {
				t.Fatalf("phone %d with the same SPIs: %v", i, err)
			}
			if err != nil {
				continue
			}
			// A number that is new to all, or the others would only see replays.
			pcscf.sets[p.ID].out[ipsec.AtServer].seq.Store(100 * uint64(i))
			send(t, pcscf, p.Local.Server(), p.Remote.Client(), "SIP")
			phones.expect(t, []string{fmt.Sprintf("UDP 192.0.2.1:6100->10.0.0.%d:6301 SIP", i+1)}, nil)
		}
	})
}

// A carrier that comes late is told of the addresses that were there before.
func TestLateCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewMemory(MemoryConfig{})
		pcscf, phone := newHost(t, Config{}), newHost(t, Config{Carriers: []Carrier{n.Carrier()}})
		p, u := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		install(t, pcscf, p)
		install(t, phone, u)
		if err := pcscf.AddCarrier(n.Carrier()); err != nil {
			t.Fatal(err)
		}
		send(t, phone, u.Local.Client(), u.Remote.Server(), "SIP")
		pcscf.expect(t, []string{"UDP 192.0.2.2:6301->192.0.2.1:6100 SIP"}, nil)
		_ = pcscf.Close()
		if err := pcscf.AddCarrier(n.Carrier()); !errors.Is(err, ErrClosed) {
			t.Errorf("added after Close: %v", err)
		}
	})
}

// oddConn fails as it likes, and does not say that it is closed.
type oddConn struct {
	net.PacketConn
	fail chan error
}

func (*oddConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(ap("192.0.2.1:4500")) }
func (c *oddConn) Close() error      { close(c.fail); return nil }
func (c *oddConn) ReadFrom([]byte) (int, net.Addr, error) {
	if err, open := <-c.fail; open {
		return 0, nil, err
	}
	return 0, nil, errors.New("gone")
}

func TestCarrierEndsThoughItsSocketDoesNotSaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &oddConn{fail: make(chan error)}
		e := NewEngine(Config{Carriers: []Carrier{NewUDP(c)}}, quiet{})
		for range 20 {
			c.fail <- errors.New("an ICMP error")
		}
		if err := e.Close(); err != nil { // waits for the reader
			t.Error(err)
		}
	})
}

func TestNoCarrierReachesThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		for _, c := range []struct {
			name     string
			carriers []Carrier
			mode     ipsec.Mode
		}{
			{"none", nil, ipsec.Transport},
			{"other IP version", []Carrier{w.carrier("[2001:db8::1]:4500")}, ipsec.Transport},
			{"tunnel in UDP over IP", []Carrier{NewMemory(MemoryConfig{}).Carrier()}, ipsec.UDPTunnel},
		} {
			h := newHost(t, Config{Carriers: c.carriers})
			p, _ := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
			p.Mode = c.mode
			install(t, h, p)
			if err := h.SendUDP(p.Local.Server(), p.Remote.Client(), nil); !errors.Is(err, ErrNoPath) {
				t.Errorf("%s: %v, want %v", c.name, err, ErrNoPath)
			}
		}
	})
}
