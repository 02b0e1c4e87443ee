package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
)

// Protect has the P-CSCF of these configurations demand IPsec from its phones, in
// user space, as ESP in UDP at a free port of its own address: without privileges,
// and without the kernel.
func (c *Configs) Protect() {
	c.P.IPsec.Policy, c.P.IPsec.Backend = "required", "user"
	c.P.IPsec.UDP = netip.AddrPortFrom(c.P.Listen.Gm.Addr(), 0)
	c.S.AKAWithoutIPsec = false
}

// PhoneStack is the IPsec of all phones of a lab: one stack in user space, which
// sends ESP in UDP from a free port of ip to the P-CSCF's.
func PhoneStack(ip netip.Addr, pcscf netip.AddrPort) (*netstack.Stack, error) {
	c, err := esp.ListenUDP(netip.AddrPortFrom(ip, 0))
	if err != nil {
		return nil, fmt.Errorf("opening the phones' ESP in UDP: %w", err)
	}
	k, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{c}, PeerUDPPort: pcscf.Port()})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the phones' IPsec: %w", err), c.Close())
	}
	return k, nil
}
