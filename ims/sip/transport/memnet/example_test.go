package memnet_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// printer shows what arrives.
type printer struct {
	begin time.Time
	mu    sync.Mutex
	lines []string
}

func (p *printer) Receive(f sip.Flow, raw string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, fmt.Sprintf("%s %s: %s", time.Since(p.begin), f.Proto, raw[:7]))
}
func (*printer) Malformed(sip.Flow, string, error) {}
func (*printer) Closed(sip.Flow)                   {}

// A test of a protocol: two transports on two hosts, in virtual time, over a
// link that takes 40 ms and whose first datagram is lost.
func TestExample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		n.SetDefault(memnet.Link{Delay: 40 * time.Millisecond})
		lost := false
		n.SetHook(func(p memnet.Packet) memnet.Verdict {
			if p.Kind == memnet.Datagram && !lost {
				lost = true
				return memnet.Drop
			}
			return memnet.Pass
		})

		phone := transport.New(n.Host("192.0.2.1"), transport.Config{}, &printer{})
		defer phone.Close()
		seen := &printer{begin: time.Now()}
		pcscf := transport.New(n.Host("192.0.2.2"), transport.Config{}, seen)
		defer pcscf.Close()
		for addr, tr := range map[string]*transport.Transport{"192.0.2.1:5060": phone, "192.0.2.2:5060": pcscf} {
			if _, err := tr.Listen(transport.Listen{Addr: netip.MustParseAddrPort(addr), UDP: true, TCP: true, Role: sip.RoleGm}); err != nil {
				t.Fatal(err)
			}
		}

		to := netip.MustParseAddrPort("192.0.2.2:5060")
		for range 2 { // the request and its retransmission
			f, _ := phone.Pick(sip.UDP, sip.RoleGm, to)
			phone.Send(transport.Outgoing{Flow: f, Data: []byte("OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n")})
			time.Sleep(2 * time.Second)
		}
		f, _ := phone.Pick(sip.TCP, sip.RoleGm, to)
		phone.Send(transport.Outgoing{Flow: f, Data: []byte("OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n")})
		time.Sleep(time.Second)

		synctest.Wait()
		want := []string{
			"2.04s UDP: OPTIONS", // the second datagram
			"4.12s TCP: OPTIONS", // SYN, its answer, the octets
		}
		if fmt.Sprint(seen.lines) != fmt.Sprint(want) {
			t.Errorf("saw %q, want %q", seen.lines, want)
		}
	})
}
