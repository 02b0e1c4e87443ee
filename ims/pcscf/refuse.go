package pcscf

import (
	"strconv"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// registerAnew is the body that makes a phone register from the start (TS 24.229
// 7.6, 5.1.2A.1.6): the home network has lost its registration.
const registerAnew = `<?xml version="1.0" encoding="UTF-8"?>
<ims-3gpp version="1"><alternative-service><type>restoration</type><reason>registration state lost</reason><action>initial-registration</action></alternative-service></ims-3gpp>
`

// homeSilent is the refusal for a home network that does not answer.
func homeSilent(best *proxy.Final, what string) node.Refusal {
	r := node.Refusal{Status: 504, Cause: "home_silent", Clause: "TS 24.229 5.2.2.1",
		Text: what + " got no answer from the home network.", Next: "Check that the I-CSCF and S-CSCF run and that the addresses in the P-CSCF's configuration are theirs."}
	if best.Err != nil {
		r.Text = what + " did not reach the home network: " + best.Err.Error() + "."
	}
	return r
}

// overloaded is the refusal for a home network all of whose addresses said 503
// (TS 24.229 5.2.2.1; RFC 3261 21.5.4).
func overloaded(best *proxy.Final) node.Refusal {
	r := node.Refusal{Status: 503, Cause: "home_overloaded", Text: "The home network is overloaded or stopping: it answered 503.",
		Next: "Try again after Retry-After."}
	after := best.Msg.Get(sip.HRetryAfter)
	if _, ok := sip.ParseRetryAfter(after); !ok {
		after = strconv.Itoa(defaultRetryAfter)
	}
	r.Fields = []sip.Field{{ID: sip.HRetryAfter, Value: after}}
	return r
}

// defaultRetryAfter is how many seconds a phone waits when the core did not say.
const defaultRetryAfter = 5
