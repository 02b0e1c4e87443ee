package hss

import (
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
)

// handler takes the requests of CSCFs. Everything is in memory and quick, so that
// it is done where the request was read; what waits for the disk answers later.
type handler struct{ s *Server }

// droppedFor is how long a request that a fault leaves without an answer is
// remembered: longer than any client waits.
const droppedFor = 25 * time.Second

// request is one request on its way through the server.
type request[A any] struct {
	s          *Server
	command    string
	clause     string
	impi, impu string
	peer       *diameter.Request
	header     func(*A) *cx.AnswerHeader
	answer     func(*A) error
	fault      Fault
}

// begin notes what a fault says, and reports whether the request is to be worked on.
func (q *request[A]) begin(h *cx.RequestHeader) bool {
	q.fault = q.s.faults.take(q.command)
	switch f := q.fault; {
	case f.Drop:
		q.s.deps.Log.Info("a fault was ordered: no answer", zap.String("command", q.command), zap.String("impi", q.impi))
		q.s.after(droppedFor, func() {
			_ = q.peer.Reject(&diameter.AVPError{Code: diameter.UnableToComply, Reason: "dropped"})
		})
		return false
	case f.Result != diameter.Result{}:
		q.finish(new(A), reply{result: f.Result, why: "a fault was ordered"})
		return false
	}
	if list, wrong := features(h); wrong != nil {
		a := new(A)
		q.header(a).SupportedFeatures = list
		q.finish(a, *wrong)
		return false
	}
	return true
}

// finish answers.
func (q *request[A]) finish(a *A, r reply) {
	r.clause = q.clause
	r.fill(q.header(a))
	send := func() {
		// Counted first: whoever has the answer finds it in the counts.
		q.s.count(q.command, r.result)
		q.s.tell(q.command, q.impi, q.impu, q.peer.OriginHost(), r)
		if err := q.answer(a); err != nil {
			q.s.deps.Log.Warn("the answer could not be sent", zap.String("command", q.command), zap.String("impi", q.impi), zap.Error(err))
		}
	}
	if q.fault.Delay > 0 {
		q.s.after(q.fault.Delay, send)
		return
	}
	send()
}

// refused notes a request that breaks the rules of TS 29.229; package cx answers it.
func (s *Server) refused(r *diameter.Request, _ cx.Request, fault *diameter.AVPError) bool {
	command, result := cx.CommandName(r.Command, true), diameter.Base(fault.Code)
	s.count(command, result)
	s.tell(command, "", "", r.OriginHost(), reply{
		result: result, why: fault.Reason, clause: "TS 29.229 6.1", next: "The sender must add or correct the AVP.",
	})
	return false
}

func (h handler) UAR(r *diameter.Request, q *cx.UAR, answer func(*cx.UAA) error) {
	x := request[cx.UAA]{
		s: h.s, command: "UAR", clause: "TS 29.228 6.1.1.1", impi: q.UserName, impu: q.PublicIdentity,
		peer: r, header: func(a *cx.UAA) *cx.AnswerHeader { return &a.AnswerHeader }, answer: answer,
	}
	if !x.begin(&q.RequestHeader) {
		return
	}
	h.s.db.mu.Lock()
	a, reply := h.s.db.uar(h.s.cfg.Domain, q)
	h.s.db.mu.Unlock()
	x.finish(a, reply)
}

func (h handler) LIR(r *diameter.Request, q *cx.LIR, answer func(*cx.LIA) error) {
	x := request[cx.LIA]{
		s: h.s, command: "LIR", clause: "TS 29.228 6.1.4.1", impu: q.PublicIdentity,
		peer: r, header: func(a *cx.LIA) *cx.AnswerHeader { return &a.AnswerHeader }, answer: answer,
	}
	if !x.begin(&q.RequestHeader) {
		return
	}
	h.s.db.mu.Lock()
	a, reply := h.s.db.lir(q)
	h.s.db.mu.Unlock()
	x.finish(a, reply)
}

func (h handler) SAR(r *diameter.Request, q *cx.SAR, answer func(*cx.SAA) error) {
	x := request[cx.SAA]{
		s: h.s, command: "SAR", clause: "TS 29.228 6.1.2.1", impi: q.UserName,
		peer: r, header: func(a *cx.SAA) *cx.AnswerHeader { return &a.AnswerHeader }, answer: answer,
	}
	if len(q.PublicIdentities) > 0 {
		x.impu = q.PublicIdentities[0]
	}
	if !x.begin(&q.RequestHeader) {
		return
	}
	h.s.db.mu.Lock()
	a, reply := h.s.db.sar(q)
	h.s.db.mu.Unlock()
	x.finish(a, reply)
}

func (h handler) MAR(r *diameter.Request, q *cx.MAR, answer func(*cx.MAA) error) {
	x := request[cx.MAA]{
		s: h.s, command: "MAR", clause: "TS 29.228 6.3.1", impi: q.UserName, impu: q.PublicIdentity,
		peer: r, header: func(a *cx.MAA) *cx.AnswerHeader { return &a.AnswerHeader }, answer: answer,
	}
	if !x.begin(&q.RequestHeader) {
		return
	}
	h.s.db.mu.Lock()
	a, reply, save := h.s.db.mar(q, time.Now(), h.s.state != nil)
	if save == nil {
		h.s.db.mu.Unlock()
		x.finish(a, reply)
		return
	}
	// Queued under the lock, so that reservations of one user stay in order.
	h.s.state.reserve(*save, func(err error) {
		if err != nil {
			h.s.unkept.Inc()
			h.s.limited.Log(h.s.deps.Log, zap.ErrorLevel, "unkept", "no vector leaves while its SQN cannot be kept", zap.String("impi", q.UserName), zap.Error(err),
				zap.String("next", "Make room on the disk, or give the HSS a state file that it may write."))
			x.finish(&cx.MAA{}, base(diameter.UnableToComply, "the sequence number could not be stored").
				hint("See the HSS's log: its state file cannot be written."))
			return
		}
		h.s.db.mu.Lock()
		if u := h.s.db.users[save.impi]; u != nil {
			u.reserved = save.sqn
		}
		h.s.db.mu.Unlock()
		x.finish(a, reply)
	})
	h.s.db.mu.Unlock()
}
