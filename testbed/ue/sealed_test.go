package ue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ipsec"
)

// sealed is a Stack for tests in virtual time: instead of ESP it puts a seal before
// each datagram, and at the head of each connection, of the SPI and the keys. What no
// set covers does not leave and what none opens does not come in, as with ESP.
type sealed struct {
	host *memnet.Host

	mu      sync.Mutex
	sets    []*ipsec.Set // the newest last
	stats   map[ipsec.SetID]*ipsec.SetStats
	log     []string // what was installed and removed
	drops   map[string]int
	refuse  error            // of the next Install
	slow    func(*ipsec.Set) // called before a set goes in
	lets    time.Duration    // how long it takes to let a set go
	extends map[ipsec.SetID]time.Time
}

var _ Stack = (*sealed)(nil)

func newSealed(h *memnet.Host) *sealed {
	return &sealed{host: h, stats: map[ipsec.SetID]*ipsec.SetStats{}, drops: map[string]int{}, extends: map[ipsec.SetID]time.Time{}}
}

func (s *sealed) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (*sealed) Name() string { return "user" }

func (s *sealed) Install(set *ipsec.Set) error {
	if s.slow != nil {
		s.slow(set)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuse; err != nil {
		s.refuse = nil
		return err
	}
	if err := set.Check(); err != nil {
		return err
	}
	s.sets = append(s.sets, set)
	s.stats[set.ID] = &ipsec.SetStats{}
	s.log = append(s.log, fmt.Sprintf("+%d,%d %d,%d", set.Local.PortC, set.Local.PortS, set.Remote.PortC, set.Remote.PortS))
	return nil
}

func (s *sealed) Extend(id ipsec.SetID, hard time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extends[id] = hard
	return nil
}

func (s *sealed) Remove(id ipsec.SetID) error {
	time.Sleep(s.lets)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range s.sets {
		if o.ID == id {
			s.sets = append(s.sets[:i:i], s.sets[i+1:]...)
			s.log = append(s.log, fmt.Sprintf("-%d,%d %d,%d", o.Local.PortC, o.Local.PortS, o.Remote.PortC, o.Remote.PortS))
		}
	}
	return nil
}

func (s *sealed) Stats(id ipsec.SetID) (ipsec.SetStats, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.stats[id]; st != nil {
		return *st, true
	}
	return ipsec.SetStats{}, false
}

func (s *sealed) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sets = nil
	return nil
}

const sealLen = 12

func seal(sa ipsec.SA, set *ipsec.Set) []byte {
	m := set.Material()
	sum := sha256.Sum256(append(append([]byte(set.Pair.String()), m.Integrity...), m.Encryption...))
	return append(binary.BigEndian.AppendUint32(nil, sa.SPI), sum[:8]...)
}

var errNoSA = errors.New("no security association")

// close seals what leaves.
func (s *sealed) outgoing(local, remote netip.AddrPort) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.sets) - 1; i >= 0; i-- {
		for k, sa := range s.sets[i].Out() {
			if sa.Src == local && sa.Dst == remote {
				s.stats[s.sets[i].ID].Out[k].Packets++
				return seal(sa, s.sets[i]), nil
			}
		}
	}
	s.drops[fmt.Sprintf("out %v->%v", local, remote)]++
	return nil, errNoSA
}

// open reports whether what comes has a seal of ours.
func (s *sealed) open(head []byte, local, remote netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(head) < sealLen {
		s.drops["clear"]++
		return false
	}
	spi := binary.BigEndian.Uint32(head)
	for _, set := range s.sets {
		for k, sa := range set.In() {
			switch {
			case sa.SPI != spi:
			case !bytes.Equal(head[:sealLen], seal(sa, set)):
				s.drops["keys"]++
				return false
			case sa.Src != remote || sa.Dst != local:
				s.drops["selector"]++
				return false
			default:
				s.stats[set.ID].In[k].Packets++
				return true
			}
		}
	}
	s.drops["unknown SPI"]++
	return false
}

func (s *sealed) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	pc, err := s.host.ListenPacket(local)
	if err != nil {
		return nil, err
	}
	return sealedPackets{pc, s, local}, nil
}

type sealedPackets struct {
	net.PacketConn
	s     *sealed
	local netip.AddrPort
}

func (p sealedPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	head, err := p.s.outgoing(p.local, to.(*net.UDPAddr).AddrPort())
	if err != nil {
		return 0, err
	}
	if _, err := p.PacketConn.WriteTo(append(head, b...), to); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (p sealedPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := p.PacketConn.ReadFrom(buf)
		if err != nil {
			return 0, nil, err
		}
		if p.s.open(buf[:n], p.local, from.(*net.UDPAddr).AddrPort()) {
			return copy(b, buf[sealLen:n]), from, nil
		}
	}
}

func (s *sealed) Listen(local netip.AddrPort) (net.Listener, error) {
	l, err := s.host.Listen(local)
	if err != nil {
		return nil, err
	}
	return sealedListener{l, s}, nil
}

type sealedListener struct {
	net.Listener
	s *sealed
}

func (l sealedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		head := make([]byte, sealLen)
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, err = io.ReadFull(c, head)
		if err == nil && l.s.open(head, c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()) {
			_ = c.SetReadDeadline(time.Time{})
			return c, nil
		}
		_ = c.Close()
	}
}

func (s *sealed) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	head, err := s.outgoing(local, remote)
	if err != nil {
		return nil, err
	}
	c, err := s.host.Dial(ctx, local, remote)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(head); err != nil {
		return nil, err
	}
	return c, nil
}

var _ transport.Net = (*sealed)(nil)
