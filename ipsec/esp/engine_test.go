package esp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFourAssociationsCarryUDPAndTCP(t *testing.T) {
	conformance.Shows(t, "IP-01", "IP-02")
	for _, addrs := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}} {
		synctest.Test(t, func(t *testing.T) {
			var wire []string
			n := NewMemory(MemoryConfig{Hook: func(b []byte) bool {
				p, _ := parseIP(b)
				if bytes.Contains(b, []byte("SIP")) {
					t.Errorf("in clear: %q", b)
				}
				wire = append(wire, fmt.Sprintf("%v->%v protocol %d spi %d seq %d", p.src, p.dst, p.proto,
					binary.BigEndian.Uint32(p.payload), binary.BigEndian.Uint32(p.payload[4:])))
				return true
			}})
			p, u := setPair(1, addrs[0], addrs[1], ipsec.Pair{Alg: ipsec.HMACSHA1, EAlg: ipsec.AESCBC})
			pcscf, phone := newHost(t, Config{Carriers: []Carrier{n.Carrier()}}), newHost(t, Config{Carriers: []Carrier{n.Carrier()}})
			install(t, pcscf, p)
			install(t, phone, u)

			// Who sends, on which of its two outbound associations.
			uc, us, pc, ps := u.Local.Client(), u.Local.Server(), p.Local.Client(), p.Local.Server()
			for _, f := range []struct {
				by       *host
				from, to netip.AddrPort
			}{{phone, uc, ps}, {pcscf, ps, uc}, {pcscf, pc, us}, {phone, us, pc}} {
				if err := f.by.SendUDP(f.from, f.to, []byte("SIP")); err != nil {
					t.Fatal(err)
				}
				if err := f.by.SendTCP(f.from, f.to, segment(f.from, f.to, "SIP"), nil); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			flow := func(proto string, a, b netip.AddrPort) string { return fmt.Sprintf("%s %v->%v SIP", proto, a, b) }
			pcscf.expect(t, []string{flow("UDP", uc, ps), flow("TCP", uc, ps), flow("UDP", us, pc), flow("TCP", us, pc)}, nil)
			phone.expect(t, []string{flow("UDP", ps, uc), flow("TCP", ps, uc), flow("UDP", pc, us), flow("TCP", pc, us)}, nil)
			var want []string
			for _, sa := range []struct {
				src, dst string
				spi      uint32
			}{{addrs[1], addrs[0], 1001}, {addrs[0], addrs[1], 1002}, {addrs[0], addrs[1], 1003}, {addrs[1], addrs[0], 1000}} {
				for seq := 1; seq <= 2; seq++ {
					want = append(want, fmt.Sprintf("%s->%s protocol 50 spi %d seq %d", sa.src, sa.dst, sa.spi, seq))
				}
			}
			if !slices.Equal(wire, want) {
				t.Errorf("on the wire\n%s\nwant\n%s", strings.Join(wire, "\n"), strings.Join(want, "\n"))
			}
			st, ok := pcscf.Stats(1)
			if in, out := st.In[ipsec.AtServer], st.Out[ipsec.AtClient]; !ok || in.Packets != 2 || out.Packets != 2 || in.Last.IsZero() || in.Dropped() != 0 {
				t.Errorf("statistics %+v, %v", st, ok)
			}
			if err := phone.SendUDP(uc, pc, []byte("SIP")); !errors.Is(err, ErrNoSA) {
				t.Errorf("between ports of no association: %v, want %v", err, ErrNoSA)
			}
		})
	}
}

// sealed makes an IP packet of ESP with the set's keys.
func sealed(t *testing.T, s *ipsec.Set, src, dst netip.Addr, spi, seq uint32, next uint8, payload []byte) []byte {
	t.Helper()
	tr, err := NewTransform(s.Pair, s.Material())
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	copy(buf[tr.Head():], payload)
	var packet []byte
	ipPackets(tr.Seal(buf, len(payload), next, spi, seq), src, dst, protoESP, 0, 2000, func(b []byte) { packet = b })
	return packet
}

