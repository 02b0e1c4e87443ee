package scscf

import (
	"strings"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ims/uri"
)

// origUser is the user part of our Service-Route entry: what comes along it is of
// a user whom we serve (TS 24.229 5.4.3.1).
const origUser = "orig"

// The user parts of our Record-Route say on which side of the dialog we are.
const (
	moUser = "mo"
	mtUser = "mt"
)

// ofDialog reports whether a user part of ours is that of a Record-Route.
func ofDialog(user string) bool { return user == moUser || user == mtUser }

// sessions is what the S-CSCF remembers of requests on their way.
type sessions struct{ odis *odis }

func newSessions(*Server) *sessions { return &sessions{odis: newODIs(maxODIs)} }

// serving says for whom a request is being dealt with, and by which criteria. It
// stays the same while application servers have the request, whatever becomes of
// the registration meanwhile (TS 29.228 6.6).
type serving struct {
	kase       profile.SessionCase
	impu       identity.IMPU // the served user
	reg        *registrar.Registration
	registered bool
	chain      *ifc.Chain // nil without criteria
	visits     int        // of application servers so far
}

// leg is an initial or standalone request on its way through the served user's
// services and on.
type leg struct {
	s *Server
	x *proxy.Exchange
	serving

	req    request
	at     ifc.Position // where evaluation goes on
	fromAS bool         // whoever sent the request is an application server

	visiting *ifc.Criterion // whose server has the request; nil when none has
	odi      *odi           // of that visit
	odis     []*odi         // of all
	wait     transaction.Timer

	history  sip.HistoryInfo // the entry of the current target; zero when none is kept
	sent     int             // branches of the exchange so far
	delivery *delivery       // set when the request goes to the contacts
	next     string          // who was asked to take it on, otherwise
	entry    bool            // that is the I-CSCF of our domain
	foreign  bool            // that is another domain
	outside  bool            // and not of the trust domain
}

// session routes a request outside of a dialog (TS 24.229 5.4.3.1): one that an
// application server returns is known by its identifier, before anything else.
func (s *Server) session(x *proxy.Exchange) {
	l := &leg{s: s, x: x}
	l.req.x = x
	if token, ok := strings.CutPrefix(x.Route.User, odiUser); ok {
		l.resume(token)
	} else if x.Route.User == origUser || x.Route.HasParam("orig") {
		l.originate()
	} else {
		l.terminate()
	}
}

// inDialog takes a request within a dialog along its route set. No criterion looks
// at it (TS 24.229 5.4.3.2, 5.4.3.3).
func (s *Server) inDialog(x *proxy.Exchange) {
	if !s.admitWithin(x) {
		return
	}
	if x.TopRoute() == "" {
		u, err := uri.Parse(x.RequestURI())
		if err == nil && (s.core.IsSelf(u) || uri.SameHost(u.Host, s.cfg.Domain)) {
			s.verdicts.Refuse(x, node.Refusal{Status: 481, Cause: "no_dialog", Clause: "RFC 3261 12.2.2",
				Text: "A " + x.Req.Method() + " within a dialog ends here: its Request-URI " + x.RequestURI() + " is no contact, and no Route leads on.",
				Next: "The peer must send to the Contact of the dialog, along its Record-Route."})
			return
		}
	}
	s.crossing(x)
	t := proxy.Target{Hop: proxy.Hop{Role: sip.RoleCore}, Ringing: node.Ringing(x.Req)}
	if x.Req.Method() == "NOTIFY" && x.Route.User != "" {
		// It may overtake the 2xx to its SUBSCRIBE and make the dialog: who wants to
		// stay in its route is in every NOTIFY (RFC 6665 4.3).
		t.RecordRoute = &proxy.Own{User: x.Route.User}
	}
	x.Forward(t)
}

