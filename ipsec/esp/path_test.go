package esp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
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

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func send(t *testing.T, by *host, from, to netip.AddrPort, text string) {
	t.Helper()
	if err := by.SendUDP(from, to, []byte(text)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// Two phones with the same private address behind one NAT that changes ports. The
// P-CSCF has given each ports of its own, and knows the NAT's address from the
// REGISTER.
func TestUDPTunnelThroughNAT(t *testing.T) {
	conformance.Partly(t, "IP-19")
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		pcscf := newHost(t, Config{Carriers: []Carrier{w.carrier("198.51.100.1:4500")}})
		var phones [2]*host
		var sets [2]*ipsec.Set
		for i := range phones {
			inside := fmt.Sprintf("10.0.0.%d:4500", i+2)
			w.nat[ap(inside)] = ap(fmt.Sprintf("203.0.113.9:%d", 40001+i))
			p, u := setPair(ipsec.SetID(i+1), "198.51.100.1", "192.168.1.5", ipsec.Pairs[i])
			p.Mode, u.Mode = ipsec.UDPTunnel, ipsec.UDPTunnel
			p.Local.PortC, p.Local.PortS = p.Local.PortC+uint16(i), p.Local.PortS+uint16(i)
			u.Remote = p.Local
			p.Outer = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), 0)
			phones[i] = newHost(t, Config{Carriers: []Carrier{w.carrier(inside)}, KeepAlive: 20 * time.Second})
			install(t, pcscf, p)
			install(t, phones[i], u)
			sets[i] = p
		}
		for i, p := range sets {
			send(t, phones[i], p.Remote.Client(), p.Local.Server(), "REGISTER")
			pcscf.expect(t, []string{fmt.Sprintf("UDP 192.168.1.5:6301->198.51.100.1:%d REGISTER", 6100+i)},
				[]string{fmt.Sprintf("first of %d by UDP 203.0.113.9:%d", i+1, 40001+i)})
			send(t, pcscf, p.Local.Client(), p.Remote.Server(), "NOTIFY")
			phones[i].expect(t, []string{fmt.Sprintf("UDP 198.51.100.1:%d->192.168.1.5:6300 NOTIFY", 5100+i)}, nil)
		}

		// The NAT forgets and takes another port: the next packet shows it. What
		// came from the old one and arrives late changes nothing.
		late := w.take()[0]
		w.rebind("10.0.0.2:4500", "203.0.113.9:50000")
		send(t, phones[0], sets[0].Remote.Client(), sets[0].Local.Server(), "again")
		w.route(ap("203.0.113.9:40001"), late.dst, late.data)
		pcscf.expect(t, []string{"UDP 192.168.1.5:6301->198.51.100.1:6100 again"},
			[]string{"1 now by UDP 203.0.113.9:50000", "dropped replayed of 203.0.113.9:40001 spi 1001"})
		if p, ok := pcscf.Path(1); !ok || p.Outer != ap("203.0.113.9:50000") {
			t.Errorf("the way to the phone is %v, %v", p.Outer, ok)
		}
		send(t, pcscf, sets[0].Local.Server(), sets[0].Remote.Client(), "200")
		phones[0].expect(t, []string{"UDP 198.51.100.1:6100->192.168.1.5:6301 200"}, nil)

		// Idle phones keep their ports with one octet, which is no packet.
		w.take()
		time.Sleep(59 * time.Second) // after 20 and 40 s
		synctest.Wait()
		seen := w.take()
		if n := len(seen); n != 4 {
			t.Errorf("two phones have sent %d keep-alives in 59 s, want 2 each", n)
		}
		for _, d := range seen {
			if string(d.data) != "\xff" || d.dst != ap("198.51.100.1:4500") {
				t.Errorf("keep-alive %x to %v", d.data, d.dst)
			}
		}
		pcscf.expect(t, nil, []string{})
	})
}

