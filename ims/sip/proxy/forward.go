package proxy

import (
	"strconv"

	"github.com/gocscf/gocscf/ims/sip"
)

// Forward sends the request on, to several targets in parallel; without targets,
// where its topmost Route or its Request-URI points. It may be called again, from
// OnBest: the response sent in the end is the best of all branches (RFC 3261
// 16.7). Targets to be tried at the same time belong into one call: it uses up
// the request's Max-Breadth until they have ended.
func (x *Exchange) Forward(targets ...Target) {
	if x.done {
		x.late("Forward")
		return
	}
	x.guard.stop()
	if len(targets) == 0 {
		var one [1]Target
		targets = one[:]
	}
	if x.ack {
		x.pass(&targets[0])
		return
	}
	if x.cancelled {
		x.giveUp(487, "")
		return
	}
	if !x.awaited() {
		x.abandon()
		return
	}
	for _, f := range x.finals {
		if f.Status >= 600 { // RFC 3261 16.7 step 5: no new branch after a 6xx
			x.conclude(f)
			return
		}
	}
	if x.origin == nil && x.breadth-x.lent < len(targets) {
		x.Tracef("%d branches want more than Max-Breadth leaves", len(targets))
		x.giveUp(440, "")
		return
	}
	free := x.breadth - x.lent
	x.live += len(targets)
	started := len(x.branches)
	for i := range targets {
		b := x.newBranch()
		b.share, _ = split(free, len(targets), i)
		x.lent += b.share
		b.prepare(&targets[i])
	}
	for _, b := range x.branches[started:] {
		b.attempt()
	}
}

// Retry is Forward after forgetting how the branches so far have ended: for
// another try at the same thing (the next S-CSCF, the way past an application
// server that failed), where an earlier failure must not become the answer.
func (x *Exchange) Retry(targets ...Target) {
	if x.done {
		x.late("Retry")
		return
	}
	x.finals = nil
	x.Forward(targets...)
}

// CancelBranches cancels every open branch. What they answer to it (487) counts
// as their final response.
func (x *Exchange) CancelBranches() {
	for _, b := range x.branches {
		b.Cancel()
	}
}

// cancelOthers is CancelBranches because one branch has decided the matter with
// that status. The others are told, so that a phone which has rung counts no missed
// call (RFC 3326 2).
func (x *Exchange) cancelOthers(status int) {
	if x.live > 0 && x.cancelFields == nil {
		text := sip.StatusText(status)
		if status < 300 {
			text = "Call completed elsewhere"
		}
		v := sip.ReasonValue{Protocol: "SIP", Cause: uint16(status), HasCause: true, Text: text}
		x.cancelFields = []sip.Field{{ID: sip.HReason, Value: v.String()}}
	}
	x.CancelBranches()
}

func (x *Exchange) newBranch() *Branch {
	b := &x.first
	if len(x.branches) == 0 {
		x.branches = x.one[:0]
	} else {
		b = new(Branch)
	}
	b.x, b.Index = x, len(x.branches)
	x.branches = append(x.branches, b)
	return b
}

// prepare fixes what this branch's request looks like, but for what depends on
// the flow, and where it goes (RFC 3261 16.6 steps 1 to 7).
func (b *Branch) prepare(t *Target) {
	x := b.x
	if b.Index == 0 {
		// The first branch may go on writing where x.Edits ends: one list less
		// for the usual request. x.Edits itself copies before it grows again.
		b.edits = x.Edits
		x.Edits = x.Edits.Clone()
	} else {
		b.edits = x.Edits.Clone()
	}
	b.own, b.timeoutAfter, b.mayRing, b.viaParams = t.RecordRoute, t.Timeout, t.Ringing, t.ViaParams
	top, out := x.route(&b.edits, t)
	if x.origin == nil {
		b.edits.Set(sip.HMaxBreadth, strconv.Itoa(b.share))
	}
	b.URI = out.uri
	if out.strict {
		b.URI = top
	}

	if t.Hop.set() {
		b.hops = append(b.oneHop[:0], t.Hop)
		return
	}
	hops, q, err := locate(x.core.cfg.Hosts, out.hop, t.Hop.Role, b.oneHop[:0])
	b.hops, b.err = hops, err
	for i := range b.hops {
		b.hops[i].Stream = t.Hop.Stream
	}
	if err == nil && len(hops) == 0 {
		b.ask(q, out.hop)
	}
}

// route edits Max-Forwards, Request-URI and Route of a request that leaves for
// t, and says where its next hop is.
func (x *Exchange) route(e *sip.Edits, t *Target) (top string, out outbound) {
	if t.URI != "" {
		e.RequestURI(t.URI)
	}
	switch n, ok := x.Req.MaxForwards(); {
	case !ok:
		e.Set(sip.HMaxForwards, strconv.Itoa(x.core.cfg.MaxForwards))
	case x.origin == nil: // admit has seen that it is above 0
		e.Set(sip.HMaxForwards, strconv.Itoa(n-1))
	}
	if t.Edits != nil {
		t.Edits(e)
	}
	ruri := e.NewRequestURI()
	if ruri == "" {
		ruri = x.Req.RequestURI()
	}
	top = routeURI(x.Req.FirstEdited(sip.HRoute, e))
	out = leave(ruri, top)
	if out.strict {
		e.PopFirst(sip.HRoute)
		e.Add(sip.HRoute, "<"+ruri+">")
		e.RequestURI(out.uri)
	}
	return top, out
}
