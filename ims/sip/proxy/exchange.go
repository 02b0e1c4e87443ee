package proxy

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/uri"
)

// Exchange is one request on its way through us, from its arrival to its final
// response (the response context of RFC 3261 16.2). An ACK is an Exchange that
// gets no response; a request of our own (Core.Originate) is one whose responses
// go to its maker.
//
// Its methods may be called on its shard only, except Post.
type Exchange struct {
	// Req is the request as it came, received and rport filled into its Via. Our
	// own Route entries are still there: Edits takes them out.
	Req *sip.Message
	// Flow is where the request came from. Zero for requests of our own.
	Flow sip.Flow
	// Edits changes the request for every target. It comes with what 16.4 asks
	// for; the handler adds its own. What Forward has sent is not affected.
	Edits sip.Edits
	// Route is our own URI that stood topmost in the route set, with the user
	// part and parameters given to it when it was made; zero when there was none.
	// Routes has those stacked under it as well.
	Route uri.URI
	// Shard is where everything about this Call-ID happens.
	Shard *transaction.Shard
	// Data is the handler's own.
	Data any

	core   *Core
	server *transaction.Server // nil for ACK and for requests of our own
	origin *Origin             // of a request of our own
	more   []uri.URI           // own Route entries after the first
	ruri   string              // Request-URI after 16.4

	loop    loopHash
	toTag   string // of the responses made here
	breadth int    // Max-Breadth that we may use

	start        int64       // as Layer.Now has it
	cancelFields []sip.Field // for the CANCELs that follow from the caller's

	finals     []*Final // of the completed branches
	branches   []*Branch
	one        [1]*Branch // room for the usual case
	first      Branch
	live       int   // branches without a final response
	lent       int   // breadth in use by them
	completed  int32 // branches that have ended
	rounds     int32 // calls of onBest
	done       bool  // the final response is sent, or there will be none
	ended      bool  // done, and no branch is live
	cancelled  bool
	ack        bool
	choosing   bool // onBest is running
	ringing    bool // the handler has sent a provisional response itself
	starting   bool // Originate has not returned yet
	stranger   bool // nothing is kept of the request once it is answered
	retires    bool // with note, see Retires
	note       string
	onResponse func(*Branch, *sip.Message, *sip.Edits) bool
	onBest     func(*Final) bool
	onCancel   func()
	onEnd      func()
	guard      timer
}

// RequestURI returns the Request-URI to decide by: that of the request after
// 16.4 (strict-route repair, maddr), or what Edits has made of it.
func (x *Exchange) RequestURI() string {
	if u := x.Edits.NewRequestURI(); u != "" {
		return u
	}
	return x.ruri
}

// TopRoute returns the URI of the topmost Route entry that is not ours, as Edits
// leaves it; "" when there is none.
func (x *Exchange) TopRoute() string {
	return routeURI(x.Req.FirstEdited(sip.HRoute, &x.Edits))
}

// Routes returns all our own entries that stood topmost, the first being Route.
// A doubled Record-Route gives two: the side it came from, then the other.
func (x *Exchange) Routes() []uri.URI {
	if x.Route.IsZero() {
		return nil
	}
	return append([]uri.URI{x.Route}, x.more...)
}

// Server returns the server transaction, for a user agent that sends its own
// responses; nil for an ACK and for requests of our own.
func (x *Exchange) Server() *transaction.Server { return x.server }

// ToTag returns the tag that the responses made here carry in To. A request
// within a dialog has one already, which they keep.
func (x *Exchange) ToTag() string {
	if x.toTag == "" {
		x.toTag = sip.NewTag()
	}
	return x.toTag
}

// Done reports whether the final response is out, or none will be.
func (x *Exchange) Done() bool { return x.done }

// Cancelled reports whether the caller has cancelled the request.
func (x *Exchange) Cancelled() bool { return x.cancelled }

// OnResponse sets the function that sees each response but 100 before it is
// relayed or kept. It may change it through e, until it returns; false takes it out: it is not
// relayed, and a final one does not count among the finals. If that leaves the
// exchange without branches, the function must Forward, Retry or Reply, at once
// or after a while.
func (x *Exchange) OnResponse(f func(b *Branch, m *sip.Message, e *sip.Edits) bool) { x.onResponse = f }

// OnBest sets the function that is called when every branch has its final
// response, with the one that would be sent (never a 2xx, which leaves at once).
// false means that the function takes over: it has called Forward, Retry or
// Reply, or will. It is not called once the caller has cancelled.
func (x *Exchange) OnBest(f func(best *Final) bool) { x.onBest = f }

