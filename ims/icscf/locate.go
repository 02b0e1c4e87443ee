package icscf

import (
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/uri"
)

// location is a request for which the user's S-CSCF is looked for.
type location struct {
	s           *Server
	x           *proxy.Exchange
	identity    identity.IMPU
	originating bool // on behalf of the user (TS 24.229 5.3.2.1A)

	tried []string // S-CSCFs
	left  []string // still to try
	asked bool     // for capabilities
}

// locate asks the HSS where the called user, or with orig in our Route the served
// user, is, and takes the request there (TS 24.229 5.3.2.1, 5.3.2.1A).
func (s *Server) locate(x *proxy.Exchange) {
	l := &location{s: s, x: x, originating: x.Route.HasParam("orig")}
	ok := false
	if l.originating {
		l.identity, ok = servedUser(x.Req)
		if !ok {
			s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "no_served_user", Clause: "TS 24.229 5.3.2.1A",
				Text: "An originating request names no served user: neither P-Served-User nor P-Asserted-Identity can be read.",
				Next: "Whoever sends it must put P-Served-User or P-Asserted-Identity in: a P-CSCF or an application server does."})
			return
		}
	} else if !l.called() {
		return
	}
	if !s.mayAsk(x) {
		return
	}
	if x.Req.Has(sip.HRoute) {
		x.Edits.Remove(sip.HRoute) // what lies behind us is for the HSS to say
	}
	x.OnBest(l.best)
	l.ask(nil)
}

// called finds the called user in the Request-URI; a number in a sip URI becomes
// the Request-URI in its tel form (TS 24.229 5.3.2.1). It refuses what cannot be ours.
func (l *location) called() bool {
	u, err := uri.Parse(l.x.RequestURI())
	if err != nil {
		r := node.Refusal{Status: 404, Cause: "no_identity", Text: "The Request-URI names nobody here: " + err.Error() + ".", Next: "Look at what was dialled: a sip URI of this network or a telephone number can be looked up."}
		if errors.Is(err, uri.ErrScheme) {
			r.Status = 416
		}
		l.s.verdicts.Refuse(l.x, r)
		return false
	}
	t := identity.NormalizeTarget(u, l.s.cfg.Domain)
	l.identity = t.Identity
	if !t.Home {
		l.s.verdicts.Refuse(l.x, node.Refusal{Status: 404, Cause: "not_home", Clause: "TS 24.229 5.3.2.1",
			Text: string(t.Identity) + " (" + t.Kind.String() + ") is not of " + l.s.cfg.Domain + ".", Next: "The home domain of the I-CSCF is its configuration's domain."})
		return false
	}
	if t.Kind != identity.SIPIdentity && u.IsSIP() {
		if h, ok := sip.RecordTarget(l.x.Req, &l.x.Edits, l.x.RequestURI(), false); ok {
			l.x.Edits.Add(sip.HHistoryInfo, h.Next(1, string(t.Identity), "").String())
		}
		l.x.Edits.RequestURI(string(t.Identity))
	}
	return true
}

// servedUser is the user on whose behalf an originating request comes.
func servedUser(m *sip.Message) (identity.IMPU, bool) {
	for _, id := range [...]sip.ID{sip.HPServedUser, sip.HPAssertedIdentity} {
		for v := range m.Values(id) {
			a, err := sip.ParseNameAddr(v)
			if err != nil {
				continue
			}
			if impu, err := identity.ParseIMPUIn(a.URI); err == nil {
				return impu, true
			}
		}
	}
	return "", false
}

func (l *location) ask(kind *cx.UserAuthorizationType) {
	q := &cx.LIR{PublicIdentity: string(l.identity), Originating: l.originating, Type: kind}
	l.s.cx.LIR(l.s.cx.Deadline(), q, func(a *cx.LIA, err error) {
		node.Answered(l.x, a, func() { l.located(a, err) })
	})
}

// located goes on with the HSS's answer.
func (l *location) located(a *cx.LIA, err error) {
	s := l.s
	if err != nil && len(l.tried) > 0 {
		l.exhausted()
		return
	}
	if err != nil {
		s.verdicts.Refuse(l.x, l.unknown(err))
		return
	}
	// Asked for capabilities, some HSSes name the same S-CSCF again.
	if name := serverURI(a.ServerName); name != "" && !l.asked {
		l.left = []string{name}
	} else {
		l.left = without(choose(s.cfg.SCSCFs, a.Capabilities), l.tried)
	}
	l.tell(a)
	s.nameHSS(l.x, a.OriginHost)
	if w := a.WildcardedPublicIdentity; w != "" {
		l.x.Edits.Set(sip.HPProfileKey, "<"+w+">")
	}
	l.forward()
}

