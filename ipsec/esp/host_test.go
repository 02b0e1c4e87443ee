package esp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gocscf/gocscf/ipsec"
)

// host is an engine with what it has received and told.
type host struct {
	*Engine
	mu    sync.Mutex
	got   []string
	told  []string
	fails error // what the Upper answers
}

func newHost(t testing.TB, cfg Config) *host {
	h := new(host)
	cfg.Observer = h
	h.Engine = NewEngine(cfg, h)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func (h *host) note(list *[]string, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*list = append(*list, fmt.Sprintf(format, args...))
}

func (h *host) ReceiveUDP(local, remote netip.AddrPort, payload []byte) error {
	h.note(&h.got, "UDP %v->%v %s", remote, local, payload)
	return h.fails
}

func (h *host) ReceiveTCP(local, remote netip.AddrPort, segment []byte) error {
	h.note(&h.got, "TCP %v->%v %s", remote, local, segment[4:])
	return h.fails
}

func (h *host) Removed(local, remote netip.AddrPort) {
	h.note(&h.told, "removed %v->%v", remote, local)
}
func (h *host) FirstPacket(s *ipsec.Set, by Path) {
	h.note(&h.told, "first of %d by %v %v", s.ID, by.Carrier.Kind(), by.Outer)
}
func (h *host) PathChanged(s *ipsec.Set, _, to Path) {
	h.note(&h.told, "%d now by %v %v", s.ID, to.Carrier.Kind(), to.Outer)
}
func (h *host) Expired(s *ipsec.Set) { h.note(&h.told, "expired %d", s.ID) }
func (h *host) Dropped(d Drop)       { h.note(&h.told, "dropped %v of %v spi %d", d.Reason, d.Outer, d.SPI) }

// expect waits until nothing moves, and takes what was received and told.
func (h *host) expect(t *testing.T, got, told []string) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.got, got) {
		t.Errorf("received\n%s\nwant\n%s", strings.Join(h.got, "\n"), strings.Join(got, "\n"))
	}
	if told != nil && !slices.Equal(h.told, told) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(h.told, "\n"), strings.Join(told, "\n"))
	}
	h.got, h.told = nil, nil
}

// setPair returns a set as the P-CSCF and as the phone see it: ports 5100, 6100 and
// 6301, 6300, SPIs from 100·id on.
func setPair(id ipsec.SetID, pcscf, phone string, pair ipsec.Pair) (*ipsec.Set, *ipsec.Set) {
	base := 1000 * uint32(id)
	p := &ipsec.Set{
		ID: id, Pair: pair,
		Local:  ipsec.End{Addr: netip.MustParseAddr(pcscf), PortC: 5100, PortS: 6100, SPIC: base, SPIS: base + 1},
		Remote: ipsec.End{Addr: netip.MustParseAddr(phone), PortC: 6301, PortS: 6300, SPIC: base + 2, SPIS: base + 3},
		CK:     ipsec.Key([]byte("0123456789abcdef")), IK: ipsec.Key([]byte("fedcba9876543210")),
	}
	u := *p
	u.Local, u.Remote = p.Remote, p.Local
	return p, &u
}

func install(t testing.TB, h *host, s *ipsec.Set) {
	t.Helper()
	if err := h.Install(s); err != nil {
		t.Fatal(err)
	}
}

// segment is a TCP segment as far as ESP looks into it.
func segment(from, to netip.AddrPort, text string) []byte {
	b := binary.BigEndian.AppendUint16(nil, from.Port())
	return append(binary.BigEndian.AppendUint16(b, to.Port()), text...)
}
