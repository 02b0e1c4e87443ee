package ue

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec"
)

const (
	// authWait is how long a set waits for the 200: reg-await-auth (TS 24.229 7.8).
	authWait = 4 * time.Minute
	// afterExpiry is how much longer than the registration a set lives (TS 33.203 7.4).
	afterExpiry = 30 * time.Second
	// pending is how long an old set stays for what is under way once the network
	// uses the new one: 64·T1 on Gm.
	pending = 128 * time.Second
	// leaving is how long the sets of a registration that has ended stay, for the
	// answer to its last NOTIFY.
	leaving = 4 * time.Second
)

// guard has the phone's SA sets (TS 33.203 7.4; TS 24.229 5.1.1.5.1): one that waits
// for the 200, the current one, and the one before it. It belongs to the shard of
// the registration, but for what says otherwise.
type guard struct {
	phone *Phone
	stack Stack
	own   bool // the stack ends with the phone

	portS   uint16   // port_us, 0 before the first offer
	ports   int      // how many port_uc were tried
	pool    []uint16 // the port_uc to take, nil for all of the profile's
	opened  map[netip.AddrPort]bool
	offered *offer // what the last REGISTER has offered

	temp, current, old *association
	gone               []*association // of a registration that has ended
	coming             ipsec.SetID    // will be temp when the stack has it; 0: nobody waits for one
	queued             chan struct{}  // closed when the stack has done all that it was asked to

	all atomic.Pointer[[]*association] // those above, for any goroutine

	mu        sync.Mutex
	installed map[ipsec.SetID]bool // in the stack, or about to be
}

// association is a set with what the phone knows about it.
type association struct {
	set    *ipsec.Set
	offer  *offer       // of the phone, which its REGISTER repeats
	server []string     // the Security-Server that it comes from
	base   *association // on which the REGISTER went that was challenged; nil: in clear
	hard   time.Time
	timer  transaction.Timer
	unused atomic.Bool // the network has not used it since the 200
}

func newGuard(p *Phone, s Stack, own bool) *guard {
	g := &guard{phone: p, stack: s, own: own, opened: map[netip.AddrPort]bool{}, installed: map[ipsec.SetID]bool{}}
	g.all.Store(&[]*association{})
	return g
}

// sets returns what is there, for any goroutine.
func (g *guard) sets() []*association { return *g.all.Load() }

// publish lets the other goroutines see what has changed.
func (g *guard) publish() {
	var all []*association
	for _, a := range append([]*association{g.temp, g.current, g.old}, g.gone...) {
		if a != nil {
			all = append(all, a)
		}
	}
	g.all.Store(&all)
}

// of returns the set that a flow belongs to, nil if there is none. Any goroutine may
// call it.
func (g *guard) of(f sip.Flow) *association {
	if g == nil {
		return nil
	}
	for _, a := range g.sets() {
		s := a.set
		if f.Local == s.Local.Client() && f.Remote == s.Remote.Server() || f.Local == s.Local.Server() && f.Remote == s.Remote.Client() {
			return a
		}
	}
	return nil
}

// peers reports whether an address is a protected one of the P-CSCF. Any goroutine
// may call it.
func (g *guard) peers(a netip.AddrPort) bool {
	return slices.ContainsFunc(g.sets(), func(s *association) bool { return a == s.set.Remote.Client() || a == s.set.Remote.Server() })
}

// sentBy is what Via shows: port_us, whichever port a request leaves from.
func (g *guard) sentBy(f sip.Flow) string {
	if f.Role == sip.RoleProtectedClient {
		for _, a := range g.sets() {
			if a.set.Local.Client() == f.Local {
				return a.set.Local.Server().String()
			}
		}
	}
	return ""
}

// returnFlow is where an answer goes to what came over f: from port_uc to port_ps
// (TS 33.203 7.1).
func (g *guard) returnFlow(f sip.Flow, port uint16) (sip.Flow, bool) {
	a := g.of(f)
	if a == nil {
		return sip.Flow{}, false
	}
	back := sip.Flow{Proto: f.Proto, Role: sip.RoleProtectedClient, Local: a.set.Local.Client(), Remote: a.set.Remote.Server()}
	switch {
	case f.Proto != sip.UDP:
	case g.phone.faults.Load().ClearResponses:
		back.Role, back.Local = sip.RoleGm, g.phone.Addr()
	case g.phone.profile.AnswerTCP:
		back.Proto = sip.TCP
	}
	if port != 0 && port != a.set.Remote.PortS && f.Proto == sip.UDP {
		// No SA leads there: a real phone answers in clear (what Kamailio's Via of
		// port_pc gets).
		back = sip.Flow{Proto: sip.UDP, Role: sip.RoleGm, Local: g.phone.Addr(), Remote: netip.AddrPortFrom(f.Remote.Addr(), port)}
	}
	return back, true
}

