package esp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// pieces returns the fragments of a payload, taken apart.
func pieces(t testing.TB, payload []byte, src, dst string, id uint32, mtu int) (list []ipPacket) {
	t.Helper()
	ipPackets(payload, netip.MustParseAddr(src), netip.MustParseAddr(dst), protoESP, id, mtu, func(b []byte) {
		p, ok := parseIP(b)
		if !ok || len(b) > mtu || p.proto != protoESP {
			t.Fatalf("no packet for an MTU of %d: %x", mtu, b)
		}
		list = append(list, p)
	})
	return list
}

var families = [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}}

func TestFragmentsInAnyOrderMakeTheDatagram(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, f := range families {
		var r reassembler
		for size := 1; size < 9000; size += 137 {
			payload := make([]byte, size)
			for i := range payload {
				payload[i] = byte(rng.Uint32())
			}
			list := pieces(t, payload, f[0], f[1], uint32(size), 600)
			if len(list) == 1 {
				if list[0].isFragment() || !bytes.Equal(list[0].payload, payload) {
					t.Fatalf("%d octets travel as %+v", size, list[0])
				}
				continue
			}
			list = append(list[:len(list):len(list)], list[rng.IntN(len(list)-1)]) // one twice, but not what completes it
			last := list[len(list)-2]
			rest := append(list[:len(list)-2:len(list)-2], list[len(list)-1])
			rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
			for _, p := range rest {
				if _, whole, _ := r.add(p, time.Now()); whole {
					t.Fatalf("%d octets are whole without the last fragment", size)
				}
			}
			if got, whole, _ := r.add(last, time.Now()); !whole || !bytes.Equal(got, payload) {
				t.Fatalf("%d octets come out as %d, %v", size, len(got), whole)
			}
		}
		if r.memory != 0 || r.order.Len() != 0 || len(r.datagrams) != 0 || len(r.sources) != 0 {
			t.Errorf("all is whole, and %d octets are kept", r.memory)
		}
	}
}

func frag(offset, n int, more bool, fill byte) ipPacket {
	return ipPacket{
		src: netip.MustParseAddr("192.0.2.1"), dst: netip.MustParseAddr("192.0.2.2"), proto: protoESP, id: 7,
		offset: offset, more: more, payload: bytes.Repeat([]byte{fill}, n),
	}
}

func TestFragmentsThatMakeNoDatagram(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []ipPacket
		want reassemblyStats
	}{
		{"overlap behind", []ipPacket{frag(0, 16, true, 1), frag(8, 8, true, 2), frag(16, 8, false, 1)}, reassemblyStats{Overlap: 1}},
		{"overlap before", []ipPacket{frag(8, 16, true, 1), frag(0, 16, true, 1), frag(24, 8, false, 1)}, reassemblyStats{Overlap: 1}},
		{"the same place, other octets", []ipPacket{frag(0, 8, true, 1), frag(0, 8, true, 2), frag(8, 8, false, 1)}, reassemblyStats{Overlap: 1}},
		{"two ends", []ipPacket{frag(16, 8, false, 1), frag(24, 8, false, 1), frag(0, 16, true, 1)}, reassemblyStats{Overlap: 1}},
		{"behind the end", []ipPacket{frag(8, 8, false, 1), frag(16, 8, true, 1), frag(0, 8, true, 1)}, reassemblyStats{Overlap: 1}},
		{"the end before others", []ipPacket{frag(16, 8, true, 1), frag(8, 8, false, 1), frag(0, 8, true, 1)}, reassemblyStats{Overlap: 1}},
		{"no multiple of 8", []ipPacket{frag(0, 9, true, 1)}, reassemblyStats{Malformed: 1}},
		{"empty", []ipPacket{frag(8, 0, false, 1)}, reassemblyStats{Malformed: 1}},
		{"beyond 64 KiB", []ipPacket{frag(65528, 8, false, 1)}, reassemblyStats{Malformed: 1}},
	} {
		var (
			r    reassembler
			lost uint64
		)
		for _, p := range c.in {
			got, whole, n := r.add(p, time.Now())
			if lost += n; whole {
				t.Errorf("%s: makes %x", c.name, got)
			}
		}
		if lost != 1 {
			t.Errorf("%s: %d are said to be lost", c.name, lost)
		}
		if r.stats != c.want {
			t.Errorf("%s: counted as %+v, want %+v", c.name, r.stats, c.want)
		}
	}
}

