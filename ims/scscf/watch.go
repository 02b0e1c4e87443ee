package scscf

import (
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ims/uri"
)

// isRegEvent reports whether x subscribes to a registration and is for us: one that
// a phone sends along our Service-Route for a user who is not registered here is
// left to its originating services, which tell the phone to register anew.
func (s *Server) isRegEvent(x *proxy.Exchange) bool {
	e, err := sip.ParseEvent(x.Req.Get(sip.HEvent))
	if err != nil || !strings.EqualFold(e.Package, reginfo.EventPackage) || x.TopRoute() != "" {
		return false
	}
	_, reg, home := s.watched(x)
	return reg.Registered() || home && x.Route.User == "" && !x.Route.HasParam("orig")
}

// watched finds the registration that a SUBSCRIBE is about, and says whether the
// Request-URI is of our domain.
func (s *Server) watched(x *proxy.Exchange) (impu identity.IMPU, reg *registrar.Registration, home bool) {
	u, err := uri.Parse(x.RequestURI())
	if err != nil || u.IsSIP() && u.User == "" {
		return "", nil, false
	}
	to := identity.NormalizeTarget(u, s.cfg.Domain)
	impu = identity.IMPUOf(u)
	for _, name := range [...]identity.IMPU{impu, to.Identity, to.Identity.SIPForm(s.cfg.Domain)} {
		if reg = s.store.Get(string(name)); reg != nil {
			return name, reg, true
		}
	}
	return impu, nil, to.Home
}

// watch takes a subscription to the reg event (TS 24.229 5.4.2.1.1).
func (s *Server) watch(x *proxy.Exchange) {
	impu, reg, _ := s.watched(x)
	if !reg.Registered() {
		s.nothingToWatch(x, impu)
		return
	}
	who, ioi, ok := s.mayWatch(x.Req, reg)
	if !ok {
		s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "may_not_watch", Clause: "TS 24.229 5.4.2.1.1",
			Text: who + " may not watch the registration of " + string(impu) + ": only the user, the P-CSCF in the Path and application servers may.",
			Next: "Give the watcher a filter criterion of this user, or let the user watch himself."})
		return
	}
	one := newWatcher(x, string(impu), who)
	fields := []sip.Field{{ID: sip.HContact, Value: "<" + s.ownURI("") + ">"}}
	if v, err := sip.ParseChargingVector(x.Req.Get(sip.HPChargingVector)); err == nil {
		v.TermIOI = s.ioi(ioi)
		fields = append(fields, sip.Field{ID: sip.HPChargingVector, Value: v.String()})
		one.charging = sip.ChargingVector{ICID: strings.Clone(v.ICID), OrigIOI: s.ioi(ioi)}.String()
	}
	grant := s.grant(x.Req)
	// From here on its shard hears of every change; what it is told at first is what is now.
	if full := s.watchers.add(one); full != 0 {
		s.verdicts.Refuse(x, node.Refusal{Status: full, Cause: "watchers_full", Text: "Too many subscriptions to the registration of " + string(impu) + ".",
			Fields: []sip.Field{{ID: sip.HRetryAfter, Value: "60"}},
			Next:   "Look at who subscribes: a phone or a server does not end its subscriptions."})
		return
	}
	now := s.store.Get(s.watchers.keyOf(one))
	if !now.Registered() { // it has ended at this moment, and nobody will be told why
		s.watchers.remove(one)
		s.nothingToWatch(x, impu)
		return
	}
	n, err := s.agent.AcceptSubscription(s.agent.Wrap(x), grant, s.watchEvents(one), fields...)
	if err != nil {
		s.watchers.remove(one)
		if !x.Done() {
			s.verdicts.Refuse(x, node.Refusal{Status: 500, Cause: "subscription", Text: "The subscription of " + who + " cannot be taken: " + err.Error() + ".",
				Next: "Look at the SUBSCRIBE in the trace: it is the watcher's to mend."})
		}
		return
	}
	one.notifier = n
	s.verdicts.Often("subscription", "subscription to the reg event", zap.String("subscriber", who), zap.String("impu", string(impu)), zap.String("call_id", x.Req.CallID()), zap.String("icid", node.ICID(x.Req)))
	s.verdicts.Trace.Emit(trace.Event{Kind: trace.State, CallID: x.Req.CallID(), ICID: node.ICID(x.Req), Clause: "TS 24.229 5.4.2.1.1",
		Text: who + " watches the registration of " + string(impu) + "."})
	if grant == 0 { // a fetch (RFC 6665 4.4.3)
		one.waiting = one.waiting.and(reg, now, registrar.Unregistered)
		one.end("timeout")
		return
	}
	s.watchers.notify(one, reg, now, registrar.Unregistered)
}

func (s *Server) nothingToWatch(x *proxy.Exchange, impu identity.IMPU) {
	s.verdicts.Refuse(x, node.Refusal{Status: 480, Cause: "nothing_to_watch", Clause: "TS 24.229 5.4.2.1.1",
		Text: string(impu) + " is not registered here: there is no registration to watch.",
		Next: "Register first; a subscriber who had registered is told when that ends."})
}