// hop is the way over a set.
func (a *association) hop(p sip.Proto) proxy.Hop {
	return proxy.Hop{Proto: p, Role: sip.RoleProtectedClient, Local: a.set.Local.Client(), Addr: a.set.Remote.Server()}
}

// challenged makes the set of a challenge and puts it in; then is told when it
// stands, on the shard. A set that still waited for its 200 goes; where it was
// answered, and is challenged again, its offer holds.
func (g *guard) challenged(m *sip.Message, keys [2]ipsec.Key, base *association, then func(*association, error)) {
	var server []string
	for v := range m.Values(sip.HSecurityServer) {
		server = append(server, strings.Clone(v))
	}
	got, err := agree(server, g.phone.cfg.Offer, g.modes())
	if err != nil {
		then(nil, err)
		return
	}
	if g.offered == nil && g.temp != nil {
		g.offered = g.temp.offer
	}
	g.forgo()
	s := g.newSet(got, keys)
	if v, verr := m.TopVia(); verr == nil && s.Mode == ipsec.UDPTunnel {
		// Within the tunnel the phone has the address that the network knows it by
		// (TS 24.229 F.2.1.2.2).
		if public, perr := netip.ParseAddr(v.Received); perr == nil && public.Is4() == s.Local.Addr.Is4() {
			s.Local.Addr = public
		}
		if err := g.openPorts(s.Local); err != nil {
			then(nil, err)
			return
		}
	}
	a := &association{set: s, offer: g.offered, server: server, base: base, hard: s.Hard}
	g.coming = s.ID
	g.install(s, func(err error) {
		if err == nil && g.coming != s.ID {
			g.aside(func() error { return g.uninstall(s.ID) }, g.unremoved(s))
			err = errOvertaken
		}
		if err != nil {
			g.closeUnused(s.Local.Client())
			g.closeUnused(s.Local.Server())
			then(nil, fmt.Errorf("putting the %v set of security associations in: %w", g.stack.Name(), err))
			return
		}
		g.temp, g.offered, g.coming = a, nil, 0
		g.publish()
		g.closeUnused(a.offer.end.Client()) // with another address than the set's
		a.timer = g.phone.shard().After(authWait, func() { g.over(a) })
		g.tell(fmt.Sprintf("Security associations stand: %v; the answer to the challenge goes over them.", s), "TS 24.229 5.1.1.5.1")
		then(a, nil)
	})
}

// errOvertaken is a set that nobody waits for any more when it stands.
var errOvertaken = errors.New("the phone has begun anew meanwhile")

// forgo takes back the set that waits for its 200, or is still put in.
func (g *guard) forgo() {
	g.coming = 0
	g.retire(&g.temp)
}

// newSet is the set of an agreement, with the faults that the phone has.
func (g *guard) newSet(got agreed, keys [2]ipsec.Key) *ipsec.Set {
	m := &got.mechanism
	s := &ipsec.Set{
		ID: ipsec.NewSetID(), Local: g.offered.end,
		Remote: ipsec.End{Addr: g.phone.pcscf.Load().Addr(), PortC: m.PortC, PortS: m.PortS, SPIC: m.SPIC, SPIS: m.SPIS},
		Pair:   got.pair, Mode: got.mode, CK: keys[0], IK: keys[1],
		Outer: g.phone.cfg.ESPUDP, Hard: time.Now().Add(authWait), Owner: g.phone.cfg.IMPI,
	}
	switch {
	case s.Outer.Addr() == g.phone.cfg.PCSCF.Addr(): // or that of the alternate in use
		s.Outer = netip.AddrPortFrom(s.Remote.Addr, s.Outer.Port())
	case s.Mode == ipsec.UDPTunnel && !s.Outer.IsValid():
		s.Outer = netip.AddrPortFrom(s.Remote.Addr, ipsec.NATPort)
	}
	faults := g.phone.faults.Load()
	if faults.WrongKeys {
		for i := range s.CK {
			s.CK[i], s.IK[i] = ^s.CK[i], ^s.IK[i]
		}
	}
	if faults.WrongSPI {
		s.Remote.SPIC, s.Remote.SPIS = s.Remote.SPIC^0x5a5a00, s.Remote.SPIS^0x5a5a00
	}
	return s
}