func TestWhatDoesNotFitTheSelectorsIsDropped(t *testing.T) {
	conformance.Shows(t, "IP-04")
	pcscf, phone := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	other := netip.MustParseAddr("192.0.2.3")
	udp := func(from, to uint16) []byte {
		b := append(make([]byte, udpHeaderLen), "SIP"...)
		putUDPHeader(b, netip.AddrPortFrom(phone, from), netip.AddrPortFrom(pcscf, to))
		return b
	}
	tunnel := append(make([]byte, 20), udp(6301, 6100)...)
	putIPHeader(tunnel, phone, pcscf, protoUDP, len(tunnel)-20)
	for _, c := range []struct {
		name     string
		src, dst netip.Addr
		next     uint8
		payload  []byte
		want     Reason
	}{
		{"source port", phone, pcscf, protoUDP, udp(6302, 6100), Selector},
		{"source port of the other association", phone, pcscf, protoUDP, udp(6300, 6100), Selector},
		{"destination port", phone, pcscf, protoUDP, udp(6301, 5100), Selector},
		{"ports of TCP", phone, pcscf, protoTCP, udp(6301, 5060), Selector},
		{"source address", other, pcscf, protoUDP, udp(6301, 6100), Selector},
		{"destination address", phone, other, protoUDP, udp(6301, 6100), UnknownSPI},
		{"neither UDP nor TCP", phone, pcscf, 132, udp(6301, 6100), Selector},
		{"tunnel mode where transport was agreed", phone, pcscf, protoIPv4, tunnel, Selector},
		{"too short for ports", phone, pcscf, protoUDP, []byte("SIP"), Malformed},
		{"no whole UDP header", phone, pcscf, protoUDP, udp(6301, 6100)[:7], Malformed},
		{"UDP checksum", phone, pcscf, protoUDP, append(udp(6301, 6100)[:10], 'Q'), Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := NewMemory(MemoryConfig{})
				h := newHost(t, Config{Carriers: []Carrier{n.Carrier()}})
				h.Claim(other)
				p, _ := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
				install(t, h, p)
				n.Inject(sealed(t, p, c.src, c.dst, 1001, 1, c.next, c.payload))
				h.expect(t, nil, []string{fmt.Sprintf("dropped %v of %v:0 spi 1001", c.want, c.src)})
				st, _ := h.Stats(1)
				in := st.In[ipsec.AtServer]
				if got := map[Reason]uint64{Selector: in.Selector, Malformed: in.Malformed, UnknownSPI: 1}[c.want]; got != 1 || in.Packets != 0 {
					t.Errorf("counted as %+v", in)
				}
				n.Inject(sealed(t, p, phone, pcscf, 1001, 2, protoUDP, udp(6301, 6100)))
				n.Inject(sealed(t, p, phone, pcscf, 1001, 3, protoNone, nil)) // a dummy packet is no fault
				h.expect(t, []string{"UDP 192.0.2.2:6301->192.0.2.1:6100 SIP"}, []string{"first of 1 by IP 192.0.2.2:0"})
			})
		})
	}
}