// tell writes what the HSS has said. Lines are limited that somebody from outside of the
// trust domain can have as many of as he likes.
func (l *location) tell(a *cx.LIA) {
	const text = "user located"
	v := l.s.verdicts
	fields := [...]zap.Field{
		zap.String("impu", string(l.identity)), zap.String("result", cx.ResultName(a.Result)), zap.Strings("scscf", l.left),
		zap.String("method", l.x.Req.Method()), zap.String("call_id", l.x.Req.CallID()), zap.String("icid", node.ICID(l.x.Req)),
	}
	if l.s.cfg.Trusted.Has(l.x.Flow.Remote.Addr()) {
		node.Info(v.Log, text, fields[:]...)
		return
	}
	v.Often("located", text, fields[:]...)
}

// slowTimeout is how long an S-CSCF that is silent altogether has for a request
// that is no INVITE. Ours says 100 after 3.5 s (RFC 4320 4.1); others may say
// nothing until the called phone answers.
const slowTimeout = 10 * time.Second

// forward takes the request to the next S-CSCF by a Route; the Request-URI stays.
func (l *location) forward() {
	if len(l.left) == 0 {
		l.exhausted()
		return
	}
	name := l.left[0]
	l.left, l.tried = l.left[1:], append(l.tried, name)
	route := name
	if u, err := uri.Parse(name); err == nil {
		if u = u.WithParam("lr", ""); l.originating {
			u = u.WithParam("orig", "")
		}
		route = u.String()
	}
	t := proxy.Target{
		Hop:     proxy.Hop{Role: sip.RoleCore},
		Timeout: slowTimeout,
		Ringing: node.Ringing(l.x.Req),
		Edits:   func(e *sip.Edits) { e.Prepend(sip.HRoute, "<"+route+">") },
	}
	if l.x.Req.Method() == "INVITE" { // which is owed a 100 within 200 ms
		t.Timeout = l.s.cfg.SCSCFTimeout.D()
	}
	if l.s.verdicts.Deciding() {
		l.s.verdicts.Decide(l.x, "S-CSCF of "+string(l.identity)+": "+name+".", "TS 24.229 5.3.2.1")
	}
	l.x.Retry(t)
}

// best looks for another S-CSCF when the user's is not there (TS 24.229 5.3.2.2,
// TS 23.380 4.3).
func (l *location) best(best *proxy.Final) bool {
	if !best.Local() && best.Status == 503 {
		l.s.verdicts.Refuse(l.x, overloaded(best))
		return false
	}
	if !best.Local() || best.Branch.Heard() {
		return true // it is there; perhaps the call has only not been answered
	}
	l.s.verdicts.Decide(l.x, "S-CSCF "+l.tried[len(l.tried)-1]+" did not answer: "+best.Err.Error()+". Looking for another one.", "TS 24.229 5.3.2.2")
	if len(l.left) > 0 || l.asked {
		l.forward()
		return false
	}
	l.asked = true
	kind := cx.RegistrationAndCapabilities
	l.ask(&kind)
	return false
}

func (l *location) exhausted() {
	text := "No S-CSCF serves " + string(l.identity) + ": tried " + strings.Join(l.tried, ", ") + "."
	if len(l.tried) == 0 {
		text = "No S-CSCF has the capabilities that the HSS asks for " + string(l.identity) + "."
	}
	l.s.verdicts.Refuse(l.x, node.Refusal{Status: 504, Cause: "no_scscf", Clause: "TS 24.229 5.3.2.2",
		Text: text,
		Next: "Check that an S-CSCF runs at the name in scscfs of the I-CSCF's configuration."})
}

// unknown says why the HSS named no S-CSCF (TS 24.229 5.3.2.2).
func (l *location) unknown(err error) node.Refusal {
	out := node.Refusal{Clause: "TS 29.228 6.1.4"}
	switch {
	case cx.IsResult(err, cx.ErrorUserUnknown):
		out.Status, out.Cause, out.Text = 404, "unknown_user", "The HSS does not know "+string(l.identity)+"."
		out.Next = "Add it to a subscriber's impus."
	case cx.IsResult(err, cx.ErrorIdentityNotRegistered):
		out.Status, out.Cause, out.Text = 480, "not_registered", string(l.identity)+" is not registered, and has no services for when it is not."
		out.Next = "Is the phone switched on? It must register to be called."
	case node.TooBusy(err):
		return l.s.cx.Busy()
	default:
		out.Status, out.Cause, out.Text = 480, "hss", "The HSS could not be asked about "+string(l.identity)+": "+err.Error()+"."
		out.Next = "Check that the HSS runs and that diameter.peers of the I-CSCF names it."
	}
	return out
}