// serve begins the services of a user: key is an identity of reg.
func (l *leg) serve(reg *registrar.Registration, impu identity.IMPU, kase profile.SessionCase) {
	l.serving = serving{
		kase: kase, impu: impu, reg: reg, chain: chainOf(reg, impu),
		registered: kase == profile.OriginatingRegistered || kase == profile.TerminatingRegistered,
	}
	if l.s.verdicts.Deciding() {
		l.s.verdicts.Decide(l.x, "Serving "+string(impu)+", "+kase.String()+".", "TS 24.229 5.4.3.1", zap.String("impu", string(impu)))
	}
	l.begin()
}

// begin hooks the leg to its exchange and walks the chain.
func (l *leg) begin() {
	l.x.OnResponse(l.response)
	l.x.OnBest(l.best)
	l.x.OnEnd(l.end)
	l.recordTarget()
	if l.x.Req.Has(sip.HPUserDatabase) {
		l.x.Edits.Remove(sip.HPUserDatabase) // it was for us
	}
	l.run()
}

// chainOf returns the criteria of an identity, or those of the wildcarded one that
// it is one of.
func chainOf(reg *registrar.Registration, impu identity.IMPU) *ifc.Chain {
	sv := servicesOf(reg)
	if sv == nil {
		return nil
	}
	if c := sv.chain(string(impu)); c != nil || reg.Profile == nil {
		return c
	}
	if _, pi := reg.Profile.Find(impu); pi != nil {
		return sv.chain(string(pi.Identity))
	}
	return nil
}

// run takes the request to the next application server whose criterion matches,
// and without one to where it is for.
func (l *leg) run() {
	l.visiting, l.odi = nil, nil
	with := ifc.Session{Case: l.kase, Unregistered: !l.registered}
	if l.chain != nil && l.s.verdicts.Trace.On() {
		l.explain(with)
	}
	if c, ok := l.chain.Next(l.at, &l.req, with); ok {
		l.visit(c)
		return
	}
	if l.terminating() {
		l.deliver()
	} else {
		l.route()
	}
}

// explain tells the trace why which criteria match.
func (l *leg) explain(with ifc.Session) {
	for _, e := range l.chain.Explain(l.at, &l.req, with) {
		text := "Filter criterion of " + string(l.impu) + ", " + l.kase.String() + ", " + e.Text + "."
		if e.Matched {
			text += " Goes to " + e.Criterion.Server.ServerName + "."
		}
		l.s.verdicts.Trace.Emit(trace.Event{
			Kind: trace.IFC, CallID: l.x.Req.CallID(), ICID: node.ICID(l.x.Req), IMPI: l.impi(), Text: text, Clause: "TS 29.228 B.2.2",
		})
	}
}

func (l *leg) terminating() bool {
	return l.kase == profile.TerminatingRegistered || l.kase == profile.TerminatingUnregistered
}

// best is called when every branch has ended without a 2xx.
func (l *leg) best(f *proxy.Final) bool {
	switch {
	case l.visiting != nil:
		return l.visited(f)
	case l.delivery != nil:
		return l.undelivered(f)
	}
	return l.unrouted(f)
}

// end is the end of the transaction.
func (l *leg) end() {
	l.wait.Stop()
	if len(l.odis) > 0 {
		l.s.sessions.odis.end(l.odis)
	}
}

func (l *leg) refuse(r node.Refusal) {
	r.IMPI = l.impi()
	l.s.verdicts.Refuse(l.x, r)
}

// decide is Verdicts.Decide for texts that cost to make.
func (l *leg) decide(clause string, text func() string) {
	if l.s.verdicts.Deciding() {
		l.s.verdicts.Decide(l.x, text(), clause, zap.String("impu", string(l.impu)))
	}
}

func (l *leg) impi() string {
	if l.reg == nil || len(l.reg.IMPIs) == 0 {
		return ""
	}
	return l.reg.IMPIs[0]
}

// recordRoute keeps us in the route of what may become a dialog (RFC 3261 16.6
// step 4); the user part says on which side.
func (l *leg) recordRoute() *proxy.Own {
	switch l.x.Req.Method() {
	case "INVITE", "SUBSCRIBE", "REFER":
	default:
		return nil
	}
	if l.terminating() {
		return &proxy.Own{User: mtUser}
	}
	return &proxy.Own{User: moUser}
}
