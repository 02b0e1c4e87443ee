package esp

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

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
			var (
				parts [2][][]byte
				twice [][]byte // the first fragment of a datagram again, and with another last octet
			)
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
					seal := func(seq uint32) []byte {
						buf := make([]byte, 2000)
						copy(buf[tr.Head():], b)
						return tr.Seal(buf, len(b), next, p.Local.SPIS, seq)
					}
					seq++
					parts[i] = append(parts[i], seal(seq))
					if i == 0 && seq == 1 {
						twice = append(twice, seal(100))
						b[len(b)-1]++
						twice = append(twice, seal(101))
					}
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
			for _, b := range twice {
				w.route(ap("203.0.113.9:4500"), ap("198.51.100.1:4500"), b)
			}
			pcscf.expect(t, nil, []string{"dropped fragments of invalid AddrPort spi 0"})
			if n := pcscf.Drops()[Fragments]; n != 1 {
				t.Errorf("%d datagrams counted whose fragments overlap", n)
			}
		})
	}
}
