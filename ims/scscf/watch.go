package scscf

import (
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

// isRegEvent reports whether x subscribes to the registration of a user who is
// registered here.
func (s *Server) isRegEvent(x *proxy.Exchange) bool {
	e, err := sip.ParseEvent(x.Req.Get(sip.HEvent))
	return err == nil && strings.EqualFold(e.Package, reginfo.EventPackage) && s.watched(x).Registered()
}

// watched is the registration that a SUBSCRIBE is about.
func (s *Server) watched(x *proxy.Exchange) *registrar.Registration {
	impu, err := identity.ParseIMPU(x.RequestURI())
	if err != nil {
		return nil
	}
	return s.store.Get(string(impu))
}

// watch takes a subscription to the reg event (TS 24.229 5.4.2.1.1).
func (s *Server) watch(x *proxy.Exchange) {
	reg := s.watched(x)
	impu, _ := identity.ParseIMPU(x.RequestURI()) // watched has read it
	who, ok := s.mayWatch(x.Req, reg)
	if !ok {
		s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "may_not_watch", Clause: "TS 24.229 5.4.2.1.1",
			Text: who + " may not watch the registration of " + string(impu) + ": only the user, the P-CSCF in the Path and application servers may."})
		return
	}
	if !s.watchers.room(string(impu)) {
		s.verdicts.Refuse(x, node.Refusal{Status: 503, Cause: "watchers_full", Text: "Too many subscriptions to the registration of " + string(impu) + ".",
			Fields: []sip.Field{{ID: sip.HRetryAfter, Value: "60"}}})
		return
	}
	one := &watcher{key: strings.Clone(string(impu)), who: strings.Clone(who)}
	n, err := s.agent.AcceptSubscription(s.agent.Wrap(x), s.grant(x.Req), dialog.NotifierEvents{
		Refresh: func(_ *dialog.Notifier, in *dialog.Incoming, _ uint32, _ bool) uint32 { return s.grant(in.Req) },
		Refreshed: func(*dialog.Notifier) {
			s.watchers.notify(one, nil, s.store.Get(one.key), causeUser)
		},
		Final: func(*dialog.Notifier) dialog.Part {
			if now := s.store.Get(one.key); now.Registered() {
				return s.document(one, nil, now, causeUser)
			}
			return dialog.Part{}
		},
		Ended: func(_ *dialog.Notifier, e dialog.SubscriptionEnd) {
			s.watchers.remove(one)
			s.verdicts.Log.Info("subscription to the reg event ended", zap.String("subscriber", one.who), zap.String("impu", one.key), zap.Error(e.Err))
		},
	}, sip.Field{ID: sip.HContact, Value: "<" + s.ownURI("") + ">"})
	if err != nil {
		if !x.Done() {
			s.verdicts.Refuse(x, node.Refusal{Status: 500, Cause: "subscription", Text: "The subscription of " + who + " cannot be taken: " + err.Error() + "."})
		}
		return
	}
	one.notifier = n
	s.watchers.add(one)
	s.verdicts.Log.Info("subscription to the reg event", zap.String("subscriber", who), zap.String("impu", string(impu)), zap.String("call_id", x.Req.CallID()), zap.String("icid", node.ICID(x.Req)))
	s.verdicts.Trace.Emit(trace.Event{Kind: trace.State, CallID: x.Req.CallID(), ICID: node.ICID(x.Req), Clause: "TS 24.229 5.4.2.1.1",
		Text: who + " watches the registration of " + string(impu) + "."})
	if n.Remaining() <= 0 { // a fetch (RFC 6665 4.4.3)
		n.Terminate("timeout", 0, s.document(one, nil, reg, causeUser))
		return
	}
	s.watchers.notify(one, nil, reg, causeUser)
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

// mayWatch names the subscriber and reports whether it may watch: the user
// itself, the P-CSCF in a Path, or an application server of the user's criteria.
func (s *Server) mayWatch(m *sip.Message, reg *registrar.Registration) (string, bool) {
	var who string
	for _, id := range [...]sip.ID{sip.HPAssertedIdentity, sip.HFrom} {
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
			if _, ok := reg.Identity(u.Key()); ok || inPath(reg, u) || isServer(reg, u) {
				return a.URI, true
			}
		}
		if who != "" {
			return who, false // what is asserted counts, not what is claimed beside
		}
	}
	return "somebody without a name", false
}

func inPath(reg *registrar.Registration, u uri.URI) bool {
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

func isServer(reg *registrar.Registration, u uri.URI) bool {
	sv := servicesOf(reg)
	if sv == nil {
		return false
	}
	for _, chain := range sv.chains {
		for i := range chain.Len() {
			if c := chain.At(ifc.Position(i)); c != nil && uri.SameHost(c.URI.Host, u.Host) {
				return true
			}
		}
	}
	return false
}