func TestReassemblyIsBounded(t *testing.T) {
	now := time.Now()
	src := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	t.Run("memory", func(t *testing.T) {
		r := reassembler{Memory: 100_000}
		for i := range 1000 {
			p := frag(0, 1000, true, 1)
			p.src = src(i)
			r.add(p, now)
			if r.memory > r.Memory {
				t.Fatalf("%d octets are kept", r.memory)
			}
		}
		if n := r.stats.Crowded; n < 900 {
			t.Errorf("%d datagrams had to go", n)
		}
	})
	t.Run("one source does not crowd out others", func(t *testing.T) {
		var r reassembler
		first := frag(0, 8, true, 1)
		first.src = src(1)
		r.add(first, now)
		for i := range 10 * maxPerSource {
			p := frag(0, 1000, true, 1)
			p.src, p.id = src(2), uint32(i)
			r.add(p, now)
		}
		if n := r.order.Len(); n != 1+maxPerSource {
			t.Errorf("%d datagrams are in work, want %d", n, 1+maxPerSource)
		}
		first.offset, first.more = 8, false
		if _, whole, _ := r.add(first, now); !whole {
			t.Error("the other source has lost its fragment")
		}
	})
	t.Run("one SA does not crowd out another behind the same NAT", func(t *testing.T) {
		var r reassembler
		first := frag(0, 8, true, 1)
		first.spi = 1
		r.add(first, now)
		for i := range 2 * maxPerSource {
			p := frag(0, 8, true, 1)
			p.spi, p.id = 2, uint32(100+i)
			r.add(p, now)
		}
		first.offset, first.more = 8, false
		if _, whole, _ := r.add(first, now); !whole {
			t.Error("the other SA has lost its fragment")
		}
	})
	t.Run("one that is given up twice is counted once", func(t *testing.T) {
		var r reassembler
		for _, fill := range []byte{1, 2} {
			r.add(frag(0, 8, true, fill), now)
		}
		lost := uint64(0)
		for i := range maxPerSource {
			p := frag(0, 8, true, 1)
			p.id = uint32(100 + i)
			_, _, n := r.add(p, now)
			lost += n
		}
		if r.stats.Overlap != 1 || lost != 0 || r.order.Len() != maxPerSource {
			t.Errorf("%d are said to be lost behind it, %+v", lost, r.stats)
		}
	})
	t.Run("fragments of one datagram", func(t *testing.T) {
		var r reassembler
		for i := range maxFragments + 1 {
			r.add(frag(16*i, 8, true, 1), now)
		}
		if r.stats.Overlap != 1 {
			t.Error("more than the most fragments are kept")
		}
	})
	t.Run("time", func(t *testing.T) {
		var r reassembler
		r.add(frag(0, 8, true, 1), now)
		if _, whole, _ := r.add(frag(8, 8, false, 1), now.Add(reassemblyTimeout)); whole {
			t.Error("put together after the timeout")
		}
		if r.stats.TimedOut != 1 || r.order.Len() != 1 {
			t.Errorf("%+v", r.stats)
		}
	})
}

// Packets longer than the MTU, over a network that loses, repeats and reorders
// fragments: what arrives is whole and came once.
func TestESPLongerThanTheMTU(t *testing.T) {
	conformance.Shows(t, "IP-17")
	for _, f := range families {
		synctest.Test(t, func(t *testing.T) {
			fragments := 0
			n := NewMemory(MemoryConfig{MTU: 1400, Delay: time.Millisecond, Loss: 0.02, Duplicate: 0.1, Reorder: 0.2, Seed: 3, Hook: func(b []byte) bool {
				if p, _ := parseIP(b); p.isFragment() {
					fragments++
				}
				return len(b) <= 1400
			}})
			p, u := setPair(1, f[0], f[1], ipsec.Pairs[2])
			pcscf, phone := newHost(t, Config{Carriers: []Carrier{n.Carrier()}}), newHost(t, Config{Carriers: []Carrier{n.Carrier()}})
			install(t, pcscf, p)
			install(t, phone, u)
			const count = 300
			text := bytes.Repeat([]byte("NOTIFY"), 700)
			for i := range count {
				binary.BigEndian.PutUint32(text, uint32(i))
				if err := pcscf.SendUDP(p.Local.Client(), p.Remote.Server(), text); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			seen := make(map[string]bool)
			for _, got := range phone.got {
				if seen[got] {
					t.Fatal("a datagram came twice")
				}
				seen[got] = true
			}
			for i := range count {
				binary.BigEndian.PutUint32(text, uint32(i))
				delete(seen, fmt.Sprintf("UDP %v->%v %s", p.Local.Client(), p.Remote.Server(), text))
			}
			if len(seen) != 0 {
				t.Errorf("%d datagrams were never sent so", len(seen))
			}
			if got := len(phone.got); got < count*8/10 || got == count {
				t.Errorf("%d of %d arrived; at 2%% loss some must miss, most must not", got, count)
			}
			if fragments < 4*count {
				t.Errorf("%d fragments for %d datagrams", fragments, count)
			}
			if n := phone.Drops()[BadICV]; n != 0 {
				t.Errorf("%d were decrypted that were not whole", n)
			}
		})
	}
}
