package icscf

import (
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// overloaded is the refusal for a user whose S-CSCF said 503. Nobody else serves him,
// so the next request for him would fare no better: it is a 503 of our own (RFC 3261
// 16.7 step 6).
func overloaded(best *proxy.Final) node.Refusal {
	return node.Refusal{Status: 503, Cause: "scscf_overloaded", Clause: "RFC 3261 21.5.4",
		Text: "The user's S-CSCF is overloaded or stopping: it answered 503.", Next: "Look at the S-CSCF's log; try again after Retry-After.", Fields: []sip.Field{node.RetryAfter(best.Msg)}}
}

// mayAsk reports whether the HSS may be asked for x, and refuses x otherwise: what it
// would answer too late is better refused at once than kept.
func (s *Server) mayAsk(x *proxy.Exchange) bool {
	if s.cx.Room(s.classify(x.Flow, x.Req)) {
		return true
	}
	s.verdicts.Refuse(x, s.cx.Busy())
	return false
}
