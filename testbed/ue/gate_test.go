package ue

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
	"github.com/gocscf/gocscf/ipsec"
)

// gate is the scripted P-CSCF's IPsec: it takes the first offer of its own list, sets
// the associations up and keeps every one. It is guarded by the network's mutex but
// for sets.
type gate struct {
	back    Stack
	stack   *sealed // back, in virtual time
	sockets *sockets
	opened  sync.Map // net.PacketConn by local address
	core    *proxy.Core
	addr    netip.Addr

	pairs   []ipsec.Pair
	server  func(values []string) []string // changes Security-Server
	portS   uint16                         // port_ps
	samePC  bool                           // keeps one port_pc
	nextPC  uint16
	nextSPI uint32

	mu   sync.Mutex
	sets map[netip.AddrPort]*gateSet // by the phone's port_uc
	last map[string]*gateSet         // by user, established
}

type gateSet struct {
	*ipsec.Set
	server []string
	user   string
	up     bool
}

func newGate(back Stack, n transport.Net, addr netip.Addr) *gate {
	g := &gate{
		back: back, addr: addr, portS: gatePS, nextPC: 5100, nextSPI: 4096, pairs: ipsec.Pairs,
		sets: map[netip.AddrPort]*gateSet{}, last: map[string]*gateSet{},
	}
	g.stack, _ = back.(*sealed)
	g.sockets = &sockets{clear: n, stack: remembering{back, &g.opened}}
	return g
}

// remembering remembers the packet sockets that were opened.
type remembering struct {
	Stack
	opened *sync.Map
}

func (r remembering) ListenPacket(a netip.AddrPort) (net.PacketConn, error) {
	pc, err := r.Stack.ListenPacket(a)
	if err == nil {
		r.opened.Store(a, pc)
	}
	return pc, err
}

const gatePS = 6100

func (g *gate) find(f sip.Flow) *gateSet {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.sets {
		if f.Local == s.Local.Server() && f.Remote == s.Remote.Client() || f.Local == s.Local.Client() && f.Remote == s.Remote.Server() {
			return s
		}
	}
	return nil
}

func (g *gate) sentBy(f sip.Flow) string {
	if f.Role == sip.RoleProtectedClient {
		return netip.AddrPortFrom(g.addr, g.portS).String()
	}
	return ""
}

func (g *gate) returnFlow(f sip.Flow, port uint16) (sip.Flow, bool) {
	s := g.find(f)
	if s == nil {
		return sip.Flow{}, false
	}
	return sip.Flow{Proto: f.Proto, Role: sip.RoleProtectedClient, Local: s.Local.Client(), Remote: netip.AddrPortFrom(s.Remote.Addr, port)}, true
}

func (g *gate) listen(port uint16, role sip.Role) {
	a := netip.AddrPortFrom(g.addr, port)
	g.sockets.protect(a)
	if _, err := g.core.Listen(transport.Listen{Addr: a, UDP: true, TCP: role == sip.RoleProtectedServer, Role: role}); err != nil {
		panic(err)
	}
}

// challenge makes the set for a REGISTER that gets a 401, and returns its
// Security-Server.
func (g *gate) challenge(x *proxy.Exchange, user string, v aka.Vector) ([]sip.Field, error) {
	var offers []sip.SecMechanism
	for s := range x.Req.Values(sip.HSecurityClient) {
		m, err := sip.ParseSecMechanism(s)
		if err != nil {
			return nil, err
		}
		offers = append(offers, m)
	}
	for _, p := range g.pairs {
		i := slices.IndexFunc(offers, func(m sip.SecMechanism) bool {
			q, ok := ipsec.ParsePair(m.Alg, m.EAlg)
			return ok && p == q
		})
		if i < 0 {
			continue
		}
		m, mode, outer := offers[i], ipsec.Transport, netip.AddrPort{}
		via, _ := x.Req.TopVia()
		shown, _ := via.HostAddr()
		if base := g.find(x.Flow); shown != x.Flow.Remote.Addr() || base != nil && base.Mode == ipsec.UDPTunnel { // a NAT is between
			i := slices.IndexFunc(offers, func(m sip.SecMechanism) bool { return m.Mode() == ipsec.UDPTunnel.String() })
			if i < 0 {
				return nil, fmt.Errorf("no mode for a phone behind a NAT in %v", offers)
			}
			m, mode, outer = offers[i], ipsec.UDPTunnel, netip.AddrPortFrom(x.Flow.Remote.Addr(), 0)
		}
		s := &gateSet{user: user, Set: &ipsec.Set{
			ID: ipsec.NewSetID(), Pair: p, Owner: user, Mode: mode, Outer: outer,
			Local:  ipsec.End{Addr: g.addr, PortC: g.nextPC, PortS: g.portS, SPIC: g.nextSPI, SPIS: g.nextSPI + 1},
			Remote: ipsec.End{Addr: x.Flow.Remote.Addr(), PortC: m.PortC, PortS: m.PortS, SPIC: m.SPIC, SPIS: m.SPIS},
			CK:     ipsec.Key(v.CK.Bytes()), IK: ipsec.Key(v.IK.Bytes()),
		}}
		g.nextSPI += 2
		if !g.samePC || len(g.sets) == 0 {
			g.listen(s.Local.PortC, sip.RoleProtectedClient)
		}
		if !g.samePC {
			g.nextPC++
		}
		if err := g.back.Install(s.Set); err != nil {
			return nil, err
		}
		s.server = []string{fmt.Sprintf("ipsec-3gpp;q=0.1;alg=%v;ealg=%v;mod=%v;prot=esp;spi-c=%d;spi-s=%d;port-c=%d;port-s=%d",
			p.Alg, p.EAlg, mode, s.Local.SPIC, s.Local.SPIS, s.Local.PortC, s.Local.PortS)}
		g.mu.Lock()
		g.sets[s.Remote.Client()] = s
		g.mu.Unlock()
		out := s.server
		if g.server != nil {
			out = g.server(slices.Clone(out))
		}
		var f []sip.Field
		for _, v := range out {
			f = append(f, sip.Field{ID: sip.HSecurityServer, Value: v})
		}
		return f, nil
	}
	return nil, fmt.Errorf("nothing of %v", offers)
}

