package scscf

import (
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/uri"
)

// admit refuses an initial request from outside of the trust domain: other networks
// come through the I-CSCF (TS 24.229 4.4, 5.3.2.1). It reports whether the request
// goes on.
func (s *Server) admit(x *proxy.Exchange) bool {
	if s.cfg.Trusted.Has(x.Flow.Remote.Addr()) {
		return true
	}
	s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "untrusted", Clause: "TS 24.229 4.4",
		Text: "A " + x.Req.Method() + " from " + x.Flow.Remote.Addr().String() + " comes to the S-CSCF, and that address is not of the trust domain.",
		Next: "Other networks send to the I-CSCF. If it is a node of yours, or a partner's, name its network in trusted of the S-CSCF's configuration."})
	return false
}

// strays reports whether what says that it is within a dialog comes from outside of the
// trust domain, and not along our Record-Route: we would carry it anywhere, an INVITE for
// as long as somebody there lets it ring.
func (s *Server) strays(x *proxy.Exchange) bool {
	return !s.cfg.Trusted.Has(x.Flow.Remote.Addr()) && !ofDialog(x.Route.User)
}

// maxOutside bounds the INVITEs within dialogs that are under way from outside of the
// trust domain: our Record-Route is no secret, and whoever answers may let them ring. All
// of max_transactions would be too much: it is a sixteenth at most, as each takes two.
const maxOutside = 4096

// admitWithin refuses a request within a dialog from outside of the trust domain if we
// are not in its route, and reports whether it goes on.
func (s *Server) admitWithin(x *proxy.Exchange) bool {
	if s.strays(x) {
		s.verdicts.Refuse(x, node.Refusal{Status: 481, Cause: "untrusted", Clause: "TS 24.229 4.4",
			Text: "A " + x.Req.Method() + " within a dialog comes from " + x.Flow.Remote.Addr().String() + ", which is not of the trust domain, and not along our Record-Route.",
			Next: "The peer must send along the Record-Route of the dialog. If it is a node of yours, or a partner's, name its network in trusted of the S-CSCF's configuration."})
		return false
	}
	if x.Req.Method() != "INVITE" || s.cfg.Trusted.Has(x.Flow.Remote.Addr()) {
		return true
	}
	most := int64(maxOutside)
	if n := s.cfg.MaxTransactions; n > 0 {
		most = min(most, int64(max(1, n/16)))
	}
	if s.outside.Add(1) > most {
		s.outside.Add(-1)
		s.verdicts.Refuse(x, node.Refusal{Status: 500, Cause: "outside_full", Clause: "RFC 3261 14.2",
			Text:   "Too many INVITEs within dialogs from outside of the trust domain are without an answer.",
			Fields: []sip.Field{{ID: sip.HRetryAfter, Value: "5"}},
			Next:   "Look at who sends them. If it is a partner's network, name it in trusted of the S-CSCF's configuration."})
		return false
	}
	x.OnEnd(func() { s.outside.Add(-1) })
	return true
}

// leads reports whether a URI leads to a node whose address is known to be, or known
// not to be, in one of the networks of trusted.
func (s *Server) leads(addr string) (trusted, known bool) {
	u, err := uri.Parse(addr)
	if err != nil {
		return false, false
	}
	if a, ok := u.Addr(); ok {
		return s.cfg.Trusted.Lists(a), true
	}
	for name, at := range s.hosts {
		if uri.SameHost(name, u.Host) && len(at) > 0 {
			return s.cfg.Trusted.Lists(at[0].Addr()), true
		}
	}
	return false, false
}

// leave edits an initial request that goes to another network, and what comes back
// from there. Another domain is one unless its node is named in trusted.
func (l *leg) leave(next string, foreign bool) {
	trusted, known := l.s.leads(next)
	if trusted || !foreign && (!known || len(l.s.cfg.Trusted) == 0) {
		return
	}
	l.outside = true
	m, err := l.x.Req.Apply(&l.x.Edits)
	if err != nil {
		m = l.x.Req
	}
	node.Leaving(&l.x.Edits, m)
	l.decide("TS 24.229 4.4", func() string { return "It leaves the trust domain: what is for our network alone stays here." })
}

// crossing edits a request within a dialog, and its responses, when they come from
// another network or go to one.
func (s *Server) crossing(x *proxy.Exchange) {
	if len(s.cfg.Trusted) == 0 {
		return
	}
	from := !s.cfg.Trusted.Has(x.Flow.Remote.Addr())
	next := x.TopRoute()
	if next == "" {
		next = x.RequestURI()
	}
	trusted, known := s.leads(next)
	to := known && !trusted
	if from {
		node.Arriving(&x.Edits, x.Req)
	} else if to {
		node.Leaving(&x.Edits, x.Req)
	}
	if from || to {
		x.OnResponse(func(_ *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
			if to {
				node.Arriving(e, m)
			} else {
				node.Leaving(e, m)
			}
			return true
		})
	}
}
