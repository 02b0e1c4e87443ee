package esp

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// perSet is how many octets of the heap a phone's set at rest may take in an engine, all
// its associations and what finds them. It was 2817 while each had its ciphers.
const perSet = 900

// The sets of phones that have registered and rest are small, whatever their algorithms.
func TestSetsAtRestAreSmall(t *testing.T) {
	out := new(sink)
	e, phones := NewEngine(Config{}, quiet{}), NewEngine(Config{Carriers: []Carrier{out}}, quiet{})
	t.Cleanup(func() { _, _ = e.Close(), phones.Close() })
	n := 0
	add := func(count int) {
		for range count {
			n++
			p, u := setPair(ipsec.SetID(n), "192.0.2.1", netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}).String(), ipsec.Pairs[n%len(ipsec.Pairs)])
			p.Hard = time.Now().Add(time.Hour)
			if err := phones.Install(u); err != nil {
				t.Fatal(err)
			}
			if err := e.Install(p); err != nil {
				t.Fatal(err)
			}
			for range 4 { // a registration's
				if err := phones.SendUDP(u.Local.Client(), u.Remote.Server(), []byte("SIP")); err != nil {
					t.Fatal(err)
				}
				e.receive(out, out.packet, ap("192.0.2.2:4500"), netip.AddrPort{})
				if err := e.SendUDP(p.Local.Server(), p.Remote.Client(), []byte("SIP")); err != nil {
					t.Fatal(err)
				}
			}
			if err := phones.Remove(u.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	add(2 * maxWarm) // more have expanded keys from here on
	before := heap()
	const count = 8000
	add(count)
	each := (heap() - before) / count
	t.Logf("%d octets for each set", each)
	if each > perSet {
		t.Errorf("a set at rest takes %d octets of the heap, want at most %d", each, perSet)
	}
	if s, _ := e.Stats(ipsec.SetID(n)); s.In[ipsec.AtServer].Packets != 4 {
		t.Errorf("%d packets were received, want 4", s.In[ipsec.AtServer].Packets)
	}
}