// OnCancel sets the function that is told of the caller's CANCEL, before the
// branches are cancelled. A user agent answers the request here, or leaves the
// 487 to the proxy.
func (x *Exchange) OnCancel(f func()) { x.onCancel = f }

// OnEnd has a function called, behind those of before, when nothing more can happen: the
// final response is out and no branch is open.
func (x *Exchange) OnEnd(f func()) {
	if before := x.onEnd; before != nil {
		x.onEnd = func() { before(); f() }
		return
	}
	x.onEnd = f
}

// Post runs f on the shard; it may be called from any goroutine. f does not run
// if the exchange is done by then.
func (x *Exchange) Post(f func()) {
	x.Shard.Post(func() { x.posted(f) })
}

// PostNow is Post on the caller's goroutine, if it can be, see
// [transaction.Shard.PostNow]. The caller gathers what is sent (Core.Hold).
func (x *Exchange) PostNow(f func(), more bool) {
	x.Shard.PostNow(func() { x.posted(f) }, more)
}

func (x *Exchange) posted(f func()) {
	if x.done {
		x.late("posted function")
		return
	}
	f()
	x.settle()
}

// Reply sends a response made here. A final one ends the exchange: open branches
// are cancelled. reason "" is the usual phrase.
func (x *Exchange) Reply(status int, reason string, fields ...sip.Field) {
	if x.server == nil || x.done {
		x.late("Reply")
		return
	}
	b := x.Response(status, reason).AddFields(fields...)
	x.Send(status, b)
	b.Free()
}

// Response begins a response with Via, From, To with our tag, Call-ID, CSeq and
// Record-Route, to be sent with Send.
func (x *Exchange) Response(status int, reason string) *sip.Builder {
	return sip.NewResponse(x.Req, status, reason, x.ToTag())
}

// Stranger has the request's final response sent once and forgotten, when it came as a
// datagram: nobody vouches for where it came from. It must be called before Response.
func (x *Exchange) Stranger() {
	if x.server != nil && x.toTag == "" {
		x.stranger, x.toTag = true, x.server.StatelessTag()
	}
}

// Send sends a response made with Response; status must be the same. b is not changed.
func (x *Exchange) Send(status int, b *sip.Builder) {
	if x.server == nil || x.done {
		x.late("Send")
		return
	}
	if status >= 200 && x.Tracing() {
		x.Tracef("answering %d", status)
	}
	if status >= 200 {
		x.finish()
	} else {
		x.ringing = true
		x.guard.stop()
	}
	data := b.Buffer()
	if x.stranger && status >= 200 {
		x.server.RespondAndForget(status, data.Bytes())
	} else {
		x.server.Respond(status, data.Bytes())
	}
	data.Free()
	if status >= 200 {
		x.CancelBranches()
		x.end()
	} else {
		x.settle()
	}
}

// late counts a call that came after the end.
func (x *Exchange) late(what string) {
	x.core.stats.late.Add(1)
	if x.Tracing() {
		x.Tracef("%s after the end: ignored", what)
	}
}

// finish notes that the final response is out.
func (x *Exchange) finish() {
	x.done = true
	x.guard.stop()
}

// end tells the handler when nothing more can happen.
func (x *Exchange) end() {
	if !x.done || x.live > 0 || x.ended {
		return
	}
	x.ended = true
	if x.onEnd != nil {
		x.onEnd()
	}
}

// settle sees to it that somebody answers: when a handler or hook returns with
// nothing sent and no branch open, it has until HandlerTimeout; until Timer C
// after a provisional response of its own.
func (x *Exchange) settle() {
	if x.done || x.live > 0 || x.ack || x.origin != nil {
		x.guard.stop()
		return
	}
	if x.guard.running() {
		return
	}
	limit := x.core.cfg.HandlerTimeout
	if x.ringing {
		limit = x.core.cfg.TimerC // a user agent: it waits for somebody to answer
	}
	x.guard.startWith(x.Shard, limit, exchangeForgotten, x)
}

func exchangeForgotten(x any) { x.(*Exchange).forgotten() }

// forgotten answers for a handler that has not.
func (x *Exchange) forgotten() {
	x.guard.on = false
	if x.done || x.live > 0 {
		return
	}
	x.core.stats.unanswered.Add(1)
	x.Trace("the handler gave no answer in time")
	x.giveUp(500, "No decision in time")
}
