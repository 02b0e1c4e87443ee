package netstack_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

// cpu is the processor time that the process has taken.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLoopback sends datagrams of 1000 octets between two stacks over kernel
// sockets on loopback, up to 64 on their way, and tells the processor time of both
// sides together, system calls included.
func BenchmarkLoopback(b *testing.B) {
	for _, pair := range []ipsec.Pair{ipsec.Pairs[0], ipsec.Pairs[2], ipsec.Pairs[6]} {
		b.Run(pair.String(), func(b *testing.B) {
			x, y := udpCarrier(b, "127.0.0.1:0"), udpCarrier(b, "127.0.0.1:0")
			p, u := sets(1, "127.0.0.1", "10.0.0.1", pair)
			u.Outer = x.Local()
			pcscf, phone := pairOf(b, x, y, p, u)
			in, err := pcscf.ListenPacket(p.Local.Server())
			if err != nil {
				b.Fatal(err)
			}
			out, err := phone.ListenPacket(u.Local.Client())
			if err != nil {
				b.Fatal(err)
			}
			window := make(chan struct{}, 64)
			for range cap(window) {
				window <- struct{}{}
			}
			in.(deliverer).Deliver(func([]byte, netip.AddrPort) { window <- struct{}{} })
			message, to := [][]byte{make([]byte, 1000)}, []netip.AddrPort{p.Local.Server()}
			tooLong := time.After(time.Minute)
			take := func() {
				select {
				case <-window:
				case <-tooLong:
					b.Fatalf("a datagram is lost: %v", pcscf.Drops())
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			for range b.N {
				take()
				if _, err := out.(socket).WriteBatch(message, to); err != nil {
					b.Fatal(err)
				}
			}
			for range cap(window) {
				take()
			}
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "cpu-ns/datagram")
		})
	}
}

// BenchmarkStream sends over a TCP connection between two stacks in the same way.
func BenchmarkStream(b *testing.B) {
	for _, pair := range []ipsec.Pair{ipsec.Pairs[0], ipsec.Pairs[2]} {
		b.Run(pair.String(), func(b *testing.B) {
			m := newMany(b)
			defer m.Close()
			m.install(b, 1, pair)
			phones, pcscf := m.connect(b, m.sets)
			_, _ = phones[0].SetDeadline(time.Time{}), pcscf[0].SetDeadline(time.Time{})
			read := make(chan error)
			total := b.N * 1000
			go func() {
				buf := make([]byte, 1<<16)
				for got := 0; got < total; {
					n, err := pcscf[0].Read(buf)
					if got += n; err != nil {
						read <- fmt.Errorf("after %d octets: %w", got, err)
						return
					}
				}
				read <- nil
			}()
			message := make([]byte, 1000)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			for range b.N {
				if _, err := phones[0].Write(message); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-read; err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "cpu-ns/message")
		})
	}
}
