package scscf

import (
	"strconv"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/uri"
)

// maxVisits bounds the application servers that a request visits for one user.
// Each is named by a criterion of its own; the same server may come twice.
const maxVisits = 32

// visit sends the request to the application server of c, with a way back to us
// below it in the Route (TS 24.229 5.4.3.2, 5.4.3.3, 5.4.3.4).
func (l *leg) visit(c *ifc.Criterion) {
	s := l.s
	if l.visits == maxVisits {
		l.refuse(node.Refusal{Status: 482, Cause: "too_many_servers", Clause: "TS 24.229 5.4.3.2",
			Text: "The request has visited " + strconv.Itoa(maxVisits) + " application servers for " + string(l.impu) + ".",
			Next: "Look for filter criteria or application servers that send it in a circle."})
		return
	}
	l.visits++
	o := &odi{serving: l.serving, at: c.After()}
	o.impu = l.ownName() // it outlives the request that the name is a part of
	if !s.sessions.odis.put(o) {
		l.refuse(node.Refusal{Status: 503, Cause: "odis_full", Text: "Too many requests are with application servers.",
			Fields: []sip.Field{{ID: sip.HRetryAfter, Value: "5"}},
			Next:   "Look whether an application server is slow: each request that it holds counts for 200 s."})
		return
	}
	l.visiting, l.odi = c, o
	l.odis = append(l.odis, o)
	l.decide("TS 24.229 5.4.3.4", func() string {
		return "To the application server " + c.Server.ServerName + " of " + string(l.impu) + ", priority " + strconv.Itoa(int(c.Priority)) + "."
	})

	server := "<" + c.URI.WithParam("lr", "").String() + ">"
	back := "<" + s.ownURI(odiUser+o.token) + ";lr>"
	t := proxy.Target{
		Hop: proxy.Hop{Role: sip.RoleCore}, RecordRoute: l.recordRoute(), Ringing: node.Ringing(l.x.Req),
		Edits: func(e *sip.Edits) {
			e.Prepend(sip.HRoute, back)
			e.Prepend(sip.HRoute, server)
			e.Set(sip.HPServedUser, l.servedUser())
			l.chargeRequest(e, 3)
			if l.reg.Charging != "" {
				e.Set(sip.HPChargingFunctionAddresses, l.reg.Charging)
			}
		},
	}
	l.await(c) // before Retry, which may fail at once and go on to the next server
	l.sent++
	l.x.Retry(t)
}

// ownName is the served user's identity, with no hold on the request.
func (l *leg) ownName() identity.IMPU {
	if id, ok := l.reg.Identity(string(l.impu)); ok {
		return identity.IMPU(id.Key)
	}
	return identity.IMPU(strings.Clone(string(l.impu)))
}

// servedUser is the P-Served-User towards an application server (RFC 5502 4, RFC
// 8498 4).
func (l *leg) servedUser() string {
	u := sip.ServedUser{Addr: sip.NameAddr{URI: string(l.impu)}, RegState: "unreg"}
	if l.registered {
		u.RegState = "reg"
	}
	switch {
	case l.kase == profile.OriginatingCDIV:
		u.OrigCDIV = true
	case l.terminating():
		u.SesCase = "term"
	default:
		u.SesCase = "orig"
	}
	return u.String()
}

// await gives the server its time for a first response. A server that has sent
// the request back is there, and may be one that answers no 100; then its silence
// is the far end's.
func (l *leg) await(c *ifc.Criterion) {
	limit := l.s.cfg.ASTimeout.Terminated.D()
	if c.Continue() {
		limit = l.s.cfg.ASTimeout.Continued.D()
	}
	l.wait.Stop()
	if limit > 0 {
		l.wait = l.x.Shard.After(limit, func() { l.silent(l.odi, limit) })
	}
}

func (l *leg) silent(o *odi, limit time.Duration) {
	if o == nil || l.x.Done() || l.s.sessions.odis.isBack(o) {
		return
	}
	if l.x.GiveUpSilent(limit) && l.odi == o { // it has another address
		l.wait = l.x.Shard.After(limit, func() { l.silent(o, limit) })
	}
}

