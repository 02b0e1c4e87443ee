package pcscf

import (
	"net/netip"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec"
)

// engine makes the SIP engine keep to the ports of SA sets.
func (c *security) engine(pc *proxy.Config) {
	if c == nil {
		return
	}
	open := pc.Net
	if open == nil {
		open = transport.Kernel()
	}
	if c.stack.watched {
		c.watch(open)
	}
	pc.Net = newGmNet(open, c.stack.Net, c.s.cfg.Listen.Gm.Addr(), c.cfg.ServerPorts, c.cfg.ClientPorts)
	pc.SentBy = c.sentBy
	pc.ReturnFlow = c.returnFlow
	pc.Transport.Admit = c.admit
	pc.Transport.Observer = flowObserver{c, pc.Transport.Observer}
}

// sentBy is what Via and Record-Route show on a flow: port_ps, also for what leaves
// from port_pc (TS 33.203 7.1).
func (c *security) sentBy(f sip.Flow) string {
	if a := c.of(f); a != nil {
		return a.Local.Server().String()
	}
	return ""
}

// returnFlow is where the response to a datagram goes that came to port_ps: from
// port_pc to the Via's port, which is port_us; whatever rport says. So does what is
// owed to a phone whose connection has ended.
func (c *security) returnFlow(f sip.Flow, port uint16) (sip.Flow, bool) {
	if f.Role != sip.RoleProtectedServer && f.Role != sip.RoleProtectedClient {
		return sip.Flow{}, false
	}
	a := c.of(f)
	if a == nil {
		return sip.Flow{}, true // its set is gone: nothing carries it
	}
	if !f.Proto.Stream() && (f.Role == sip.RoleProtectedClient || a.toClient || port == a.Remote.PortC) {
		return f, true
	}
	return sip.Flow{Proto: f.Proto, Role: sip.RoleProtectedClient, Local: a.Local.Client(), Remote: a.Remote.Server()}, true
}

// flowObserver learns from what comes over an SA set, and passes on what it sees.
type flowObserver struct {
	c *security
	transport.Observer
}

// Received notes the phone's open connection; and that a response has come over a
// set which was waiting for something new. Requests may be retransmissions: of
// those the handler tells.
func (o flowObserver) Received(f sip.Flow, raw string) {
	if a := o.c.of(f); a != nil {
		if f.Proto.Stream() && f.Role == sip.RoleProtectedServer {
			if open := a.stream.Load(); open == nil || open.Conn != f.Conn {
				opened := f // only a new connection is worth an allocation
				a.stream.Store(&opened)
			}
		}
		if len(raw) > 4 && raw[:4] == "SIP/" {
			o.c.received(a)
		}
	}
	o.Observer.Received(f, raw)
}

// closedStream is the end of a connection.
func (c *security) closedStream(f sip.Flow) {
	if a := c.of(f); a != nil {
		if open := a.stream.Load(); open != nil && *open == f {
			a.stream.CompareAndSwap(open, nil)
		}
	}
}

// inClear counts and explains what came in clear to a protected port.
func (c *security) inClear(proto sip.Proto, local, remote netip.AddrPort) {
	c.metric.clear.WithLabelValues("protected_port").Inc()
	c.facts.inClear(remote.Addr(), true)
	c.s.verdicts.Limited().Warn(c.s.deps.Log, "clear_to_protected_port", "a message in clear to a protected port was dropped: the phone sends it outside of its SAs, or has lost them",
		zap.Stringer("proto", proto), zap.Stringer("from", remote), zap.Uint16("port", local.Port()))
}

// unanswered counts a request to a phone that got no response.
func (c *security) unanswered(k phoneKey) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if p := c.phones.of(k); p != nil {
		p.unanswered.Add(1)
	}
}

// told writes what happens to a set into the log and the trace: the set, with words
// before and after it. Where nobody reads them they are not put together: the lock
// on all sets is held.
func (c *security) told(a *association, before, after string) {
	if !c.s.deps.Log.Core().Enabled(zap.DebugLevel) && !c.s.deps.Trace.On() {
		return
	}
	text := before + a.String() + after
	c.s.deps.Log.Debug(text, zap.String("impi", a.Owner))
	c.trace(a.Set, text)
}

func (c *security) trace(s *ipsec.Set, text string) {
	if c.s.deps.Trace.On() {
		c.s.deps.Trace.Emit(trace.Event{Kind: trace.SA, IMPI: s.Owner, Local: s.Local.Server().String(), Remote: s.Remote.Server().String(), Text: text, Clause: "TS 33.203 7.4"})
	}
}
