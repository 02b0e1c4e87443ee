package ue

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/ipsec/xfrm"
)

// natKeepAlive is how often a phone behind a NAT holds its binding (RFC 3948 4).
const natKeepAlive = 20 * time.Second

// ownStack makes the stack of a phone that has its own. ports are all that it will
// ever protect.
func (c *Config) ownStack(ports []uint16, faults *atomic.Pointer[Faults]) (Stack, error) {
	if c.IPsec == ipsecKernel {
		return c.kernelStack(ports)
	}
	carriers, err := c.carriers()
	if err != nil {
		return nil, err
	}
	for i := range carriers {
		carriers[i] = replayer{carriers[i], faults}
	}
	s, err := netstack.New(netstack.Config{Carriers: carriers, KeepAlive: natKeepAlive})
	if err != nil {
		for _, carrier := range carriers {
			_ = carrier.Close()
		}
		return nil, err
	}
	return s, nil
}

// carriers are ESP in UDP from any port, and ESP in IP where it is not said that it
// is to be UDP and the phone may.
func (c *Config) carriers() ([]esp.Carrier, error) {
	udp, err := esp.ListenUDP(netip.AddrPortFrom(c.Local, 0))
	if err != nil {
		return nil, err
	}
	if c.PCSCF.Addr().IsLoopback() && !c.ESPUDP.IsValid() {
		c.ESPUDP = netip.AddrPortFrom(c.PCSCF.Addr(), ipsec.NATPort)
	}
	if c.ESPUDP.IsValid() {
		return []esp.Carrier{udp}, nil
	}
	raw, err := esp.ListenRaw(c.Local)
	if err != nil { // not allowed, or not on this system: UDP it is
		return []esp.Carrier{udp}, nil
	}
	return []esp.Carrier{raw, udp}, nil
}

// kernelStack is the kernel's, with its sockets.
func (c *Config) kernelStack(ports []uint16) (Stack, error) {
	var encap uint16
	if c.ESPUDP.IsValid() {
		encap = ipsec.NATPort
	}
	b, err := xfrm.New(xfrm.Config{Addrs: []netip.Addr{c.Local}, Ports: ports, Pairs: c.Offer, EncapPort: encap})
	if err != nil {
		return nil, err
	}
	return kernel{b, transport.Kernel()}, nil
}

// kernel is the kernel as a Stack.
type kernel struct {
	*xfrm.Backend
	transport.Net
}

// replayer sends packets twice, when that is the phone's fault.
type replayer struct {
	esp.Carrier
	faults *atomic.Pointer[Faults]
}

func (r replayer) Send(packet []byte, src netip.Addr, dst netip.AddrPort) error {
	err := r.Carrier.Send(packet, src, dst)
	if r.faults.Load().Replay {
		return errors.Join(err, r.Carrier.Send(packet, src, dst))
	}
	return err
}

// replays reports whether the phone can send ESP packets twice.
func (p *Phone) replays() bool { return p.guard != nil && p.guard.own && p.cfg.IPsec != ipsecKernel }

// fewPorts is how many port_uc a phone has in the kernel, where each takes policies:
// those of three sets, and what others on this host have already.
const fewPorts = 12

// pool gives the port_uc that a phone takes in turn, and with its port_us all that it
// may protect.
func (s *Security) pool(random func(n int) int) (clients, all []uint16) {
	p := &s.Ports
	seen := map[int]bool{}
	for i := 0; len(clients) < min(fewPorts, p.Count/max(p.Step, 1)); i++ {
		port := p.First + i*p.Step
		if p.Step == 0 {
			port = p.First + random(p.Count)
		}
		if seen[port] {
			continue
		}
		seen[port] = true
		clients = append(clients, uint16(port))
		for _, a := range []int{port, port + p.Server} {
			all = append(all, uint16(a))
		}
	}
	return clients, all
}

// errPort is a port that the phone has already.
type errPort uint16

func (e errPort) Error() string { return fmt.Sprintf("port %d is in use", uint16(e)) }
