package netstack_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
)

// many is a P-CSCF and phones that share a stack, joined by sockets on loopback.
type many struct {
	pcscf, phones *netstack.Stack
	sets          []*ipsec.Set
	listeners     []net.Listener
	open          []interface{ Close() error }
}

func newMany(t testing.TB) *many {
	t.Helper()
	a, b := udpCarrier(t, "127.0.0.1:0"), udpCarrier(t, "127.0.0.1:0")
	m := new(many)
	var err1, err2 error
	m.pcscf, err1 = netstack.New(netstack.Config{Carriers: []esp.Carrier{a}})
	m.phones, err2 = netstack.New(netstack.Config{Carriers: []esp.Carrier{b}, PeerUDPPort: a.Local().Port()})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *many) Close() {
	for _, c := range m.open {
		_ = c.Close()
	}
	_, _ = m.pcscf.Close(), m.phones.Close()
}

// install adds phones, each with an address of its own.
func (m *many) install(t testing.TB, n int, pair ipsec.Pair) {
	t.Helper()
	for range n {
		i := len(m.sets)
		p, u := sets(ipsec.SetID(i+1), "127.0.0.1", fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255), pair)
		if err := errors.Join(m.pcscf.Install(p), m.phones.Install(u)); err != nil {
			t.Fatal(err)
		}
		m.sets = append(m.sets, p)
	}
}

// sockets opens what each phone has: two UDP sockets and one that listens.
func (m *many) sockets(t testing.TB) {
	t.Helper()
	for _, s := range m.sets {
		uc, err1 := m.phones.ListenPacket(s.Remote.Client())
		us, err2 := m.phones.ListenPacket(s.Remote.Server())
		l, err3 := m.phones.Listen(s.Remote.Server())
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		m.open = append(m.open, uc, us, l)
		m.listeners = append(m.listeners, l)
	}
}

// connect dials from each phone of some.
func (m *many) connect(t testing.TB, some []*ipsec.Set) (phones, pcscf []net.Conn) {
	t.Helper()
	l, err := m.pcscf.Listen(netip.MustParseAddrPort("127.0.0.1:6100"))
	if err != nil {
		t.Fatal(err)
	}
	m.open = append(m.open, l)
	for _, s := range some {
		c := dial(t, m.phones, s.Remote.Client(), s.Local.Server())
		a := accept(t, l)
		if a.RemoteAddr().String() != c.LocalAddr().String() {
			t.Fatalf("accepted %v, dialled from %v", a.RemoteAddr(), c.LocalAddr())
		}
		m.open = append(m.open, c, a)
		phones, pcscf = append(phones, c), append(pcscf, a)
	}
	return phones, pcscf
}

func TestManyAddressesOnOneStack(t *testing.T) {
	m := newMany(t)
	defer m.Close()
	m.install(t, 3000, ipsec.Pairs[1])
	m.sockets(t)
	phones, pcscf := m.connect(t, m.sets[2900:])
	for i := range phones {
		ping(t, phones[i], pcscf[i])
		ping(t, pcscf[i], phones[i])
	}
	// And a call comes in over a connection of its own.
	l := m.listeners[2950]
	c := dial(t, m.pcscf, m.sets[2950].Local.Client(), m.sets[2950].Remote.Server())
	defer c.Close()
	a := accept(t, l)
	defer a.Close()
	ping(t, c, a)
}

// BenchmarkMemory tells what 1000 phones take on both sides together, by what they
// have: their set, their sockets, a TCP connection.
func BenchmarkMemory(b *testing.B) {
	const n = 1000
	heap := func() uint64 {
		var s runtime.MemStats
		for range 2 {
			runtime.GC()
		}
		runtime.ReadMemStats(&s)
		return s.HeapAlloc + s.StackInuse
	}
	for _, pair := range []ipsec.Pair{ipsec.Pairs[0], ipsec.Pairs[2], ipsec.Pairs[6]} {
		b.Run(pair.String(), func(b *testing.B) {
			for b.Loop() {
				m := newMany(b)
				at := []uint64{heap()}
				m.install(b, n, pair)
				at = append(at, heap())
				m.sockets(b)
				at = append(at, heap())
				m.connect(b, m.sets)
				at = append(at, heap())
				for i, what := range []string{"set", "sockets", "connection"} {
					b.ReportMetric(float64(at[i+1]-at[i])/n, what+"-octets/phone")
				}
				m.Close()
			}
		})
	}
}

// BenchmarkDial is a connection made and ended by one phone of several that share a
// stack, each with a connection of its own already: what it costs must not grow with
// the others.
func BenchmarkDial(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprintf("phones=%d", n), func(b *testing.B) {
			m := newMany(b)
			defer m.Close()
			m.install(b, n, ipsec.Pairs[0])
			m.connect(b, m.sets)
			l := m.open[0].(net.Listener)
			s := m.sets[n/2]
			from := netip.AddrPortFrom(s.Remote.Addr, s.Remote.PortC)
			m.open[1+2*(n/2)].Close()
			m.open[2+2*(n/2)].Close()
			for b.Loop() {
				c := dial(b, m.phones, from, s.Local.Server())
				a := accept(b, l)
				ping(b, c, a)
				_, _ = c.Close(), a.Close()
			}
		})
	}
}
