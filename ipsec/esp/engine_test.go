package esp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is an engine with what it has received and told.
type host struct {
	*Engine
	mu    sync.Mutex
	got   []string
	told  []string
	fails error // what the Upper answers
}

func newHost(t testing.TB, cfg Config) *host {
	h := new(host)
	cfg.Observer = h
	h.Engine = NewEngine(cfg, h)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func (h *host) note(list *[]string, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*list = append(*list, fmt.Sprintf(format, args...))
}

func (h *host) ReceiveUDP(local, remote netip.AddrPort, payload []byte) error {
	h.note(&h.got, "UDP %v->%v %s", remote, local, payload)
	return h.fails
}

func (h *host) ReceiveTCP(local, remote netip.AddrPort, segment []byte) error {
	h.note(&h.got, "TCP %v->%v %s", remote, local, segment[4:])
	return h.fails
}

func (h *host) Removed(local, remote netip.AddrPort) {
	h.note(&h.told, "removed %v->%v", remote, local)
}
func (h *host) FirstPacket(s *ipsec.Set, by Path) {
	h.note(&h.told, "first of %d by %v %v", s.ID, by.Carrier.Kind(), by.Outer)
}
func (h *host) PathChanged(s *ipsec.Set, _, to Path) {
	h.note(&h.told, "%d now by %v %v", s.ID, to.Carrier.Kind(), to.Outer)
}
func (h *host) Expired(s *ipsec.Set) { h.note(&h.told, "expired %d", s.ID) }
func (h *host) Dropped(d Drop)       { h.note(&h.told, "dropped %v of %v spi %d", d.Reason, d.Outer, d.SPI) }

// expect waits until nothing moves, and takes what was received and told.
func (h *host) expect(t *testing.T, got, told []string) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.got, got) {
		t.Errorf("received\n%s\nwant\n%s", strings.Join(h.got, "\n"), strings.Join(got, "\n"))
	}
	if told != nil && !slices.Equal(h.told, told) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(h.told, "\n"), strings.Join(told, "\n"))
	}
	h.got, h.told = nil, nil
}

// setPair returns a set as the P-CSCF and as the phone see it: ports 5100, 6100 and
// 6301, 6300, SPIs from 100·id on.
func setPair(id ipsec.SetID, pcscf, phone string, pair ipsec.Pair) (*ipsec.Set, *ipsec.Set) {
	base := 1000 * uint32(id)
	p := &ipsec.Set{
		ID: id, Pair: pair,
		Local:  ipsec.End{Addr: netip.MustParseAddr(pcscf), PortC: 5100, PortS: 6100, SPIC: base, SPIS: base + 1},
		Remote: ipsec.End{Addr: netip.MustParseAddr(phone), PortC: 6301, PortS: 6300, SPIC: base + 2, SPIS: base + 3},
		CK:     ipsec.Key([]byte("0123456789abcdef")), IK: ipsec.Key([]byte("fedcba9876543210")),
	}
	u := *p
	u.Local, u.Remote = p.Remote, p.Local
	return p, &u
}

func install(t testing.TB, h *host, s *ipsec.Set) {
	t.Helper()
	if err := h.Install(s); err != nil {
		t.Fatal(err)
	}
}

// segment is a TCP segment as far as ESP looks into it.
func segment(from, to netip.AddrPort, text string) []byte {
	b := binary.BigEndian.AppendUint16(nil, from.Port())
	return append(binary.BigEndian.AppendUint16(b, to.Port()), text...)
}

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

func TestSequenceNumbersNeverCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewMemory(MemoryConfig{})
		p, u := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		pcscf, phone := newHost(t, Config{Carriers: []Carrier{n.Carrier()}}), newHost(t, Config{Carriers: []Carrier{n.Carrier()}})
		install(t, pcscf, p)
		install(t, phone, u)
		phone.sets[1].out[ipsec.AtClient].seq.Store(math.MaxUint32 - 1)
		send := func(text string) error { return phone.SendUDP(u.Local.Client(), u.Remote.Server(), []byte(text)) }
		if err := send("the last"); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := send("too many"); !errors.Is(err, ErrExhausted) {
				t.Errorf("after number 2^32-1: %v, want %v", err, ErrExhausted)
			}
		}
		if err := phone.SendUDP(u.Local.Server(), u.Remote.Client(), nil); !errors.Is(err, ErrExhausted) {
			t.Errorf("the set's other association still sends: %v", err)
		}
		pcscf.expect(t, []string{"UDP 192.0.2.2:6301->192.0.2.1:6100 the last"}, nil)
	})
}

func TestHardLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{})
		p, _ := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		p.Hard = time.Now().Add(time.Hour)
		install(t, h, p)
		q, _ := setPair(2, "192.0.2.1", "192.0.2.3", ipsec.Pairs[0])
		install(t, h, q) // has no end
		time.Sleep(59 * time.Minute)
		if err := h.Extend(1, time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
		time.Sleep(59 * time.Minute)
		if _, ok := h.Stats(1); !ok {
			t.Error("gone before its end")
		}
		time.Sleep(time.Minute)
		h.expect(t, nil, []string{"removed 192.0.2.2:6301->192.0.2.1:6100", "removed 192.0.2.2:6300->192.0.2.1:5100", "expired 1"})
		if _, ok := h.Stats(1); ok {
			t.Error("there after its end")
		}
		if err := h.SendUDP(p.Local.Server(), p.Remote.Client(), nil); !errors.Is(err, ErrNoSA) {
			t.Errorf("it still sends: %v", err)
		}
		if err := h.Extend(1, time.Now().Add(time.Hour)); err == nil {
			t.Error("a set that is gone was extended")
		}
		if err := h.Extend(2, time.Now()); err == nil {
			t.Error("a set was extended to now")
		}
		if _, ok := h.Stats(2); !ok {
			t.Error("a set without an end has ended")
		}
		p.Hard = time.Now().Add(-time.Second)
		if err := h.Install(p); err == nil {
			t.Error("a set that has ended was installed")
		}
	})
}

// The timer has fired and is on its way when the set is extended.
func TestExtensionAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{})
		p, _ := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		p.Hard = time.Now().Add(time.Hour)
		install(t, h, p)
		a := h.sets[1]
		time.Sleep(time.Hour - 1)
		if err := h.Extend(1, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		h.expire(a)
		h.expect(t, nil, []string{})
		if err := h.Extend(1, time.Time{}); err != nil {
			t.Fatal(err)
		}
		h.expire(a)
		time.Sleep(24 * time.Hour)
		h.expect(t, nil, []string{})
		if err := h.Extend(1, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.expect(t, nil, []string{"removed 192.0.2.2:6301->192.0.2.1:6100", "removed 192.0.2.2:6300->192.0.2.1:5100", "expired 1"})
	})
}

func TestInstallIsAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{})
		p, _ := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		install(t, h, p)
		bad, _ := setPair(2, "192.0.2.1", "192.0.2.3", ipsec.Pairs[0])
		bad.Local.SPIC = p.Local.SPIS // its second inbound association
		bad.Local.SPIS, bad.Local.SPIC = bad.Local.SPIC, 2000
		for i, s := range []*ipsec.Set{p, bad, {ID: 3}} {
			if err := h.Install(s); err == nil {
				t.Errorf("set %d was installed", i)
			}
		}
		if err := h.SendUDP(bad.Local.Server(), bad.Remote.Client(), nil); !errors.Is(err, ErrNoSA) {
			t.Errorf("the refused set has left an outbound association: %v", err)
		}
		if h.in.get(2000) != nil {
			t.Error("the refused set has left an inbound association")
		}
		for range 2 {
			if err := h.Remove(1); err != nil {
				t.Error(err)
			}
		}
		bad.Local.SPIS = 2001
		install(t, h, bad)
		if err := errors.Join(h.Close(), h.Close()); err != nil {
			t.Error(err)
		}
		if err := h.Install(p); !errors.Is(err, ErrClosed) {
			t.Errorf("installed after Close: %v", err)
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
