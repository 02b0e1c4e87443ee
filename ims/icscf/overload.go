package icscf

import (
	"strconv"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// defaultRetryAfter is how many seconds to wait where an S-CSCF did not say.
const defaultRetryAfter = 5

// overloaded is the refusal for a user whose S-CSCF said 503. Nobody else serves him,
// so the next request for him would fare no better: it is a 503 of our own (RFC 3261
// 16.7 step 6).
func overloaded(best *proxy.Final) node.Refusal {
	r := node.Refusal{Status: 503, Cause: "scscf_overloaded", Clause: "RFC 3261 21.5.4",
		Text: "The user's S-CSCF is overloaded or stopping: it answered 503.", Next: "Look at the S-CSCF's log; try again after Retry-After."}
	after := best.Msg.Get(sip.HRetryAfter)
	if _, ok := sip.ParseRetryAfter(after); !ok {
		after = strconv.Itoa(defaultRetryAfter)
	}
	r.Fields = []sip.Field{{ID: sip.HRetryAfter, Value: after}}
	return r
}

// mayAsk reports whether the HSS may be asked for x, and refuses x otherwise: what it
// would answer too late is better refused at once than kept.
func (s *Server) mayAsk(x *proxy.Exchange) bool {
	if s.cx.Room(classify(x.Flow, x.Req)) {
		return true
	}
	s.verdicts.Refuse(x, s.cx.Busy())
	return false
}