// check refuses what a P-CSCF with IPsec does not take; true: it has been answered.
func (g *gate) check(x *proxy.Exchange) bool {
	s := g.find(x.Flow)
	switch {
	case s == nil && x.Req.Method() == "REGISTER":
		if !x.Req.HasOption(sip.HRequire, "sec-agree") || !x.Req.Has(sip.HSecurityClient) {
			x.Reply(421, "", sip.Field{ID: sip.HRequire, Value: "sec-agree"})
			return true
		}
		return false
	case s == nil:
		x.Reply(403, "In Clear")
		return true
	}
	var verify []string
	for v := range x.Req.Values(sip.HSecurityVerify) {
		verify = append(verify, v)
	}
	if x.Req.Method() != "ACK" && !slices.Equal(verify, s.server) {
		x.Reply(494, "", sip.Field{ID: sip.HSecurityServer, Value: strings.Join(s.server, ", ")})
		return true
	}
	return false
}

// granted makes the set of a REGISTER the one to send on.
func (g *gate) granted(f sip.Flow, user string) {
	if s := g.find(f); s != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		s.up = true
		g.last[user] = s
	}
}

// hop is the way to a user's phone.
func (g *gate) hop(user string, p sip.Proto) proxy.Hop {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.last[user]
	return proxy.Hop{Proto: p, Role: sip.RoleProtectedClient, Local: s.Local.Client(), Addr: s.Remote.Server()}
}

// options is an OPTIONS for a phone by UDP, with that port of ours in its Via.
func options(s *gateSet, port uint16) string {
	return fmt.Sprintf("OPTIONS sip:x@%v SIP/2.0\r\nVia: SIP/2.0/UDP %v:%d;branch=z9hG4bKo%d\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\n"+
		"Call-ID: o%d\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", s.Remote.Server(), s.Local.Addr, port, port, port)
}

// count counts the answers to OPTIONS that come to port_ps by TCP, and those that
// leave a phone in clear.
func (w *world) count(tcp, clear *int) func(memnet.Packet) memnet.Verdict {
	var mu sync.Mutex // many goroutines send
	return func(p memnet.Packet) memnet.Verdict {
		mu.Lock()
		defer mu.Unlock()
		switch answer := strings.Contains(string(p.Data), "1 OPTIONS") && strings.Contains(string(p.Data), "SIP/2.0 200"); {
		case answer && p.Kind == memnet.Segment && p.To.Port() == gatePS:
			*tcp++
		case answer && strings.HasPrefix(string(p.Data), "SIP/2.0 200"):
			*clear++
		}
		return memnet.Pass
	}
}

// send sends octets from port_pc to port_us.
func (g *gate) send(s *gateSet, raw string) {
	from, _ := g.opened.Load(s.Local.Client())
	if _, err := from.(net.PacketConn).WriteTo([]byte(raw), net.UDPAddrFromAddrPort(s.Remote.Server())); err != nil {
		panic(err)
	}
}

// forget has the P-CSCF lose everything, as one that is started anew.
func (g *gate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.sets {
		_ = g.back.Remove(s.ID)
	}
	clear(g.sets)
	clear(g.last)
}
