package load

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestMix(t *testing.T) {
	m, err := ParseMix("call=4, message=3,reregister=3,subscribe=0")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	var got [scenarios]float64
	for range 10000 {
		got[m.pick(r)]++
	}
	for i, want := range map[Scenario]float64{Call: 4000, Message: 3000, Reregister: 3000} {
		if math.Abs(got[i]-want) > 200 {
			t.Errorf("%v was picked %g times of 10000, want about %g", i, got[i], want)
		}
	}
	if got[Call]+got[Message]+got[Reregister] != 10000 {
		t.Errorf("picked %v", got)
	}
	if m.String() != "reregister=3,call=4,message=3" {
		t.Errorf("the mix is written %s", m)
	}
	for _, bad := range []string{"", "call=", "call=x", "call=-1", "fax=1", "recover=1", "call=0", "call=NaN"} {
		if m, err := ParseMix(bad); err == nil {
			t.Errorf("%q is read as %v", bad, m)
		}
	}
}

// Each phone has an address of its own, from which it is found.
func TestPhoneAddresses(t *testing.T) {
	first := netip.MustParseAddr("127.16.249.250")
	e := &engine{cfg: Config{Address: first}, phones: make([]phone, 130_000)}
	seen := map[netip.Addr]bool{}
	for i := range e.phones {
		a, ok := phoneAddr(first, i)
		if !ok || seen[a] {
			t.Fatalf("phone %d has address %v", i, a)
		}
		seen[a] = true
		e.phones[i] = phone{index: int32(i), addr: a.As4()}
	}
	for i := range e.phones {
		if p := e.phoneAt(netip.AddrFrom4(e.phones[i].addr)); p != &e.phones[i] {
			t.Fatalf("phone %d is not found at %v", i, e.phones[i].addr)
		}
	}
	for _, nobody := range []string{"127.16.249.249", "127.16.249.251", "127.0.0.1", "128.17.0.1", "::1", "127.20.0.1"} {
		if p := e.phoneAt(netip.MustParseAddr(nobody)); p != nil {
			t.Errorf("phone %d is at %s", p.index, nobody)
		}
	}
	if a, ok := phoneAddr(netip.MustParseAddr("127.255.249.1"), 250); ok {
		t.Errorf("a phone is at %v", a)
	}
}

func TestQueue(t *testing.T) {
	var q queue
	list := make([]phone, 40)
	for i := range list {
		q.push(&list[i])
		if i%3 == 0 && q.pop() == nil {
			t.Fatal("the queue is empty")
		}
	}
	next := 14
	for p := q.pop(); p != nil; p = q.pop() {
		if p != &list[next] {
			t.Fatalf("phone %d does not come in its turn", next)
		}
		next++
	}
	if next != 40 || q.pop() != nil {
		t.Errorf("%d have come", next)
	}
	q.push(&list[0])
	q.push(&list[1])
	if q.take(&list[0]) || !q.take(&list[1]) || q.pop() != &list[0] || q.take(&list[0]) {
		t.Error("who came last cannot be taken out")
	}
}
