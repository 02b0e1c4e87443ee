package lab

import (
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/ims/icscf"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/pcscf"
	"github.com/gocscf/gocscf/ims/scscf"
	"github.com/gocscf/gocscf/testbed/hss"
)

// Addresses are where the services of a lab listen.
type Addresses struct {
	HSS netip.AddrPort // Diameter over TCP
	Gm  netip.AddrPort // P-CSCF towards phones
	Mw  netip.AddrPort // P-CSCF towards the core
	I   netip.AddrPort
	S   netip.AddrPort
}

// labDrain is how long the lab's services wait for open transactions when they
// stop: nobody else depends on them.
const labDrain = node.Duration(200 * time.Millisecond)

// NewConfigs writes the configurations of a core whose parts know each other, and
// whose phones are known by address and port alone; Configs.Protect gives it IPsec.
func NewConfigs(domain string, at Addresses) Configs {
	c := Configs{HSS: hss.DefaultConfig(), P: pcscf.DefaultConfig(), I: icscf.DefaultConfig(), S: scscf.DefaultConfig()}
	peers := []node.DiameterPeer{{Address: at.HSS.String()}}

	c.HSS.Domain, c.HSS.Listen, c.HSS.Drain = domain, at.HSS.String(), labDrain

	c.P.Domain, c.P.Drain = domain, labDrain
	c.P.Listen = pcscf.Listen{Gm: at.Gm, Mw: at.Mw}
	c.P.ICSCF = pcscf.Addresses{at.I}
	c.P.IPsec.Policy = "none"

	c.I.Domain, c.I.Listen, c.I.Drain = domain, at.I, labDrain
	c.I.SCSCFs = []icscf.SCSCF{{Name: "sip:" + at.S.String()}}
	c.I.Diameter.Peers = peers

	c.S.Domain, c.S.Listen, c.S.ICSCF, c.S.Drain = domain, at.S, at.I, labDrain
	c.S.AKAWithoutIPsec = true
	c.S.Diameter.Peers = peers
	return c
}