// established takes the 200 to a REGISTER over a set (TS 24.229 5.1.1.5.1). The set
// of a REGISTER that was challenged in clear replaces all others at once; else the
// one before stays, until the network uses the new one and then a little, unless
// it has the same port_pc: nobody could tell the two apart.
func (g *guard) established(a *association, expires time.Duration) {
	if a == g.temp {
		g.temp = nil
		g.retire(&g.old)
		if a.base == nil {
			g.retire(&g.current)
		}
		g.old, g.current = g.current, a
		if g.old != nil && g.old.set.Remote.Client() == a.set.Remote.Client() {
			g.retire(&g.old)
		}
		a.base = nil
		a.unused.Store(g.old != nil)
		g.publish()
	}
	if hard := time.Now().Add(expires + afterExpiry); hard.After(a.hard) {
		a.hard = hard
		id := a.set.ID
		g.aside(func() error { return g.stack.Extend(id, hard) }, func(err error) {
			if err != nil {
				g.phone.failed(g.phone.reg.callID, &Error{Doing: "prolonging " + a.set.String(), Err: err}, "TS 33.203 7.4")
			}
		})
	}
	a.timer.Stop()
	a.timer = g.phone.shard().After(time.Until(a.hard), func() { g.over(a) })
}

// heard is told of each protected message that comes, on any goroutine.
func (g *guard) heard(f sip.Flow) {
	a := g.of(f)
	if a != nil && a.unused.Load() && a.unused.CompareAndSwap(true, false) {
		g.phone.shard().Post(func() {
			if old := g.old; old != nil && g.current == a {
				old.timer.Stop()
				old.timer = g.phone.shard().After(min(pending, time.Until(old.hard)), func() { g.over(old) })
			}
		})
	}
}

// over ends a set whose time is up.
func (g *guard) over(a *association) {
	switch a {
	case g.temp:
		g.retire(&g.temp)
	case g.old:
		g.retire(&g.old)
	case g.current:
		g.retire(&g.current)
		g.phone.reg.unprotected()
	default:
		if i := slices.Index(g.gone, a); i >= 0 {
			g.gone = slices.Delete(g.gone, i, i+1)
			g.remove(a)
		}
	}
}

// retire takes a set out, and nothing follows on it.
func (g *guard) retire(which **association) {
	if a := *which; a != nil {
		*which = nil
		g.remove(a)
	}
}

// leave ends every set with the registration: at once, or when the answers that are
// under way have left.
func (g *guard) leave(atOnce bool) {
	going := []*association{g.temp, g.old, g.current}
	g.temp, g.old, g.current, g.coming = nil, nil, nil, 0
	if atOnce {
		going, g.gone = append(going, g.gone...), nil
		g.dropOffer()
	}
	for _, a := range going {
		switch {
		case a == nil:
		case atOnce:
			g.remove(a)
		default:
			a.timer.Stop()
			g.gone = append(g.gone, a)
			a.timer = g.phone.shard().After(leaving, func() { g.over(a) })
		}
	}
	g.publish()
}

func (g *guard) remove(a *association) {
	a.timer.Stop()
	g.publish()
	s := a.set
	g.phone.core.EndConns(s.Local.Server(), s.Remote.Client())
	g.phone.core.EndConns(s.Local.Client(), netip.AddrPort{})
	g.closeUnused(s.Local.Client())
	g.closeUnused(s.Local.Server())
	g.aside(func() error { return g.uninstall(s.ID) }, g.unremoved(s))
	g.tell(fmt.Sprintf("Security associations are gone: %v.", s), "TS 33.203 7.4")
}

// tell tells the trace what became of a set.
func (g *guard) tell(text, clause string) {
	p := g.phone
	if p.cfg.Trace.On() {
		p.cfg.Trace.Emit(trace.Event{Kind: trace.SA, CallID: p.reg.callID, IMPI: p.cfg.IMPI, Text: text, Clause: clause})
	}
}
