package ipsec

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

var lastSetID atomic.Uint64

// NewSetID returns a number that no set of the process has had.
func NewSetID() SetID { return SetID(lastSetID.Add(1)) }

// SPIs hands out SPIs that no other set of ours has. It may be used from any
// goroutine.
type SPIs struct {
	random io.Reader
	mu     sync.Mutex
	used   map[uint32]struct{}
}

// NewSPIs returns an empty pool.
func NewSPIs() *SPIs { return &SPIs{random: rand.Reader, used: make(map[uint32]struct{})} }

// Take returns two SPIs that cannot be guessed, that no set holds, and that are
// none of those to avoid: the peer's (TS 33.203 7.1). They are below 2^31, for
// phones that read them into signed numbers.
func (p *SPIs) Take(avoid ...uint32) (spiC, spiS uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	take := func() uint32 {
		var b [4]byte
		for {
			_, _ = io.ReadFull(p.random, b[:]) // crypto/rand never fails
			spi := binary.BigEndian.Uint32(b[:]) >> 1
			if _, used := p.used[spi]; used || spi < MinSPI || slices.Contains(avoid, spi) {
				continue
			}
			p.used[spi] = struct{}{}
			return spi
		}
	}
	return take(), take()
}

// Release gives SPIs back.
func (p *SPIs) Release(spis ...uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, spi := range spis {
		delete(p.used, spi)
	}
}

// Len returns how many are taken.
func (p *SPIs) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.used)
}

// Ports gives each set a port_ps and a port_pc of ours, so that our port, the
// phone's address and the phone's port always name one set. It may be used from
// any goroutine.
type Ports struct {
	server, client []uint16

	mu   sync.Mutex
	seed maphash.Seed
	// used has a hash of each tuple, which is long: there are two for each phone. That
	// two are alike costs a phone another port, at worst.
	used map[uint64]SetID
	nat  map[nated]map[SetID]struct{}
	next int // where the search for a port_pc begins
}

// tuple is what a protected packet is told by.
type tuple struct {
	ours   uint16
	theirs netip.AddrPort
}

// nated is a port_ps towards one NAT.
type nated struct {
	portS uint16
	outer netip.Addr
}

// NewPorts makes a pool of the server and the client ports that we listen on.
func NewPorts(server, client []uint16) (*Ports, error) {
	if len(server) == 0 || len(client) == 0 {
		return nil, errors.New("no protected ports: want at least one server and one client port")
	}
	all := slices.Sorted(slices.Values(slices.Concat(server, client)))
	for i, p := range all {
		if p == 0 || i > 0 && p == all[i-1] {
			return nil, fmt.Errorf("protected port %d: want ports above 0, each once, server and client ports apart", p)
		}
	}
	return &Ports{
		server: slices.Clone(server), client: slices.Clone(client),
		seed: maphash.MakeSeed(), used: make(map[uint64]SetID), nat: make(map[nated]map[SetID]struct{}),
	}, nil
}

func (p *Ports) hash(ours uint16, theirs netip.AddrPort) uint64 {
	return maphash.Comparable(p.seed, tuple{ours, theirs})
}

// ErrPorts is that every port of ours is taken towards the ports of a phone.
var ErrPorts = errors.New("no protected port is left towards this phone")

// Take chooses s.Local.PortS and s.Local.PortC, from s.ID, s.Remote and s.Outer.
// held are the sets that the phone still has, the one in use first. port_ps is
// theirs where the phone's new ports allow it, for phones keep a connection and a
// Route to it; behind a NAT it is no other phone's (TS 33.203 M.7.1). port_pc is
// none of theirs: a phone deletes the old set when it comes again.
func (p *Ports) Take(s *Set, held []*Set) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	outer := s.natAddr()
	candidates := make([]uint16, 0, len(held)+len(p.server))
	for _, h := range held {
		if slices.Contains(p.server, h.Local.PortS) {
			candidates = append(candidates, h.Local.PortS)
		}
	}
	portS, portC := uint16(0), uint16(0)
	for _, port := range append(candidates, p.server...) {
		if _, used := p.used[p.hash(port, s.Remote.Client())]; !used && !p.others(nated{port, outer}, held) {
			portS = port
			break
		}
	}
	for i := range p.client {
		port := p.client[(p.next+i)%len(p.client)]
		theirs := slices.ContainsFunc(held, func(h *Set) bool { return h.Local.PortC == port })
		if _, used := p.used[p.hash(port, s.Remote.Server())]; !used && !theirs {
			portC = port
			// On, not back to the first: a connection of the set before may still be
			// in TIME_WAIT.
			p.next = (p.next + i + 1) % len(p.client)
			break
		}
	}
	if portS == 0 || portC == 0 {
		return fmt.Errorf("%w: %v offers port-c %d and port-s %d, we have %d server and %d client ports; configure more",
			ErrPorts, s.Remote.Addr, s.Remote.PortC, s.Remote.PortS, len(p.server), len(p.client))
	}
	s.Local.PortS, s.Local.PortC = portS, portC
	p.used[p.hash(portS, s.Remote.Client())] = s.ID
	p.used[p.hash(portC, s.Remote.Server())] = s.ID
	if outer.IsValid() {
		n := nated{portS, outer}
		if p.nat[n] == nil {
			p.nat[n] = make(map[SetID]struct{})
		}
		p.nat[n][s.ID] = struct{}{}
	}
	return nil
}

// others reports whether another phone behind the same NAT uses the port.
func (p *Ports) others(n nated, held []*Set) bool {
	for id := range p.nat[n] {
		if !slices.ContainsFunc(held, func(h *Set) bool { return h.ID == id }) {
			return true
		}
	}
	return false
}

// InTheWay returns the sets that hold ports which Take could have given to s. There may
// be one among them that does not.
func (p *Ports) InTheWay(s *Set) (ids []SetID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	outer := s.natAddr()
	for _, port := range p.server {
		if id, used := p.used[p.hash(port, s.Remote.Client())]; used {
			ids = append(ids, id)
		}
		for id := range p.nat[nated{port, outer}] {
			ids = append(ids, id)
		}
	}
	for _, port := range p.client {
		if id, used := p.used[p.hash(port, s.Remote.Server())]; used {
			ids = append(ids, id)
		}
	}
	return ids
}

// Release gives the ports of a set back. Done twice, it does nothing.
func (p *Ports) Release(s *Set) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range [...]uint64{p.hash(s.Local.PortS, s.Remote.Client()), p.hash(s.Local.PortC, s.Remote.Server())} {
		if p.used[t] == s.ID {
			delete(p.used, t)
		}
	}
	n := nated{s.Local.PortS, s.natAddr()}
	delete(p.nat[n], s.ID)
	if len(p.nat[n]) == 0 {
		delete(p.nat, n)
	}
}

// Len returns how many sets hold ports.
func (p *Ports) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.used) / 2
}

// natAddr is the address of the NAT that the peer is behind, if it is.
func (s *Set) natAddr() netip.Addr {
	if s.Mode != UDPTunnel {
		return netip.Addr{}
	}
	return s.Outer.Addr()
}
