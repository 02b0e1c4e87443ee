package esp

import (
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/gocscf/gocscf/ipsec"
)

// setClock is the time at as a process sees it after somebody has set the clock by d, whole
// seconds: the wall clock has jumped, and the monotonic one has not. A [time.Time] that has
// both begins with a word that holds the seconds of the wall clock, above 30 bits of
// nanoseconds.
func setClock(t *testing.T, at time.Time, d time.Duration) time.Time {
	t.Helper()
	set := at
	*(*uint64)(unsafe.Pointer(&set)) += uint64(int64(d/time.Second) << 30)
	if set.Sub(at) != 0 || set.Round(0).Sub(at.Round(0)) != d {
		t.Fatalf("%v and %v are not one moment by two clocks", at, set)
	}
	return set
}

// countCarrier counts what is sent.
type countCarrier struct {
	Carrier
	kind Kind
	sent int
}

func (c *countCarrier) Kind() Kind { return c.kind }
func (c *countCarrier) Local() netip.AddrPort {
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 4500)
}
func (c *countCarrier) Send([]byte, netip.Addr, netip.AddrPort) error { c.sent++; return nil }

// A second of silence is one whatever the clock shows: an hour by which it is set back is
// none in which UDP is not tried, or a NAT's binding is not kept.
func TestTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour} {
		_, u := setPair(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		raw, udp := &countCarrier{kind: IP}, &countCarrier{kind: UDP}
		e := &Engine{began: time.Now()}
		a, err := e.newAssociation(u)
		if err != nil {
			t.Fatal(err)
		}
		e.carriers.Store(&[]Carrier{raw, udp})
		for i, c := range []struct {
			after time.Duration
			set   time.Duration
			udp   int
		}{{0, 0, 0}, {rawPatience / 2, by, 0}, {rawPatience, by, 1}} {
			if err := e.transmit(a, nil, setClock(t, e.began.Add(c.after), c.set)); err != nil {
				t.Fatal(err)
			}
			if raw.sent != i+1 || udp.sent != c.udp {
				t.Errorf("the clock was set by %v, and %v after the first packet %d have gone by IP, %d by UDP, want %d and %d", by, c.after, raw.sent, udp.sent, i+1, c.udp)
			}
		}

		sent := e.began.Add(time.Minute)
		a.out[ipsec.AtClient].good(1, e.since(sent))
		if d := a.silent(setClock(t, sent.Add(10*time.Second), by)); d != 10*time.Second {
			t.Errorf("the clock was set by %v within 10 s in which nothing was sent: %v are left until a keep-alive of 20 s", by, 20*time.Second-d)
		}
		if d := setClock(t, sent.Add(10*time.Second), by).Sub(a.out[ipsec.AtClient].stats(e).Last); d != 10*time.Second {
			t.Errorf("the clock was set by %v: a packet of 10 s ago was %v ago", by, d)
		}
	}
}