// Inside of a tunnel the addresses count, not those outside.
func TestUDPTunnelSelectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		pcscf := newHost(t, Config{Carriers: []Carrier{w.carrier("198.51.100.1:4500")}})
		n := NewMemory(MemoryConfig{})
		if err := pcscf.AddCarrier(n.Carrier()); err != nil {
			t.Fatal(err)
		}
		p, _ := setPair(1, "198.51.100.1", "192.168.1.5", ipsec.Pairs[0])
		p.Mode = ipsec.UDPTunnel
		install(t, pcscf, p)
		tr, _ := NewTransform(p.Pair, p.Material())
		seq := uint32(0)
		for _, c := range []struct {
			name     string
			src, dst string
			next     uint8
			fragment bool
			want     Reason
		}{
			{"source", "192.168.1.6", "198.51.100.1", protoIPv4, false, Selector},
			{"destination", "192.168.1.5", "198.51.100.2", protoIPv4, false, Selector},
			{"no tunnel", "", "", protoUDP, false, Selector},
			{"wrong version", "192.168.1.5", "198.51.100.1", protoIPv6, false, Malformed},
			{"garbage", "", "", protoIPv4, false, Malformed},
		} {
			payload := append(make([]byte, udpHeaderLen), "SIP"...)
			putUDPHeader(payload, p.Remote.Client(), p.Local.Server())
			if c.src != "" {
				ipPackets(payload, netip.MustParseAddr(c.src), netip.MustParseAddr(c.dst), protoUDP, 0, 1500, func(b []byte) { payload = b })
			}
			seq++
			buf := make([]byte, 500)
			copy(buf[tr.Head():], payload)
			w.route(ap("203.0.113.9:4500"), ap("198.51.100.1:4500"), tr.Seal(buf, len(payload), c.next, 1001, seq))
			synctest.Wait()
			t.Log(c.name)
			pcscf.expect(t, nil, []string{fmt.Sprintf("dropped %v of 203.0.113.9:4500 spi 1001", c.want)})
		}
		// A tunnel was agreed in UDP, and is taken nowhere else.
		inner := append(make([]byte, ipv4HeaderLen+udpHeaderLen), "SIP"...)
		putIPHeader(inner, p.Remote.Addr, p.Local.Addr, protoUDP, len(inner)-ipv4HeaderLen)
		putUDPHeader(inner[ipv4HeaderLen:], p.Remote.Client(), p.Local.Server())
		n.Inject(sealed(t, p, p.Remote.Addr, p.Local.Addr, 1001, 100, protoIPv4, inner))
		pcscf.expect(t, nil, []string{"dropped selector of 192.168.1.5:0 spi 1001"})
	})
}

// A kernel fragments IPv6 in tunnel mode before it encrypts (and may do so with
// IPv4). Two phones behind one NAT may have the same address.
func TestFragmentsInsideOfATunnel(t *testing.T) {
	for _, f := range families {
		synctest.Test(t, func(t *testing.T) {
			w := newWire()
			pcscf := newHost(t, Config{Carriers: []Carrier{w.carrier("198.51.100.1:4500")}})
			var parts [2][][]byte
			for i := range parts {
				p, _ := setPair(ipsec.SetID(i+1), f[0], f[1], ipsec.Pairs[i])
				p.Local.PortS += uint16(i)
				p.Mode = ipsec.UDPTunnel
				install(t, pcscf, p)
				text := bytes.Repeat([]byte{'a' + byte(i)}, 3000)
				b := append(make([]byte, udpHeaderLen), text...)
				putUDPHeader(b, p.Remote.Client(), p.Local.Server())
				tr, _ := NewTransform(p.Pair, p.Material())
				next, seq := uint8(protoIPv4), uint32(0)
				if p.Local.Addr.Is6() {
					next = protoIPv6
				}
				ipPackets(b, p.Remote.Addr, p.Local.Addr, protoUDP, 7, 1280, func(b []byte) {
					seq++
					buf := make([]byte, 2000)
					copy(buf[tr.Head():], b)
					parts[i] = append(parts[i], tr.Seal(buf, len(b), next, p.Local.SPIS, seq))
				})
			}
			var want []string
			for n := range parts[0] {
				for i := range parts {
					w.route(ap("203.0.113.9:4500"), ap("198.51.100.1:4500"), parts[i][n])
				}
			}
			for i := range parts {
				want = append(want, fmt.Sprintf("UDP %v->%v %s", netip.AddrPortFrom(netip.MustParseAddr(f[1]), 6301),
					netip.AddrPortFrom(netip.MustParseAddr(f[0]), uint16(6100+i)), bytes.Repeat([]byte{'a' + byte(i)}, 3000)))
			}
			pcscf.expect(t, want, nil)
			if st, _ := pcscf.Stats(1); st.In[ipsec.AtServer].Packets != uint64(len(parts[0])) || len(parts[0]) < 3 {
				t.Errorf("%d fragments, counted %+v", len(parts[0]), st.In[ipsec.AtServer])
			}
		})
	}
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
