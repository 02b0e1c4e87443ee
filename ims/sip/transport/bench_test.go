package transport

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// counter is a Handler that lets a benchmark go on for each message.
type counter struct{ arrived chan struct{} }

func (c counter) Receive(sip.Flow, string)          { c.arrived <- struct{}{} }
func (c counter) Malformed(sip.Flow, string, error) {}
func (c counter) Closed(sip.Flow)                   {}

func processCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkLoopback sends messages of about a thousand octets from one
// transport to another over the kernel's loopback. "one" waits for each to
// arrive; "many" keeps up to 128 on their way. "bare" writes UDP straight from
// the caller, past the sending transport. CPU counts both sides.
func BenchmarkLoopback(b *testing.B) {
	msg := []byte(message("bench", 850))
	for _, way := range []struct {
		name  string
		proto sip.Proto
		bare  bool
	}{{"UDP", sip.UDP, false}, {"UDP/bare", sip.UDP, true}, {"TCP", sip.TCP, false}} {
		for _, load := range []struct {
			name     string
			inFlight int
		}{{"one", 1}, {"many", 128}} {
			b.Run(way.name+"/"+load.name, func(b *testing.B) {
				h := counter{make(chan struct{}, 1024)}
				var to netip.AddrPort
				var from *Transport
				for range 2 {
					from = New(Kernel(), Config{}, h)
					defer from.Close()
					a, err := from.Listen(Listen{Addr: netip.MustParseAddrPort("127.0.0.1:0"), UDP: true, TCP: true})
					if err != nil {
						b.Fatal(err)
					}
					if !to.IsValid() {
						to = a
					}
				}
				f, _ := from.Pick(way.proto, sip.RoleCore, to)
				fail := func(err error) { b.Error(err) }
				send := func() { from.Send(Outgoing{Flow: f, Data: msg, Fail: fail}) }
				if way.bare {
					pc, err := net.ListenUDP("udp4", nil)
					if err != nil {
						b.Fatal(err)
					}
					defer pc.Close()
					send = func() {
						if _, err := pc.WriteToUDPAddrPort(msg, to); err != nil {
							b.Error(err)
						}
					}
				}
				send() // dials
				<-h.arrived
				b.ReportAllocs()
				b.ResetTimer()
				cpu := processCPU()
				flying := 0
				for range b.N {
					send()
					if flying++; flying == load.inFlight {
						<-h.arrived
						flying--
					}
				}
				for range flying {
					<-h.arrived
				}
				b.ReportMetric(float64(processCPU()-cpu)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// BenchmarkStream frames messages without any socket.
func BenchmarkStream(b *testing.B) {
	msg := message("bench", 850)
	var s stream
	b.ReportAllocs()
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		s.fed(copy(s.space(), msg))
		if raw, _, err := s.next(); raw == "" || err != nil {
			b.Fatal(err)
		}
	}
}
