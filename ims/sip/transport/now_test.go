package transport

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// worker is a NowHandler made of a function.
type worker func(f sip.Flow, raw string, more int)

func (w worker) ReceiveNow(f sip.Flow, raw string, _ time.Duration, more int) { w(f, raw, more) }
func (w worker) Receive(f sip.Flow, raw string)                               { w(f, raw, notNow) }
func (w worker) Malformed(sip.Flow, string, error)                            {}
func (w worker) Closed(sip.Flow)                                              {}

// listenWith opens a UDP socket of the kernel, and one that sends to it.
func listenWith(t *testing.T, n Net, w worker) (*Transport, netip.AddrPort, *net.UDPConn) {
	t.Helper()
	tr := New(n, Config{}, w)
	t.Cleanup(func() { _ = tr.Close() })
	addr, err := tr.Listen(Listen{Addr: netip.MustParseAddrPort("127.0.0.1:0"), UDP: true, Role: sip.RoleCore})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	return tr, addr, c
}

// single hides a socket's own batches.
type single struct{ Net }

func (s single) ListenPacket(a netip.AddrPort) (net.PacketConn, error) {
	pc, err := s.Net.ListenPacket(a)
	return struct{ net.PacketConn }{pc}, err
}

// What a reader's work leads to leaves when there is nothing more to read, however many
// datagrams have come together.
func TestWorkOfReaders(t *testing.T) {
	for name, n := range map[string]Net{"batches": Kernel(), "one by one": single{Kernel()}} {
		t.Run(name, func(t *testing.T) {
			var tr atomic.Pointer[Transport]
			ready := make(chan struct{})
			wrong := make(chan int, 1000)
			our, _, c := listenWith(t, n, func(f sip.Flow, raw string, more int) {
				<-ready
				if more < 0 || more >= readBatch {
					wrong <- more
				}
				tr.Load().Send(Outgoing{Flow: f, Data: []byte(raw)})
			})
			tr.Store(our)
			buf := make([]byte, 2000)
			for round := range 2 * quietReads {
				count := 1 + round%70
				for i := range count {
					if _, err := c.Write([]byte(message("m", i))); err != nil {
						t.Fatal(err)
					}
				}
				if round == 0 {
					close(ready)
				}
				for i := range count {
					if _, err := c.Read(buf); err != nil {
						t.Fatalf("round %d: %d of %d came back: %v", round, i, count, err)
					}
				}
			}
			select {
			case more := <-wrong:
				t.Errorf("%d more were announced", more)
			default:
			}
		})
	}
}

// A handler may close the socket that it is called for.
func TestHandlerClosesItsSocket(t *testing.T) {
	var tr atomic.Pointer[Transport]
	var addr netip.AddrPort
	ready, closed := make(chan struct{}), make(chan bool, 10)
	our, a, c := listenWith(t, Kernel(), func(sip.Flow, string, int) {
		<-ready
		closed <- tr.Load().Unlisten(addr)
	})
	addr = a
	tr.Store(our)
	close(ready)
	if _, err := c.Write([]byte(message("bye", 0))); err != nil {
		t.Fatal(err)
	}
	select {
	case was := <-closed:
		if !was {
			t.Error("nothing was open")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the handler waits for itself")
	}
	if err := our.Close(); err != nil {
		t.Error(err)
	}
}
