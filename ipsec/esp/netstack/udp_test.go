package netstack_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
)

// What waits is bounded by the memory that it takes, not by its octets.
func TestWaitingDatagramsAreBounded(t *testing.T) {
	for _, size := range []int{0, 1, 2049, 9000} {
		phone, pcscf, set := sockets(t, ipsec.Pairs[1])
		to := net.UDPAddrFromAddrPort(set.Local.Server())
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range 600 {
			if _, err := phone.WriteTo(make([]byte, size), to); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
			t.Errorf("datagrams of %d octets wait in %d octets", size, grown)
		}
		// Some are there, and then there is room again.
		bufs := make([][]byte, 300)
		for i := range bufs {
			bufs[i] = make([]byte, 16)
		}
		sizes, from := make([]int, len(bufs)), make([]netip.AddrPort, len(bufs))
		n, err := pcscf.ReadBatch(bufs, sizes, from)
		if n < 5 || n == len(bufs) || err != nil {
			t.Errorf("%d datagrams of %d octets have waited, %v", n, size, err)
		}
		if _, err := phone.WriteTo([]byte("SIP"), to); err != nil {
			t.Fatal(err)
		}
		n, err = pcscf.ReadBatch(bufs, sizes, from)
		if n != 1 || err != nil || string(bufs[0][:sizes[0]]) != "SIP" || from[0] != set.Remote.Client() {
			t.Errorf("then %d: %q from %v, %v", n, bufs[0][:min(sizes[0], 16)], from[0], err)
		}
	}
}

// deliverer is what the SIP engine makes use of where a socket has it.
type deliverer interface {
	Deliver(func(data []byte, from netip.AddrPort))
}

func TestDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := esp.NewMemory(esp.MemoryConfig{})
		p, u := sets(1, "192.0.2.1", "192.0.2.2", ipsec.Pairs[0])
		pcscf, phone := pairOf(t, n.Carrier(), n.Carrier(), p, u)
		a, err1 := pcscf.ListenPacket(p.Local.Server())
		b, err2 := phone.ListenPacket(u.Local.Client())
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		send := func(i int) {
			if _, err := b.WriteTo(fmt.Append(nil, i), a.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			send(i)
		}
		synctest.Wait()
		var mu sync.Mutex
		var got []string
		running, wait := 0, make(chan struct{})
		a.(deliverer).Deliver(func(data []byte, from netip.AddrPort) {
			mu.Lock()
			got = append(got, string(data))
			running++
			mu.Unlock()
			if string(data) == "5" {
				<-wait
			}
			mu.Lock()
			running--
			mu.Unlock()
			if from != u.Local.Client() {
				t.Errorf("from %v", from)
			}
		})
		for i := 3; i < 7; i++ {
			send(i)
		}
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- a.Close() }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close did not wait for the call that runs")
		default:
		}
		close(wait)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		mu.Lock()
		atClose := slices.Clone(got)
		mu.Unlock()
		send(7)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"0", "1", "2", "3", "4", "5"}; !slices.Equal(atClose, want) || len(got) != len(atClose) || running != 0 {
			t.Errorf("called with %v, and after Close %v; want %v", atClose, got[len(atClose):], want)
		}
	})
}

func TestSocketsOfAStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := esp.NewMemory(esp.MemoryConfig{})
		s, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{n.Carrier()}})
		if err != nil {
			t.Fatal(err)
		}
		at := netip.MustParseAddrPort("192.0.2.1:6100")
		a, err := s.ListenPacket(at)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []netip.AddrPort{at, {}, netip.MustParseAddrPort("0.0.0.0:6100")} {
			if _, err := s.ListenPacket(bad); err == nil {
				t.Errorf("a second socket, or one without an address, at %v", bad)
			}
		}
		seen := make(map[string]bool)
		for range 100 {
			c, err := s.ListenPacket(netip.AddrPortFrom(at.Addr(), 0))
			if err != nil || seen[c.LocalAddr().String()] {
				t.Fatalf("a free port: %v, %v", c, err)
			}
			seen[c.LocalAddr().String()] = true
		}
		if _, err := a.WriteTo(nil, net.UDPAddrFromAddrPort(at)); !errors.Is(err, esp.ErrNoSA) {
			t.Errorf("sent where no set leads: %v", err)
		}
		_ = a.SetReadDeadline(time.Now().Add(time.Minute))
		if _, _, err := a.ReadFrom(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read until its deadline: %v", err)
		}
		_ = a.SetReadDeadline(time.Time{})
		read := make(chan error)
		go func() {
			_, _, err := a.ReadFrom(nil)
			read <- err
		}()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read while the stack closes: %v", err)
		}
		if _, err := s.ListenPacket(at); !errors.Is(err, net.ErrClosed) {
			t.Errorf("listened on a stack that is closed: %v", err)
		}
		if _, err := s.Listen(at); !errors.Is(err, net.ErrClosed) {
			t.Errorf("listened on a stack that is closed: %v", err)
		}
		if _, err := netstack.New(netstack.Config{MTU: 1380}); err == nil {
			t.Error("an MTU that leaves IPv6 less than 1280 octets")
		}
	})
}
