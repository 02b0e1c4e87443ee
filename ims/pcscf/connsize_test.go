package pcscf

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
)

// perConnection is how many octets, of the heap and of stacks, an open connection of a
// phone over its SA set may take at rest: gVisor's endpoint, what the socket and the SIP
// engine have of it, and the expanded keys of the set. It was 20,300 with a goroutine and a
// buffer that waited.
const perConnection = 11000

// A connection of a phone that rests is small, and has no goroutine.
func TestAProtectedConnectionAtRestIsSmall(t *testing.T) {
	network := esp.NewMemory(esp.MemoryConfig{})
	stack := func() *netstack.Stack {
		s, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{network.Carrier()}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	ours := stack()
	h := new(answering)
	core := transport.New(ours, transport.Config{}, h)
	h.core = core
	t.Cleanup(func() { _ = core.Close() })
	gm := ipsec.End{Addr: netip.MustParseAddr("192.0.2.1"), PortC: 5100, PortS: 6100}
	if _, err := core.Listen(transport.Listen{Addr: gm.Server(), UDP: true, TCP: true, Role: sip.RoleProtectedServer}); err != nil {
		t.Fatal(err)
	}
	const first, count = 100, 400
	for n := range first + count {
		if err := ours.Install(connectingSet(gm, n)); err != nil {
			t.Fatal(err)
		}
	}
	connect := func(from, to int) {
		phones := stack()
		for n := from; n < to; n++ {
			is := connectingSet(gm, n)
			is.Local, is.Remote = is.Remote, is.Local
			err := errors.Join(phones.Install(is), exchangeTwice(t, phones, is))
			if err != nil {
				t.Fatalf("phone %d: %v", n, err)
			}
		}
		_ = phones.Close() // of a sudden: we are not told
	}
	held := func() int {
		var m runtime.MemStats
		for range 2 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc + m.StackInuse)
	}
	connect(0, first)
	before, goroutines := held(), runtime.NumGoroutine()
	connect(first, first+count)
	most := goroutines + count/100
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > most && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond) // timers of the phones' end run, on goroutines of their own
	}
	each := (held() - before) / count
	t.Logf("%d octets for each connection", each)
	if each > perConnection {
		t.Errorf("a connection at rest takes %d octets, want at most %d", each, perConnection)
	}
	if g := runtime.NumGoroutine(); g > most {
		t.Errorf("%d goroutines run with %d connections more, and %d before", g, count, goroutines)
	}
	if n := core.Stats().Conns; n != first+count {
		t.Errorf("%d connections stand, want %d", n, first+count)
	}
}

// connectingSet is the P-CSCF's set of phone n.
func connectingSet(gm ipsec.End, n int) *ipsec.Set {
	spi := uint32(1000 + 4*n)
	gm.SPIC, gm.SPIS = spi, spi+1
	return &ipsec.Set{
		ID: ipsec.SetID(n + 1), Pair: ipsec.Pairs[0], Local: gm,
		Remote: ipsec.End{Addr: netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}), PortC: 7000, PortS: 6000, SPIC: spi + 2, SPIS: spi + 3},
		CK:     ipsec.Key([]byte("0123456789abcdef")), IK: ipsec.Key([]byte("fedcba9876543210")),
	}
}

// exchangeTwice dials over a phone's set and has two messages answered, one after the other.
func exchangeTwice(t *testing.T, phones *netstack.Stack, is *ipsec.Set) error {
	c, err := phones.Dial(t.Context(), is.Local.Client(), is.Remote.Server())
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	request := "REGISTER sip:" + domain + " SIP/2.0\r\nCall-ID: " + strings.Repeat("x", 1300) + "\r\nContent-Length: 0\r\n\r\n"
	got := make([]byte, len(answer))
	for range 2 {
		if _, err := io.WriteString(c, request); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got); err != nil {
			return fmt.Errorf("the answer: %w", err)
		}
	}
	return c.SetDeadline(time.Time{}) // whose timers would hold the phone's end
}

const answer = "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"

// answering is a transport.Handler.
type answering struct{ core *transport.Transport }

func (h *answering) Receive(f sip.Flow, _ string) {
	h.core.Send(transport.Outgoing{Flow: f, Data: []byte(answer)})
}
func (*answering) Malformed(sip.Flow, string, error) {}
func (*answering) Closed(sip.Flow)                   {}
