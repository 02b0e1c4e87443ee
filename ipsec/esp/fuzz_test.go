package esp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// fuzzSets are a P-CSCF's sets: each pair in transport mode and as a tunnel, over
// both IP versions.
func fuzzSets(t testing.TB) (h *host, sets []*ipsec.Set) {
	h = newHost(t, Config{})
	for i, pair := range ipsec.Pairs {
		for j, addrs := range families {
			for _, mode := range []ipsec.Mode{ipsec.Transport, ipsec.UDPTunnel} {
				p, _ := setPair(ipsec.SetID(1+4*i+2*j+int(mode)), addrs[0], addrs[1], pair)
				p.Mode = mode
				install(t, h, p)
				sets = append(sets, p)
			}
		}
	}
	return h, sets
}

// Whatever comes without the keys, nothing of it gets through.
func FuzzReceive(f *testing.F) {
	h, sets := fuzzSets(f)
	ipc, udpc := NewMemory(MemoryConfig{}).Carrier(), newWire().carrier("192.0.2.1:4500")
	for _, s := range sets {
		f.Add(append(binary.BigEndian.AppendUint64(nil, uint64(s.Local.SPIS)<<32|1), make([]byte, 56)...), true)
	}
	f.Add(unhex(f, recordedPacket), false)
	f.Fuzz(func(t *testing.T, data []byte, udp bool) {
		before := total(h)
		if udp {
			h.receive(udpc, bytes.Clone(data), ap("192.0.2.2:4500"), netip.AddrPort{})
		} else {
			h.receive(ipc, bytes.Clone(data), ap("192.0.2.2:0"), ap("192.0.2.1:0"))
		}
		if len(h.got) != 0 {
			t.Errorf("received %q", h.got)
		}
		if n := total(h) - before; n != 1 {
			t.Errorf("counted %d times", n)
		}
		h.told = nil
	})
}

func total(h *host) (n uint64) {
	for _, d := range h.Drops() {
		n += d
	}
	return n
}

// A peer with the keys sends what it likes: it is received as his and to the right
// ports, or dropped and counted.
func FuzzAuthenticPayload(f *testing.F) {
	h, sets := fuzzSets(f)
	ipc, udpc := NewMemory(MemoryConfig{}).Carrier(), newWire().carrier("192.0.2.1:4500")
	transforms := make([]*Transform, len(sets))
	var seq uint32
	for i, s := range sets {
		transforms[i], _ = NewTransform(s.Pair, s.Material())
		b := append(make([]byte, udpHeaderLen), "SIP"...)
		putUDPHeader(b, s.Remote.Client(), s.Local.Server())
		f.Add(uint8(i), uint8(protoUDP), b, false)
		f.Add(uint8(i), uint8(protoTCP), b, true)
		ipPackets(b, s.Remote.Addr, s.Local.Addr, protoUDP, 0, 1500, func(b []byte) {
			f.Add(uint8(i), b[0]>>4/6*(protoIPv6-protoIPv4)+protoIPv4, b, true)
		})
	}
	f.Add(uint8(0), uint8(protoNone), []byte(nil), true)
	f.Fuzz(func(t *testing.T, which, next uint8, payload []byte, udp bool) {
		i := int(which) % len(sets)
		s := sets[i]
		if len(payload) > 60000 {
			return
		}
		seq++
		buf := make([]byte, len(payload)+100)
		copy(buf[transforms[i].Head():], payload)
		packet := transforms[i].Seal(buf, len(payload), next, s.Local.SPIS, seq)
		before := total(h)
		h.got, h.told = nil, nil
		if udp {
			h.receive(udpc, packet, ap("203.0.113.9:4500"), netip.AddrPort{})
		} else {
			h.receive(ipc, packet, netip.AddrPortFrom(s.Remote.Addr, 0), netip.AddrPortFrom(s.Local.Addr, 0))
		}
		drops := total(h) - before
		waits := h.inner.memory > 0 || h.inner.stats.Malformed > 0 // a fragment, or what cannot be one and is counted as such
		h.inner = reassembler{}
		if drops+uint64(len(h.got)) != 1 && next != protoNone && !waits {
			t.Fatalf("received %q and %d drops", h.got, drops)
		}
		st, _ := h.Stats(s.ID)
		if st.In[ipsec.AtServer].BadICV+st.In[ipsec.AtServer].Replayed != 0 {
			t.Fatalf("the packet was good: %+v", st)
		}
		if len(h.got) == 0 {
			return
		}
		ports := payload
		if s.Mode == ipsec.UDPTunnel {
			p, ok := parseIP(payload)
			if !ok || !udp || p.src != s.Remote.Addr || p.dst != s.Local.Addr || p.isFragment() {
				t.Fatalf("received %q from a tunnel with %x", h.got, payload)
			}
			ports, next = p.payload, p.proto
		}
		if next != protoUDP && next != protoTCP || binary.BigEndian.Uint16(ports) != s.Remote.PortC || binary.BigEndian.Uint16(ports[2:]) != s.Local.PortS {
			t.Fatalf("received %q of protocol %d, %x", h.got, next, ports)
		}
	})
}