func TestReplays(t *testing.T) {
	conformance.Partly(t, "IP-11")
	synctest.Test(t, func(t *testing.T) {
		var wire [][]byte
		n := NewMemory(MemoryConfig{Hook: func(b []byte) bool { wire = append(wire, bytes.Clone(b)); return true }})
		p, u := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		pcscf, phone := newHost(t, Config{Carriers: []Carrier{n.Carrier()}}), newHost(t, Config{Carriers: []Carrier{n.Carrier()}})
		install(t, pcscf, p)
		install(t, phone, u)
		const more = windowSize + 2
		for i := range more {
			if err := phone.SendUDP(u.Local.Client(), u.Remote.Server(), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(pcscf.got) != more {
			t.Fatalf("%d of %d arrived", len(pcscf.got), more)
		}
		first, last := wire[0], wire[more-1]
		n.Inject(first)
		n.Inject(last)
		synctest.Wait()
		st, _ := pcscf.Stats(1)
		if in := st.In[ipsec.AtServer]; in.Replayed != 2 || in.Packets != more || len(pcscf.got) != more {
			t.Errorf("after two replays: %+v and %d received", in, len(pcscf.got))
		}
		// A number ahead of all others without the keys must not move the window.
		forged := bytes.Clone(last)
		binary.BigEndian.PutUint32(forged[24:], 1<<30)
		n.Inject(forged)
		if err := phone.SendUDP(u.Local.Client(), u.Remote.Server(), []byte("on")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		st, _ = pcscf.Stats(1)
		if in := st.In[ipsec.AtServer]; in.BadICV != 1 || in.Packets != more+1 {
			t.Errorf("after a forged number: %+v", in)
		}
	})
}

func TestYoungestOfTwoSetsWithTheSamePortsSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var spis []uint32
		n := NewMemory(MemoryConfig{Hook: func(b []byte) bool { spis = append(spis, binary.BigEndian.Uint32(b[20:])); return true }})
		h := newHost(t, Config{Carriers: []Carrier{n.Carrier()}})
		p, _ := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		q, _ := setPair(2, "192.0.2.1", "192.0.2.2", ipsec.Pairs[1])
		r, _ := setPair(3, "192.0.2.1", "192.0.2.2", ipsec.Pairs[2])
		send := func() {
			if err := h.SendUDP(p.Local.Server(), p.Remote.Client(), nil); err != nil {
				t.Fatal(err)
			}
		}
		install(t, h, p)
		send()
		install(t, h, q)
		install(t, h, r)
		send()
		_ = h.Remove(2)
		send()
		_ = h.Remove(3)
		send()
		if want := []uint32{1002, 3002, 3002, 1002}; !slices.Equal(spis, want) {
			t.Errorf("sent on SPIs %d, want %d", spis, want)
		}
		h.expect(t, nil, []string{}) // no flow has ended
	})
}

func TestDatagramsThatNobodyTakesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewMemory(MemoryConfig{})
		p, u := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		pcscf, phone := newHost(t, Config{Carriers: []Carrier{n.Carrier()}}), newHost(t, Config{Carriers: []Carrier{n.Carrier()}})
		install(t, pcscf, p)
		install(t, phone, u)
		for _, err := range []error{ErrNoListener, ErrQueueFull} {
			pcscf.fails = err
			_ = phone.SendUDP(u.Local.Client(), u.Remote.Server(), nil)
			synctest.Wait()
		}
		if d := pcscf.Drops(); d[NoListener] != 1 || d[QueueFull] != 1 {
			t.Errorf("dropped %v", d)
		}
		if st, _ := pcscf.Stats(1); st.In[ipsec.AtServer].Packets != 2 {
			t.Errorf("they were good packets all the same: %+v", st)
		}
	})
}

func TestUnknownSPIsAreRememberedWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{})
		c := NewMemory(MemoryConfig{}).Carrier()
		for i := range 3 * maxSources {
			src := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			h.receive(c, binary.BigEndian.AppendUint64(nil, uint64(i+300)<<32), netip.AddrPortFrom(src, 0), netip.AddrPort{})
			if u := h.UnknownSPI(src); u.Packets != 1 || u.SPI != uint32(i+300) || u.Last.IsZero() {
				t.Fatalf("%v: %+v", src, u)
			}
		}
		if n := len(h.unknown.m); n != maxSources {
			t.Errorf("%d sources are remembered, want %d", n, maxSources)
		}
		if n := h.Drops()[UnknownSPI]; n != 3*maxSources {
			t.Errorf("%d are counted", n)
		}
		// A flood of others does not push out whoever goes on.
		phone := ap("192.0.2.7:0")
		for i := range 10 * maxSources {
			if i%100 == 0 {
				h.receive(c, binary.BigEndian.AppendUint64(nil, 301<<32), phone, netip.AddrPort{})
			}
			src := netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
			h.receive(c, binary.BigEndian.AppendUint64(nil, 300<<32), netip.AddrPortFrom(src, 0), netip.AddrPort{})
		}
		if u := h.UnknownSPI(phone.Addr()); u.Packets < maxSources/20 {
			t.Errorf("of whoever goes on %d packets are remembered", u.Packets)
		}
		h.receive(c, []byte("short"), netip.AddrPort{}, netip.AddrPort{})
		h.receive(c, make([]byte, 100), netip.AddrPort{}, netip.AddrPort{}) // an IKE message
		if n := h.Drops()[NotESP]; n != 2 {
			t.Errorf("%d are no ESP, want 2", n)
		}
	})
}