// visited decides what follows from the failure of an application server: when it
// has not done its part, the default handling of the criterion (TS 24.229 5.4.3.2,
// 5.4.3.3; TS 23.218 6.3); any other answer is the server's decision.
func (l *leg) visited(f *proxy.Final) bool {
	c, o := l.visiting, l.odi
	l.wait.Stop()
	failed := f.Local() || f.Status == 408 || f.Status >= 500 && f.Status < 600
	name := c.Server.ServerName
	if !failed || f.Branch != nil && f.Branch.Provisional() || l.s.sessions.odis.isBack(o) {
		l.serverDecided(f)
		return true
	}
	what := "answered " + strconv.Itoa(f.Status)
	if f.Local() {
		what = "cannot be reached"
		if f.Err != nil {
			what += ": " + f.Err.Error()
		}
	}
	l.s.sessions.odis.drop(o)
	if c.Continue() {
		l.s.verdicts.Tell(l.x, node.Refusal{Cause: "as_skipped", Clause: "TS 24.229 5.4.3.2", IMPI: l.impi(),
			Text: "The application server " + name + " " + what + "; the session goes on without it (SESSION_CONTINUED).",
			Next: "Check that the server runs at the name in the filter criterion of " + string(l.impu) + ": its service is missing in this call."})
		l.at = c.After()
		l.run()
		return false
	}
	r := node.Refusal{Status: 408, Cause: "as_failed", Clause: "TS 24.229 5.4.3.2",
		Text: "The application server " + name + " " + what + ", and without it the session ends (SESSION_TERMINATED).",
		Next: "Check that the server runs at the name in the filter criterion of " + string(l.impu) + "."}
	if !f.Local() {
		r.Status = f.Status
		l.s.verdicts.Tell(l.x, r)
		l.s.verdicts.Warn(&f.Edits, r)
		return true
	}
	if l.x.Req.Method() != "INVITE" {
		r.Status = 504 // a 408 to another request helps nobody (RFC 4320 4.2)
	}
	l.refuse(r)
	return false
}

// serverDecided tells of a call that ends because its application server says so.
// What it has only passed on is not its decision.
func (l *leg) serverDecided(f *proxy.Final) {
	if f.Local() || l.s.sessions.odis.isBack(l.odi) {
		return
	}
	switch f.Status {
	case 401, 407, 422, 487: // a step on the way, or the end of what is known already
		return
	}
	r := node.Refusal{Status: f.Status, Cause: "as_refused", Clause: "TS 23.218 6.5", IMPI: l.impi(),
		Text: "The application server " + l.visiting.Server.ServerName + " answered " + l.x.Req.Method() + " with " +
			strconv.Itoa(f.Status) + " " + sip.StatusText(f.Status) + ": that is its decision for " + string(l.impu) + ".",
		Next: "The server's own log says why; the filter criteria of " + string(l.impu) + " say what goes there."}
	l.s.verdicts.Heard(l.x, r)
}

// resume goes on with a request that an application server has sent back, as it is
// now (TS 24.229 5.4.3.2, 5.4.3.3; TS 23.218 5.2).
func (l *leg) resume(token string) {
	o := l.s.sessions.odis.back(token)
	if o == nil {
		l.s.verdicts.Refuse(l.x, node.Refusal{Status: 481, Cause: "unknown_odi", Clause: "TS 24.229 5.4.3.4",
			Text: "An application server sends a request back with an original dialog identifier that is not, or no longer, known here.",
			Next: "The server took too long, was passed over because it did not answer in time, or this S-CSCF was restarted."})
		return
	}
	l.serving, l.at, l.fromAS = o.serving, o.at, true
	l.decide("TS 24.229 5.4.3.4", func() string {
		return "Back from an application server of " + string(l.impu) + ": evaluation goes on."
	})
	if l.terminating() && !l.stillFor() {
		// Another target: a forwarding leg, with the diverting user's services for
		// that, and not for his own contacts (TS 24.229 5.4.3.3 step 3; RFC 8498).
		l.kase, l.at = profile.OriginatingCDIV, 0
		l.decide("TS 24.229 5.4.3.3", func() string {
			return "The application server has retargeted the request from " + string(l.impu) + " to " + l.x.RequestURI() + "."
		})
	}
	l.begin()
}

// stillFor reports whether the Request-URI names the served user, under whichever
// of his names.
func (l *leg) stillFor() bool {
	u, err := uri.Parse(l.x.RequestURI())
	if err != nil {
		return false
	}
	now := identity.NormalizeTarget(u, l.s.cfg.Domain).Identity
	if now == l.impu || identity.IMPUOf(u) == l.impu {
		return true
	}
	for _, a := range aliases(l.reg, l.impu, l.s.cfg.Domain) {
		if a == now {
			return true
		}
	}
	return false
}