// IP packets as a network brings them: into the reassembly, and through it.
func FuzzIPPacket(f *testing.F) {
	h, _ := fuzzSets(f)
	for _, fam := range families {
		for _, mtu := range []int{1500, 80} {
			var all []byte
			ipPackets(make([]byte, 100), netip.MustParseAddr(fam[0]), netip.MustParseAddr(fam[1]), protoESP, 7, mtu, func(b []byte) {
				all = append(binary.BigEndian.AppendUint16(all, uint16(len(b))), b...)
			})
			f.Add(all)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewMemory(MemoryConfig{}).Carrier().(*memoryCarrier)
		c.reassembly.Memory = 10_000
		for len(data) >= 2 { // a length and a packet, again and again
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			c.deliver(data[2:2+n], func(b []byte, src, dst netip.AddrPort) { h.receive(c, b, src, dst) })
			data = data[2+n:]
		}
		if len(h.got) != 0 {
			t.Fatalf("received %q", h.got)
		}
		h.told = nil
	})
}

// Fragments in any form: the memory stays within its bound and adds up, and what
// comes out is what fragments that do not overlap make.
func FuzzReassembler(f *testing.F) {
	f.Add([]byte{0, 0, 8, 1, 0, 1, 8, 0})                              // two in order
	f.Add([]byte{0, 1, 8, 0, 0, 0, 8, 1})                              // the last first
	f.Add([]byte{0, 0, 16, 1, 0, 1, 8, 1, 0, 3, 4, 0, 1, 0, 0, 0})     // overlap, and an empty one
	f.Add([]byte{0, 0, 8, 1, 1, 0, 8, 1, 0, 0, 8, 1, 0, 255, 1, 0x80}) // repeated, and late
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 400)]
		r := reassembler{Memory: 5000}
		now := time.Now()
		var sent [4][256*8 + 256]bool // by datagram and place
		for ; len(data) >= 4; data = data[4:] {
			id, offset, n, flags := int(data[0]%4), int(data[1])*8, int(data[2]), data[3]
			p := frag(offset, n, flags&1 != 0, 0)
			p.id = uint32(id)
			for i := range p.payload {
				p.payload[i] = byte(offset + i)
				sent[id][offset+i] = true
			}
			if flags&0x80 != 0 {
				now = now.Add(reassemblyTimeout)
			}
			whole, ok, _ := r.add(p, now)
			if ok {
				for i, b := range whole {
					if !sent[id][i] || b != byte(i) {
						t.Fatalf("octet %d of %d is %d", i, len(whole), b)
					}
				}
			}
			sum := 0
			for el := r.order.Front(); el != nil; el = el.Next() {
				sum += el.Value.(*datagram).cost()
			}
			if sum != r.memory || sum > r.Memory || r.order.Len() != len(r.datagrams) {
				t.Fatalf("keeps %d octets, counts %d", sum, r.memory)
			}
		}
	})
}
