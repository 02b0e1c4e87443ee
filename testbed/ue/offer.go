package ue

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ipsec"
)

// offer is what a phone offers in Security-Client: fresh SPIs and port_uc, and the
// port_us that it keeps (TS 33.203 7.4, TS 24.229 5.1.1.4.1).
type offer struct {
	end   ipsec.End
	lines []string // the values of Security-Client, one a line
}

// spis counts what phones of this process have offered, from a random start: those
// that share an address and a stack must differ.
var spis = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32())
	return &n
}()

// freshSPIs returns two SPIs in a row, none below least.
func freshSPIs(least uint32) (c, s uint32) {
	least = max(least, ipsec.MinSPI)
	room := (1<<32 - uint64(least)) / 2
	c = least + 2*uint32(uint64(spis.Add(1))%room)
	return c, c + 1
}

// maxPorts is how many ports are tried.
const maxPorts = 64

// newOffer makes an offer and opens its ports, instead of the one that is out.
func (g *guard) newOffer() error {
	g.dropOffer()
	s := &g.phone.profile.Security
	e := ipsec.End{Addr: g.phone.Addr().Addr()}
	e.SPIC, e.SPIS = freshSPIs(s.MinSPI)
	if was := netip.AddrPortFrom(e.Addr, g.portS); s.Ports.FreshServer && g.portS != 0 {
		g.portS = 0
		g.closeUnused(was) // unless a set has it
	}
	var err error
	for range maxPorts {
		if e.PortC, err = g.nextPort(); err != nil {
			continue
		}
		e.PortS = g.portS
		if e.PortS == 0 {
			e.PortS = uint16(int(e.PortC) + s.Ports.Server)
		}
		if err = g.openPorts(e); err != nil {
			continue
		}
		g.portS = e.PortS
		g.offered = &offer{end: e, lines: s.lines(g.phone.cfg.Offer, g.modes(), e)}
		return nil
	}
	return fmt.Errorf("finding free ports to protect at %v from %d on: %w", e.Addr, s.Ports.First, err)
}

// modes are those that the phone offers.
func (g *guard) modes() []ipsec.Mode {
	if g.phone.cfg.NAT {
		return []ipsec.Mode{ipsec.UDPTunnel, ipsec.Transport}
	}
	return []ipsec.Mode{ipsec.Transport}
}

// nextPort returns a port_uc to try.
func (g *guard) nextPort() (uint16, error) {
	p := &g.phone.profile.Security.Ports
	var port uint16
	switch {
	case g.pool != nil:
		port = g.pool[g.ports%len(g.pool)]
	case p.Step > 0:
		port = uint16(p.First + g.ports*p.Step%p.Count)
	default:
		port = uint16(p.First + rand.IntN(p.Count))
	}
	g.ports++
	for _, a := range g.sets() {
		if a.set.Local.PortC == port || a.set.Local.PortS == port {
			return 0, errPort(port)
		}
	}
	if port == g.portS || port == g.phone.Addr().Port() {
		return 0, errPort(port)
	}
	return port, nil
}

// openPorts opens both ports of an end. One that is open stays so.
func (g *guard) openPorts(e ipsec.End) error {
	if err := g.open(e.Server(), sip.RoleProtectedServer); err != nil {
		return err
	}
	if err := g.open(e.Client(), sip.RoleProtectedClient); err != nil {
		g.closeUnused(e.Server())
		return err
	}
	return nil
}

func (g *guard) open(a netip.AddrPort, role sip.Role) error {
	if g.opened[a] {
		return nil
	}
	if a == g.phone.Addr() { // the stack would not know that it is taken
		return errPort(a.Port())
	}
	g.phone.sockets.protect(a)
	l := transport.Listen{Addr: a, UDP: true, TCP: role == sip.RoleProtectedServer, Role: role}
	if _, err := g.phone.core.Listen(l); err != nil {
		g.phone.sockets.unprotect(a)
		return err
	}
	g.opened[a] = true
	return nil
}

// dropOffer takes back an offer that nothing came of.
func (g *guard) dropOffer() {
	if o := g.offered; o != nil {
		g.offered = nil
		g.closeUnused(o.end.Client())
		g.closeUnused(o.end.Server())
	}
}

// closeUnused closes a protected port that neither a set nor the offer has, nor a
// further agreement will.
func (g *guard) closeUnused(a netip.AddrPort) {
	if !g.opened[a] || g.portS == a.Port() && a.Addr() == g.phone.Addr().Addr() {
		return
	}
	if o := g.offered; o != nil && (o.end.Client() == a || o.end.Server() == a) {
		return
	}
	for _, s := range g.sets() {
		if s.set.Local.Client() == a || s.set.Local.Server() == a {
			return
		}
	}
	delete(g.opened, a)
	g.phone.core.Unlisten(a)
	g.phone.sockets.unprotect(a)
}

// closeAll closes every protected port; the phone has no sets.
func (g *guard) closeAll() {
	g.dropOffer()
	g.portS = 0
	for a := range g.opened {
		g.closeUnused(a)
	}
}
