package ue

import (
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport"
)

// way is how a phone and its P-CSCF reach each other at present. It does not change.
type way struct {
	contact netip.AddrPort // where the phone is reached: port_us
	pcscf   netip.AddrPort // what the preloaded Route names: port_ps
	hop     proxy.Hop      // from port_uc to port_ps
	verify  []string       // what Security-Verify repeats
}

// setWay makes a set the way, nil none; verify is what the P-CSCF of a phone in clear
// has listed.
func (p *Phone) setWay(a *association, verify []string) {
	w := &way{contact: p.Addr(), pcscf: *p.pcscf.Load(), verify: verify}
	w.hop = proxy.Hop{Addr: w.pcscf, Proto: p.cfg.Transport, Role: sip.RoleGm}
	if a != nil {
		w.contact, w.pcscf, w.verify = a.set.Local.Server(), a.set.Remote.Server(), a.server
		w.hop = a.hop(p.cfg.Transport)
	}
	p.way.Store(w)
}

// verifyFields repeat a Security-Server (RFC 3329 2.3.1), or something else, if that
// is the phone's fault.
func (p *Phone) verifyFields(server []string) []sip.Field {
	var f []sip.Field
	for _, v := range server {
		if p.faults.Load().WrongVerify {
			if m, err := sip.ParseSecMechanism(v); err == nil {
				m.SPIS ^= 1
				v = m.String()
			}
		}
		f = append(f, sip.Field{ID: sip.HSecurityVerify, Value: v})
	}
	return f
}

// protect gives the phone its stack, and the engine what it must know of it.
func (p *Phone) protect(pc *proxy.Config) error {
	stack, own := p.cfg.Stack, false
	var pool []uint16
	if stack == nil {
		var ports []uint16
		if p.cfg.IPsec == ipsecKernel {
			pool, ports = p.profile.Security.pool(rand.IntN)
		}
		var err error
		if stack, err = p.cfg.ownStack(ports, &p.faults); err != nil {
			return err
		}
		own = true
	}
	p.sockets.stack = stack
	g := newGuard(p, stack, own)
	g.pool = pool
	p.guard = g
	pc.SentBy, pc.ReturnFlow = g.sentBy, g.returnFlow
	pc.Transport.Observer = listener{pc.Transport.Observer, g}
	return nil
}

// unprotect takes the phone's sets out of the stack, when its sockets are closed.
func (p *Phone) unprotect() {
	if p.guard != nil {
		p.guard.close()
	}
}

// listener tells the guard of what comes.
type listener struct {
	transport.Observer
	guard *guard
}

func (l listener) Received(f sip.Flow, raw string) {
	l.Observer.Received(f, raw)
	if f.Role == sip.RoleProtectedServer || f.Role == sip.RoleProtectedClient {
		l.guard.heard(f)
	}
}

// door is where requests come in: a phone with SAs takes none in clear (TS 33.203 7.1).
type door struct{ phone *Phone }

func (d door) Request(x *proxy.Exchange) {
	if d.phone.silent.Load() {
		x.Reply(480, "") // it does not leave
		return
	}
	if x.Flow.Role == sip.RoleGm && d.phone.shut() {
		d.phone.state(x.Req.CallID(), "A "+strings.Clone(x.Req.Method())+" in clear is dropped: the phone has security associations.", "TS 33.203 7.1")
		x.Reply(403, "In Clear") // it does not leave: see shape
		return
	}
	d.phone.agent.Request(x)
}

func (d door) Ack(x *proxy.Exchange) {
	if x.Flow.Role != sip.RoleGm || !d.phone.shut() {
		d.phone.agent.Ack(x)
	}
}

// shut reports whether what comes in clear is dropped.
func (p *Phone) shut() bool { return p.way.Load().hop.Role == sip.RoleProtectedClient }