// watchEvents are what becomes of a subscription.
func (s *Server) watchEvents(one *watcher) dialog.NotifierEvents {
	return dialog.NotifierEvents{
		Refresh: func(_ *dialog.Notifier, in *dialog.Incoming, _ uint32, _ bool) uint32 { return s.grant(in.Req) },
		Refreshed: func(*dialog.Notifier) {
			s.watchers.notify(one, one.seen, one.seen, registrar.Unregistered)
		},
		State: func(_ *dialog.Notifier, part int) (dialog.Part, bool) { return s.watchers.state(one, part) },
		Ended: func(_ *dialog.Notifier, e dialog.SubscriptionEnd) {
			s.watchers.remove(one)
			if errors.Is(e.Err, sip.ErrTooLarge) {
				s.verdicts.Limited().Warn(s.verdicts.Log, "long_notify", "a NOTIFY of the reg event is longer than a message may be: the subscription ends",
					zap.String("subscriber", one.who), zap.String("impu", s.watchers.keyOf(one)), zap.Error(e.Err),
					zap.String("next", "Look at the headers of the SUBSCRIBE in the trace, Record-Route and Contact: the document itself is bounded."))
			}
			fields := []zap.Field{zap.String("subscriber", one.who), zap.String("impu", s.watchers.keyOf(one)), zap.String("reason", e.Reason), zap.Error(e.Err)}
			if e.Outcome.Status != 0 {
				fields = append(fields, zap.Stringer("notify", e.Outcome))
			}
			s.verdicts.Often("subscription_ended", "subscription to the reg event ended", fields...)
		},
	}
}

// maxWatch is the longest subscription: what phones ask for.
const maxWatch = 600_000 * time.Second

// grant is how many seconds a SUBSCRIBE gets.
func (s *Server) grant(m *sip.Message) uint32 {
	asked, ok := sip.ParseDelta(m.Get(sip.HExpires))
	if !ok {
		asked = uint32(maxWatch / time.Second) // TS 24.229 5.4.2.1.1
	}
	return min(asked, uint32(maxWatch/time.Second))
}

// mayWatch names the subscriber, says by which type of IOI it is charged, and
// reports whether it may watch: the user by an identity that is not barred, the
// P-CSCF in a Path, or an application server of the user's criteria (TS 24.229
// 5.4.2.1.1). What is asserted counts, not what is claimed beside; without an assertion
// From does, of a node that has sent the request itself. What others have passed on, as
// the I-CSCF does for whoever is outside of the trust domain, says nothing by its From.
func (s *Server) mayWatch(m *sip.Message, reg *registrar.Registration) (who string, ioi int, ok bool) {
	for _, id := range [...]sip.ID{sip.HPAssertedIdentity, sip.HFrom} {
		if id == sip.HFrom && passedOn(m) {
			break
		}
		for v := range m.Values(id) {
			a, err := sip.ParseNameAddr(v)
			if err != nil {
				continue
			}
			u, err := uri.Parse(a.URI)
			if err != nil {
				continue
			}
			if who == "" {
				who = a.URI
			}
			if id, ok := reg.Identity(u.Key()); ok && !id.Barred || inPath(reg, u) {
				return a.URI, 1, true
			}
			if s.isServer(reg, u) {
				return a.URI, 3, true
			}
		}
		if who != "" {
			return who, 0, false
		}
	}
	return "somebody whom nobody vouches for", 0, false
}

// passedOn reports whether a request has come through a proxy: it has several Vias.
func passedOn(m *sip.Message) bool {
	n := 0
	for range m.Values(sip.HVia) {
		n++
	}
	return n > 1
}

// inPath reports whether u is a P-CSCF through which the user has registered. The
// user part of a Path entry names the phone, not the P-CSCF.
func inPath(reg *registrar.Registration, u uri.URI) bool {
	if u.User != "" {
		return false
	}
	for _, b := range reg.Bindings {
		for _, p := range b.Path {
			a, err := sip.ParseNameAddr(p)
			if err != nil {
				continue
			}
			if pu, err := uri.Parse(a.URI); err == nil && uri.SameHost(pu.Host, u.Host) {
				return true
			}
		}
	}
	return false
}

// isServer reports whether u is an application server of the user: the same host,
// and where that is the home domain, which users have as well, the same user part.
func (s *Server) isServer(reg *registrar.Registration, u uri.URI) bool {
	sv := servicesOf(reg)
	if sv == nil {
		return false
	}
	for _, chain := range sv.chains {
		for i := range chain.Len() {
			if c := chain.At(ifc.Position(i)); c != nil && uri.SameHost(c.URI.Host, u.Host) &&
				(c.URI.User == u.User || !uri.SameHost(u.Host, s.cfg.Domain)) {
				return true
			}
		}
	}
	return false
}
