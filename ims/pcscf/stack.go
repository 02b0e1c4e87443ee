package pcscf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/xfrm"
)

// Protection is a back end with the sockets that it protects.
type Protection struct {
	ipsec.Backend
	Net transport.Net
}

// stack is the back end that is used, and what is known of it.
type stack struct {
	Protection
	why string         // why this one
	udp netip.AddrPort // where ESP in UDP is received; zero: nowhere
	// watched has a tripwire at the protected ports of the kernel, which are not
	// those of the stack.
	watched bool
	trip    *tripwire
	// strangers tells how many ESP packets have come from an address for SPIs that
	// nobody has, and the last of these; nil where that is not known.
	strangers func(from netip.Addr) (packets uint64, spi uint32)
	// outer tells where ESP in UDP of a set comes from; nil where it does not.
	outer func(ipsec.SetID) netip.AddrPort
	// kernel is the back end, if it is the kernel's.
	kernel *xfrm.Backend
	seen   xfrm.Drops // what its counters said last
}

func (k *stack) close() {
	if k.trip != nil {
		k.trip.close()
	}
	_ = k.Close()
}

// newStack chooses the back end: what the configuration says, or the kernel where it
// can do all that is asked for.
func (c *security) newStack() (*stack, error) {
	if p := c.s.deps.Protection; p != nil {
		return &stack{Protection: *p, why: "it was given", watched: true, udp: c.cfg.espAddr(c.s.cfg.Listen.Gm)}, nil
	}
	kernel := c.xfrmConfig()
	switch c.cfg.Backend {
	case backendKernel:
		return c.kernelStack(kernel, "the configuration says so")
	case backendUser:
		return c.userStack("the configuration says so")
	}
	if at := kernel.Addrs[0]; at.IsLoopback() {
		return c.userStack(fmt.Sprintf("listen.gm is at %v, and the kernel protects nothing on loopback", at))
	}
	if err := kernel.Probe(); err != nil {
		return c.userStack("the kernel cannot do it: " + err.Error())
	}
	k, err := c.kernelStack(kernel, "the kernel can do it")
	if err != nil {
		return c.userStack("the kernel's does not start: " + err.Error())
	}
	return k, nil
}

func (c *security) xfrmConfig() xfrm.Config {
	limited := c.s.verdicts.Limited()
	udp := c.cfg.espAddr(c.s.cfg.Listen.Gm)
	encap := udp.Port()
	if encap == 0 {
		encap = ipsec.NATPort
	}
	return xfrm.Config{
		Addrs: []netip.Addr{c.s.cfg.Listen.Gm.Addr().Unmap()}, Ports: slices.Concat(c.cfg.ServerPorts, c.cfg.ClientPorts),
		Pairs: c.policy.Pairs, EncapPort: encap,
		Expired: func(id ipsec.SetID, hard bool) {
			if hard {
				c.lost(id)
			} else {
				c.soon(id)
			}
		},
		Mapped: c.mapped,
		Failed: func(err error) {
			limited.Warn(c.s.deps.Log, "xfrm", "the kernel's IPsec: "+err.Error())
		},
	}
}

func (c *security) kernelStack(cfg xfrm.Config, why string) (*stack, error) {
	b, err := xfrm.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("starting the kernel's IPsec: %w", err)
	}
	if n := b.Cleaned(); n > 0 {
		c.s.deps.Log.Info("an earlier run has left IPsec states and policies: removed", zap.Int("count", n))
	}
	net := c.s.deps.Net
	if net == nil {
		net = transport.Kernel()
	}
	seen, _ := b.Drops() // what the host had dropped before is not ours to tell
	return &stack{
		seen:       seen,
		Protection: Protection{b, net}, why: why, kernel: b,
		udp:   netip.AddrPortFrom(cfg.Addrs[0], cfg.EncapPort),
		outer: c.mappedTo,
	}, nil
}

// mapped is told by the kernel where the packets of a set in UDP come from.
func (c *security) mapped(id ipsec.SetID, outer netip.AddrPort) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if a := c.byID[id]; a != nil {
		a.outer.Store(&outer)
	}
}

func (c *security) mappedTo(id ipsec.SetID) (outer netip.AddrPort) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if a := c.byID[id]; a != nil && a.outer.Load() != nil {
		outer = *a.outer.Load()
	}
	return outer
}

// watch opens the tripwire, where the protected ports are not the kernel's own.
func (c *security) watch(open transport.Net) {
	c.stack.trip = newTripwire(open, c.s.cfg.Listen.Gm.Addr(), slices.Concat(c.cfg.ServerPorts, c.cfg.ClientPorts), c.s.deps.Log, c.inClear)
}

// listen opens the protected ports.
func (c *security) listen() error {
	for role, ports := range map[sip.Role]PortList{sip.RoleProtectedServer: c.cfg.ServerPorts, sip.RoleProtectedClient: c.cfg.ClientPorts} {
		for _, p := range ports {
			l := transport.Listen{
				Addr: netip.AddrPortFrom(c.s.cfg.Listen.Gm.Addr(), p), Role: role,
				UDP: true, TCP: role == sip.RoleProtectedServer,
			}
			if _, err := c.s.core.Listen(l); err != nil {
				return fmt.Errorf("opening a protected port: %w", err)
			}
		}
	}
	return nil
}

// newSecurity makes the protection of Gm, nil where there is none.
func newSecurity(s *Server) (*security, error) {
	if !s.cfg.IPsec.required() {
		return nil, nil
	}
	c := &security{
		s: s, cfg: s.cfg.IPsec, timers: ipsec.DefaultTimers(), spis: ipsec.NewSPIs(),
		byFlow: newFlowTable(), byID: map[ipsec.SetID]*association{}, phones: phones{}, crowd: crowd{most: maxUnproven},
	}
	c.ticks = ipsec.NewAlarms(c.tick)
	c.timers.Await = c.cfg.RegAwaitAuth.D()
	pairs, err := c.cfg.pairs()
	if err != nil {
		return nil, fmt.Errorf("ipsec.algorithms: %w", err)
	}
	c.policy = ipsec.Policy{Pairs: pairs, ListChosenOnly: c.cfg.Offer == offerChosen}
	if c.ports, err = ipsec.NewPorts(c.cfg.ServerPorts, c.cfg.ClientPorts); err != nil {
		return nil, fmt.Errorf("ipsec.server_ports and client_ports: %w", err)
	}
	c.measure(s.deps.Metrics)
	if c.stack, err = c.newStack(); err != nil {
		return nil, err
	}
	c.policy.NAT = c.stack.udp.IsValid()
	s.deps.Log.Info("phones are protected with IPsec by the "+c.stack.Name()+" back end: "+c.stack.why,
		zap.Stringer("esp_in_udp", c.stack.udp), zap.Stringer("server_ports", c.cfg.ServerPorts), zap.Stringer("client_ports", c.cfg.ClientPorts))
	return c, nil
}

var errStopping = errors.New("the P-CSCF is stopping")
