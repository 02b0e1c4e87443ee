package lab

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
)

// radioMTU is that of a bearer within a tunnel of the mobile network.
const radioMTU = 1400

// radio is the IP network between a P-CSCF and its phones, in memory, with an MTU:
// what is longer travels in fragments, which loopback never makes.
type radio struct {
	mem *esp.Memory

	mu        sync.Mutex
	fragments map[netip.Addr]int // of ESP, by where they go to
	longest   int
}

// newRadio is nil where loopback has one address only: hosts of the network must have
// their own.
func newRadio() *radio {
	if runtime.GOOS != "linux" {
		return nil
	}
	r := &radio{fragments: map[netip.Addr]int{}}
	r.mem = esp.NewMemory(esp.MemoryConfig{MTU: radioMTU, Hook: r.see})
	return r
}

func (r *radio) stack() (*netstack.Stack, error) {
	return netstack.New(netstack.Config{Carriers: []esp.Carrier{r.mem.Carrier()}, MTU: radioMTU})
}

// see counts what travels. An IPv4 header has the protocol at 9, and at 6 the flag
// of further fragments with the offset of this one.
func (r *radio) see(packet []byte) bool {
	const espProtocol, more, offset = 50, 0x2000, 0x1fff
	r.mu.Lock()
	defer r.mu.Unlock()
	r.longest = max(r.longest, len(packet))
	if packet[9] == espProtocol && binary.BigEndian.Uint16(packet[6:])&(more|offset) != 0 {
		r.fragments[netip.AddrFrom4([4]byte(packet[16:20]))]++
	}
	return true
}

// fragmented wants ESP to have come to an address in fragments, within the MTU.
func (r *radio) fragmented(t *testing.T, to netip.Addr) {
	t.Helper()
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fragments[to] < 2 || r.longest > radioMTU {
		t.Errorf("%d fragments of ESP came to %v, the longest packet had %d octets", r.fragments[to], to, r.longest)
	}
}
