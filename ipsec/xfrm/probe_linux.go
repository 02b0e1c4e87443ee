package xfrm

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

// check reports what cannot be protected.
func (c Config) check() error {
	for _, a := range c.Addrs {
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.Zone() != "" || a.Is4In6():
			return fmt.Errorf("protect %v: IPsec by the kernel needs the exact address", a)
		case a.IsLoopback():
			return fmt.Errorf("protect %v: the kernel applies no IPsec to loopback: set ipsec.backend to user", a)
		}
	}
	return nil
}

// Probe reports why the kernel cannot protect IPv4 by every pair of algorithms, nil
// when it can.
func Probe() error { return Config{}.Probe() }

// Probe reports why the kernel cannot do what c asks for, nil when it can. It adds
// test associations between addresses that nobody has (RFC 5737, RFC 3849), and takes
// them away.
func (c Config) Probe() error {
	if err := c.check(); err != nil {
		return err
	}
	k, err := openSocket()
	if err != nil {
		return socketFault(err)
	}
	defer k.close()
	return c.probe(k)
}

func (c Config) probe(k kernel) error {
	pairs := c.Pairs
	if len(pairs) == 0 {
		pairs = ipsec.Pairs
	}
	families := []bool{}
	for _, a := range c.Addrs {
		if !slices.Contains(families, a.Is4()) {
			families = append(families, a.Is4())
		}
	}
	if len(families) == 0 {
		families = append(families, true)
	}
	for _, v4 := range families {
		for _, p := range pairs {
			if err := probe(k, v4, p, ipsec.Transport); err != nil {
				return err
			}
		}
		if c.EncapPort != 0 {
			if err := probe(k, v4, pairs[0], ipsec.UDPTunnel); err != nil {
				return err
			}
		}
	}
	return nil
}

// probeLife bounds what stays of a probe that is killed half-way.
const probeLife = 10 * time.Second

// probe adds an association and its policy, and takes them away.
func probe(k kernel, v4 bool, p ipsec.Pair, mode ipsec.Mode) error {
	local, remote := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	if v4 {
		local, remote = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	}
	var random [48]byte
	_, _ = rand.Read(random[:]) // never fails
	s := &ipsec.Set{
		// 3 DES keys that are one are refused by some kernels: these are random.
		Pair: p, Mode: mode, CK: ipsec.Key(random[:16]), IK: ipsec.Key(random[16:32]),
		Local: ipsec.End{Addr: local, PortC: 1, PortS: 2}, Remote: ipsec.End{Addr: remote, PortC: 1, PortS: 2},
	}
	s.Local.SPIS = binary.NativeEndian.Uint32(random[32:]) | 1<<31
	now := time.Now()
	in := &installed{set: s, added: now, hard: now.Add(probeLife)}
	var port uint16
	if mode == ipsec.UDPTunnel {
		in.outer, in.from, port = netip.AddrPortFrom(remote, ipsec.NATPort), remote, ipsec.NATPort
	}
	a := in.associations(port)[0]
	doing := fmt.Sprintf("try %v, %v", p, mode)
	if err := k.do(stateAdd(nl.XFRM_MSG_NEWSA, a, s, limits(now, in.hard, true), 0)); err != nil {
		return stateFault(doing, p, v4, err)
	}
	policy := protect(nl.XFRM_MSG_NEWPOLICY, a, now, in.hard)
	err := k.do(policy)
	switch {
	case errors.Is(err, unix.EEXIST): // another probe, at the same time
		err = nil
	case err != nil:
		err = policyFault(doing+" with a policy", err)
	default:
		err = k.do(policyDel(policy))
	}
	return errors.Join(err, k.do(stateDel(a.key())))
}
