package proxy

import (
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/uri"
)

// refusal is a response that RFC 3261 16.3 demands. Status 0 is none.
type refusal struct {
	status int
	reason string
	field  sip.Field
}

// admit reads a new request's routing state into x and checks it as RFC 3261
// 16.3 asks, in that order. Syntax has been checked before (sip.Validate).
func (c *Core) admit(x *Exchange) refusal {
	m := x.Req
	var buf [8]string
	routes := buf[:0]
	for v := range m.Values(sip.HRoute) {
		routes = append(routes, routeURI(v))
	}
	in, left, err := preprocess(m.RequestURI(), routes, c.self.is)
	if err != nil {
		return refusal{status: 400, reason: "Bad Route"}
	}
	x.ruri = in.uri
	if in.owns > 0 {
		x.Route = in.own[0]
		if in.owns > 1 {
			x.more = append(x.more, in.own[1:in.owns]...)
		}
	}
	in.edit(&x.Edits, m)

	if in.parsed.IsZero() {
		switch scheme(in.uri) {
		case uri.SIP, uri.SIPS, uri.TEL:
			return refusal{status: 400, reason: "Bad Request-URI"}
		case "urn": // urn:service:sos (RFC 5031)
		default:
			return refusal{status: 416}
		}
	}

	x.breadth = c.cfg.MaxBreadth
	if v := m.Get(sip.HMaxBreadth); v != "" {
		if x.breadth, err = strconv.Atoi(v); err != nil || x.breadth < 0 {
			return refusal{status: 400, reason: "Bad Max-Breadth"}
		}
		x.breadth = min(x.breadth, c.cfg.MaxBreadth)
	}

	forUs := len(left) == 0 && in.parsed.User == "" && c.self.is(in.parsed)
	if n, ok := m.MaxForwards(); ok && n == 0 && !(m.Method() == "OPTIONS" && forUs) {
		return refusal{status: 483}
	}

	x.loop = hashOf(m, c.seed)
	mark := x.loop.mark()
	for v := range m.Lines(sip.HVia) {
		if strings.Contains(v, string(mark[:])) {
			return refusal{status: 482}
		}
	}

	// For an ACK there is no refusing, and none for a proxy that would only
	// lose it (RFC 3261 8.2.2.3 says so of Require).
	if m.Has(sip.HProxyRequire) && !x.ack {
		var unsupported []string
		for tag := range m.Values(sip.HProxyRequire) {
			if !c.supports(tag) {
				unsupported = append(unsupported, tag)
			}
		}
		if unsupported != nil {
			return refusal{status: 420, field: sip.Field{ID: sip.HUnsupported, Value: strings.Join(unsupported, ", ")}}
		}
	}

	if forUs && m.Method() == "OPTIONS" && !c.cfg.PassOptions {
		return refusal{status: 200, field: sip.Field{ID: sip.HSupported, Value: strings.Join(c.cfg.Supported, ", ")}}
	}
	return refusal{}
}

// hashOf is the hash over what decides where a request goes (RFC 5393 4.2.1):
// not over its method, so that a CANCEL has that of its INVITE.
func hashOf(m *sip.Message, seed maphash.Seed) loopHash {
	l := loopHasher{seed: seed}
	l.add(m.RequestURI())
	for _, id := range [...]sip.ID{sip.HRoute, sip.HProxyRequire, sip.HProxyAuthorization, sip.HPServedUser} {
		if m.Has(id) {
			for v := range m.Lines(id) {
				l.add(v)
			}
		}
	}
	l.add(m.Get(sip.HFrom))
	l.add(m.Get(sip.HTo))
	l.add(m.CallID())
	seq, _, _ := strings.Cut(m.Get(sip.HCSeq), " ")
	l.add(seq)
	return l.sum()
}

// edit puts what 16.4 changed into e.
func (in *inbound) edit(e *sip.Edits, m *sip.Message) {
	if in.rewrote {
		e.RequestURI(in.uri)
	}
	for range in.popped {
		e.PopFirst(sip.HRoute)
	}
	if !in.restored {
		return
	}
	// The last entry has become the Request-URI. This is rare: write the others anew.
	var keep []string
	i := 0
	for v := range m.Values(sip.HRoute) {
		if i >= in.popped {
			keep = append(keep, v)
		}
		i++
	}
	e.Remove(sip.HRoute)
	if keep = keep[:max(len(keep)-1, 0)]; len(keep) > 0 {
		e.Prepend(sip.HRoute, strings.Join(keep, ", "))
	}
}

func (c *Core) supports(tag string) bool {
	for _, s := range c.cfg.Supported {
		if strings.EqualFold(s, tag) {
			return true
		}
	}
	return false
}

// scheme returns a URI's scheme in lower case.
func scheme(u string) string {
	s, _, ok := strings.Cut(u, ":")
	if !ok {
		return ""
	}
	return strings.ToLower(s)
}

// routeURI returns the URI of a Route value; "" when it cannot be read.
func routeURI(v string) string {
	if v == "" {
		return ""
	}
	a, err := sip.ParseNameAddr(v)
	if err != nil {
		return ""
	}
	return a.URI
}
