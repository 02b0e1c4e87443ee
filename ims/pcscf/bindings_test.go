package pcscf

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// bound makes a binding that registered over proto from source, with its contact at
// that address ("" behind a NAT).
func bound(impi string, proto sip.Proto, source, at string) *binding {
	b := &binding{
		token: newToken(), impi: impi, contact: "sip:" + impi + "@" + at, source: netipAddr(source), stream: new(atomic.Pointer[sip.Flow]),
		flow: sip.Flow{Proto: proto, Role: sip.RoleGm, Local: netipAddr(gmAddr), Remote: netipAddr(source)},
		sets: []set{{identities: []string{"sip:" + impi}, keys: []string{impi}, names: []string{impi}, expires: time.Now().Add(time.Hour)}},
	}
	if at != "" {
		b.at = netipAddr(at)
	}
	return b
}

// Who has the address and port of a connection that has ended is not the phone that
// registered over it, also where the 200 came when it had ended.
func TestEndedConnectionIsNobodys(t *testing.T) {
	bs, now := newBindings(10, func(string) {}), time.Now()
	b := bound("alice", sip.TCP, "198.51.100.1:40000", "")
	b.flow.Conn = 1
	bs.closed(b.flow)
	bs.put(b)
	next := b.flow
	next.Conn = 2
	if got := bs.ofFlow(next, now); got != nil {
		t.Errorf("the next connection from there is %s's", got.impi)
	}
	if got := bs.ofFlow(b.flow, now); got != b {
		t.Error("its own connection is not the phone's")
	}
}

// A phone that takes another's address takes its place; beside it, both stay.
func TestAddressesBelongToOnePhone(t *testing.T) {
	const a, b, c = "198.51.100.1:5060", "198.51.100.1:5061", "198.51.100.1:5062"
	tests := []struct {
		name     string
		old, new *binding
		gone     bool
	}{
		{"the same source", bound("old", sip.TCP, a, ""), bound("new", sip.TCP, a, ""), true},
		{"the same port over another protocol", bound("old", sip.TCP, a, ""), bound("new", sip.UDP, a, ""), false},
		{"the same contact address from elsewhere", bound("old", sip.TCP, b, a), bound("new", sip.TCP, c, a), true},
		{"from where the other is reached", bound("old", sip.TCP, b, a), bound("new", sip.UDP, a, ""), true},
		{"the same contact of the same user", bound("same", sip.UDP, b, a), bound("same", sip.UDP, c, a), true},
		{"beside it", bound("old", sip.UDP, a, a), bound("new", sip.UDP, b, b), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var left []string
			bs := newBindings(10, func(impi string) { left = append(left, impi) })
			now := time.Now()
			if !bs.put(tt.old) || !bs.put(tt.new) {
				t.Fatal("no room")
			}
			check(t, "the old one is gone", bs.ofToken(tt.old.token, now) == nil, tt.gone)
			check(t, "the new one by its flow", bs.ofFlow(tt.new.flow, now) == tt.new, true)
			var want []string
			if tt.gone && tt.old.impi != tt.new.impi {
				want = []string{"old"}
			}
			check(t, "users whose last contact has gone", left, fmt.Sprint(want))
			bs.sweep(now.Add(2 * time.Hour))
			check(t, "left after the end", fmt.Sprint(len(bs.byToken), len(bs.bySource), len(bs.byAt), len(bs.byIMPI)), "0 0 0 0")
		})
	}
}

// A response that comes late must not end what has been registered since.
func TestOnlyWhatIsThereEnds(t *testing.T) {
	now := time.Now()
	bs := newBindings(10, func(string) {})
	old := bound("alice", sip.UDP, "198.51.100.1:5060", "")
	bs.put(old)
	again := *old
	bs.put(&again)
	if bs.end(old, "alice", now) {
		t.Error("the old one is ended")
	}
	if !bs.ofToken(old.token, now).registered(now) {
		t.Error("the new one is ended with it")
	}
	if bs.end(&again, "bob", now) || !bs.end(&again, "alice", now) || bs.ofToken(old.token, now).registered(now) {
		t.Error("the set of that name is not ended")
	}
}

// objectsPerPhone is how many objects of the heap the collector finds for a phone that is
// registered in clear: the binding, its list of strings, their text, and what its stream
// is noted in. It was eleven.
const objectsPerPhone = 4.5

// A phone that is registered is few objects, also when it has registered again.
func TestARegisteredPhoneIsFewObjects(t *testing.T) {
	run(t, func(w *world) {
		w.events.Close() // they are kept
		bind := func(n int) {
			name := fmt.Sprintf("%015d@%s", n, domain)
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 5060)
			req, err := sip.Parse("REGISTER sip:" + domain + " SIP/2.0\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			m, err := sip.Parse(fmt.Sprintf("SIP/2.0 200 OK\r\nService-Route: %s\r\nP-Associated-URI: <sip:%s>, <tel:+%d>\r\n\r\n", route, name, 15550000000+n))
			if err != nil {
				t.Fatal(err)
			}
			r := &registration{
				s: w.p, x: &proxy.Exchange{Req: req, Flow: sip.Flow{Role: sip.RoleGm, Local: w.p.Gm(), Remote: at}},
				impi: name, impu: "sip:" + name, key: "sip:" + name, contact: "sip:" + name[:15] + "@" + at.String(), token: newToken(), agreeing: &inClear,
			}
			r.bind(m, 3600, time.Now())
		}
		objects := func() (n, octets int) {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapObjects), int(m.HeapAlloc)
		}
		const few, many = 1000, 5000
		for n := range few {
			bind(n)
		}
		before, octetsBefore := objects()
		for n := few; n < many; n++ {
			bind(n)
		}
		check := func(when string) {
			t.Helper()
			n, octets := objects()
			each := float64(n-before) / (many - few)
			t.Logf("%.2f objects and %d octets for each phone %s", each, (octets-octetsBefore)/(many-few), when)
			if each > objectsPerPhone {
				t.Errorf("%.2f objects of the heap for each phone %s, want at most %.1f", each, when, objectsPerPhone)
			}
		}
		check("that is registered")
		for n := range many {
			bind(n)
		}
		check("that is registered again")
		if n := w.p.bindings.len(); n != many {
			t.Errorf("%d bindings stand, want %d", n, many)
		}
	}, func(c *Config) { c.MaxBindings = 10000 })
}
