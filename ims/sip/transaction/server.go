package transaction

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// Server is a request that the User has to answer, and its transaction. Methods
// are for the shard's goroutine.
type Server struct {
	Req   *sip.Message // top Via completed with received and rport
	Flow  sip.Flow     // how it came
	Shard *Shard
	Data  any // the User's

	to, fallback sip.Flow
	tx           *tx // nil once the transaction has ended or needs its User no more
	onEnd        []func()
	err          error
	status       int
	shed         string        // why it was not to be let in when it arrived
	came         int64         // when it was read, as Layer.Now has it; with Config.Admission only
	kernel       time.Duration // how long it had waited by then
	since        int64         // from when on Admission counts it as under way
	silence      Timer         // takes it out of the count where nobody answers

	// Small ones together: one octet more and each takes an eighth more of the heap.
	cancelled bool
	retired   bool // Client.Retire has taken its transaction
	class     admission.Class
	classed   bool             // class is right
	token     bool             // Admission may have taken one for it
	under     admission.Lane   // in which Admission counts it as under way
	unheard   bool             // and has taken it out again
	why       admission.Reason // with shed
	port      uint16           // of the top Via, as the next two

	// Of the top Via, for the key.
	host, branch string

	msg  sip.Message // Req points here: one allocation for both
	room sip.Room    // of msg
}

// reset clears all but the message, which must not be copied.
func (s *Server) reset() {
	s.Req, s.Flow, s.Shard, s.Data = nil, sip.Flow{}, nil, nil
	s.to, s.fallback = sip.Flow{}, sip.Flow{}
	s.tx, s.onEnd, s.err, s.status = nil, nil, nil, 0
	s.cancelled, s.retired, s.shed, s.came, s.kernel, s.class, s.classed, s.token, s.under, s.since, s.why = false, false, "", 0, 0, 0, false, false, admission.NoLane, 0, 0
	s.silence, s.unheard = Timer{}, false
	s.host, s.branch, s.port = "", "", 0
}

// arrive completes the top Via, which is v, and finds out where the response goes. It
// reports false when nobody can be answered.
func (s *Server) arrive(l *Layer, v *sip.Via) bool {
	if !s.Flow.Remote.IsValid() {
		return false
	}
	s.to, s.fallback = l.responseFlows(s.Flow, v)
	if !completeVia(&s.msg, v, s.Flow.Remote) {
		return false
	}
	s.host, s.port, s.branch = v.Host, v.Port, v.Branch
	return true
}

// ResponseFlow returns where responses go.
func (s *Server) ResponseFlow() sip.Flow { return s.to }

// Status returns the status code of the last response sent by Respond, 0 before.
func (s *Server) Status() int { return s.status }

// Cancelled reports whether a CANCEL has come.
func (s *Server) Cancelled() bool { return s.cancelled }

// Err tells, in OnEnd, why the transaction failed: ErrNoAck, ErrTimeout (never
// answered) or the last error of the transport; nil when it ended as it should.
func (s *Server) Err() error { return s.err }

// Respond sends a response, data being all of it with this status code, and the
// caller's again when it returns. What
// the state does not allow is ignored: a second final, a provisional after the
// final, a provisional other than 100 to a non-INVITE, and a 100 to one over UDP
// (the layer sends it by itself when it is due: RFC 4320 §4.1). After a 2xx to
// an INVITE further 2xx pass.
func (s *Server) Respond(status int, data []byte) {
	switch {
	case s.tx != nil && s.tx.reliable && sip.TooLarge(data):
		s.tooLarge(status, data)
	case s.tx != nil:
		s.respond(reply{status: status, data: data})
	case s.retired && status >= 200 && status < 300:
		s.Shard.relayAgain(s.to, s.fallback, data)
	}
}

// RespondBuffer is Respond for what is in a Buffer, which is shared where it would be
// copied. The caller has it still, and must not change it.
func (s *Server) RespondBuffer(status int, b *sip.Buffer) {
	if s.tx == nil || s.tx.reliable && sip.TooLarge(b.Bytes()) {
		s.Respond(status, b.Bytes())
		return
	}
	s.respond(reply{status: status, data: b.Bytes(), buffer: b})
}

// reply is a response on its way into a transaction.
type reply struct {
	status int
	data   []byte
	buffer *sip.Buffer // that data is in; nil: somebody else's memory
}

func (s *Server) respond(r reply) {
	if r.status > 100 {
		s.Shard.layer.left(s)
	}
	s.tx.serverEvent(statusEvent(r.status), r, nil)
}

// tooLarge puts a 500 in the place of a final response that the peer could not take from
// a stream: it would end the connection with what others have there, and by its
// repetition the next one.
func (s *Server) tooLarge(status int, data []byte) {
	if o := s.Shard.layer.cfg.Observer; o != nil {
		o.Dropped(s.to, string(data), "a response of "+strconv.Itoa(len(data))+" octets, too large for a stream")
	}
	if status < 200 {
		return
	}
	b := sip.NewResponse(s.Req, 500, "Response Too Large", s.StatelessTag())
	s.respond(reply{status: 500, data: b.Bytes()})
	b.Free()
}

// Abandon ends the transaction without an answer, as RFC 4320 §4.2 asks when a
// non-INVITE was not answered downstream in time. A final response makes it void.
func (s *Server) Abandon() {
	if s.tx != nil {
		s.tx.serverEvent(evAbandon, reply{}, nil)
	}
}

// OnEnd calls fn on the shard when the transaction has left its table. Call it
// before the final response: after it, fn runs at once when the event in hand is
// done, because a transaction that only repeats its answer has forgotten its
// Server.
func (s *Server) OnEnd(fn func()) {
	if s.tx == nil {
		s.Shard.later = append(s.Shard.later, fn)
		return
	}
	s.onEnd = append(s.onEnd, fn)
}

// serverEvent steps a server transaction and does what the machine asks, except
// delivery, which is its caller's.
func (t *tx) serverEvent(ev event, r reply, err error) actions {
	sh, s := t.shard, t.server
	a := t.advance(ev, len(r.data))
	switch {
	case a.do&doSendNew != 0:
		t.borrow(r)
		s.status = r.status
	case a.do&doSend100 != 0:
		t.own(makeTrying(s.Req))
	}
	if a.do&(doSend|doSendNew|doSend100) != 0 && t.last != nil {
		t.sendResponse()
	}
	if a.do&doTimeout != 0 && s != nil {
		if s.err = ErrTimeout; t.kind == inviteServer {
			s.err = ErrNoAck
		}
	}
	if a.do&doError != 0 && s != nil {
		s.err = err
	}
	switch {
	case a.do&doEnd != 0:
		if s != nil {
			sh.layer.left(s)
			t.letGo()
			sh.later = append(sh.later, s.onEnd...)
			s.onEnd = nil
		}
		sh.release(sh.servers, &sh.layer.count.servers, t)
	case t.state == completed && s != nil && len(s.onEnd) == 0:
		// Only the response is needed from here on, and it may be for long: an ACK
		// that never comes is awaited for 128 s on Gm.
		t.letGo()
		if t.linger > 0 {
			sh.pass(sh.servers, &sh.layer.count.servers, t)
		}
	case t.state == confirmed:
		if t.linger > 0 {
			t.forgetLast()
			t.letGo()
			sh.pass(sh.servers, &sh.layer.count.servers, t)
		}
	case t.state == accepted:
		t.forgetLast() // nothing is sent again but by its maker
	}
	t.keep() // unless it has ended, and is a record for reuse
	t.weigh()
	return a
}

// sendResponse sends the last response. On a stream its connection may be gone;
// then it is tried once more on another one to the address in the Via. On
// datagrams nobody listens for failures: the client's retransmission is the remedy.
func (t *tx) sendResponse() {
	sh, s := t.shard, t.server
	var fail func(error)
	if t.reliable && s != nil {
		data, to := bytes.Clone(t.last), t.to // on a stream the Sender may need long to see that it is broken
		fail = func(err error) {
			sh.Post(func() { sh.responseFailed(s, to, data, err) })
		}
	}
	sh.layer.send(t.to, t.last, t.kept, fail)
}

func (sh *Shard) responseFailed(s *Server, to sip.Flow, data []byte, err error) {
	if to != s.fallback {
		s.to = s.fallback
		if s.tx != nil {
			s.tx.to = s.fallback
		}
		sh.layer.cfg.Sender.Send(s.fallback, data, func(err error) {
			sh.Post(func() { sh.responseFailed(s, s.fallback, data, err) })
		})
		return
	}
	if s.tx != nil {
		s.tx.serverEvent(evTransportError, reply{}, err)
	}
}

// request takes a request from the inbox: a retransmission, an ACK, a CANCEL, or
// a new transaction.
func (sh *Shard) request(s *Server) {
	l, m := sh.layer, &s.msg
	s.Shard = sh
	legacy := sh.serverKey(s)
	pre := len(sh.scratch)
	hash := sh.hash(sh.scratch)
	find := sh.servers.findPrefix
	own := m.Method() != "ACK" && m.Method() != "CANCEL"
	if own {
		sh.scratch = append(append(sh.scratch, 0), m.Method()...)
		find = sh.servers.find
	}
	t := find(hash, sh.scratch)
	var done record // or what is left of one
	if t == nil {
		if own {
			done = sh.past.find(serverKind(m.Method()), hash, sh.scratch)
		} else {
			done = sh.past.findPrefix(hash)
		}
	}
	if t != nil && !t.admits(s.Flow) || done != nil && !l.admits(done.flow(), s.Flow) {
		l.drop(&l.count.unprotected, s.Flow, m.Raw(), "by another way than its transaction goes")
		l.recycle(s)
		return
	}
	switch {
	case m.Method() == "ACK":
		sh.requestAck(s, t, done)
		return
	case !own:
		sh.requestCancel(s, t, t != nil || done != nil)
		return
	case done != nil:
		if done.kind() == nonInviteServer {
			to, data := done.response()
			l.cfg.Sender.Send(to, data, nil)
		}
		l.absorbed(s.Flow, m)
		l.recycle(s)
		return
	case t != nil:
		t.serverEvent(evRequest, reply{}, nil)
		l.absorbed(s.Flow, m)
		l.recycle(s)
		return
	case sh.crowded(hash):
		l.answer(s, 400, "", "a branch of too many requests")
		l.recycle(s)
		return
	case !l.lets(s):
		l.unavailable(s, s.shed)
		l.recycle(s)
		return
	case l.draining.Load() && m.ToTag() == "":
		l.unavailable(s, "shutting down")
		l.recycle(s)
		return
	}

	k := serverKind(m.Method())
	t = sh.newTx(k, s.Flow, l.cfg.TimersFor(s.Flow))
	t.key, t.pre, t.legacy = append(t.key[:0], sh.scratch...), pre, legacy
	t.to = s.to
	t.hold(s)
	if k == inviteServer && !l.cfg.NoTrying && l.cfg.LateTrying != nil && l.cfg.LateTrying(s.Flow, m) {
		t.late = max(0, lateTrying-s.waited())
	}
	if s.under == admission.Calls {
		s.silence = sh.AfterWith(admission.Silence, unheardOf, s)
	}
	sh.servers.insert(t, hash)
	l.count.servers.Add(1)
	t.serverEvent(evStart, reply{}, nil)
	trying := k == inviteServer && !l.cfg.NoTrying && t.late == 0
	stranger := s.Flow.Role == sip.RoleGm && !t.reliable
	if trying && !stranger {
		s.trying()
	}
	l.cfg.User.Request(s)
	// Who may be forgotten with his answer gets no 100 before it (RFC 3261 8.2.7): it
	// would end his retransmissions, and nobody would miss an answer that is lost.
	if trying && stranger && s.tx == t && s.status == 0 {
		s.trying()
	}
}

// maxSharing is how many transactions may share a branch and sent-by. RFC 3261 8.1.1.7
// has each request, but CANCEL and ACK, with a branch of its own; those that share one
// are looked through one by one.
const maxSharing = 32

// crowded reports whether no more may share the prefix with that hash.
func (sh *Shard) crowded(hash uint64) bool {
	n := 0
	for t := sh.servers[hash]; t != nil && n < maxSharing; t = t.next {
		n++
	}
	for place := sh.past.first(hash); place != 0 && n < maxSharing; place = sh.past.at(place - 1).next() {
		n++
	}
	return n >= maxSharing
}

// Trying answers an INVITE with 100 that has none yet, by Config.LateTrying: the next hop
// has taken it.
func (s *Server) Trying() {
	if s.tx != nil && s.tx.late > 0 {
		s.trying()
	}
}

// trying answers an INVITE with 100.
func (s *Server) trying() {
	b := makeTrying(s.Req)
	defer b.Free()
	s.tx.serverEvent(evTrying, reply{100, b.Bytes(), b}, nil)
	s.status = 0 // the User's last, not ours
}

func serverKind(method string) kind {
	if method == "INVITE" {
		return inviteServer
	}
	return nonInviteServer
}

func (sh *Shard) requestAck(s *Server, t *tx, done record) {
	l := sh.layer
	if done != nil && done.kind() == inviteServer && done.state() == confirmed {
		l.absorbed(s.Flow, &s.msg)
		l.recycle(s)
		return
	}
	if t != nil && t.kind == inviteServer && (!t.legacy || t.answeredWith(s.msg.ToTag())) {
		if t.serverEvent(evAck, reply{}, nil).do&doDeliver == 0 {
			l.absorbed(s.Flow, &s.msg)
			l.recycle(s)
			return
		}
	} else if strings.HasPrefix(s.msg.ToTag(), l.tagPrefix) {
		l.absorbed(s.Flow, &s.msg) // to what was answered without a transaction
		l.recycle(s)
		return
	}
	l.cfg.User.Ack(sh, s.Flow, s.Req)
}

// requestCancel answers a CANCEL (RFC 3261 §9.2). It needs no transaction of its
// own: a retransmission finds the same INVITE and gets the same answer.
func (sh *Shard) requestCancel(s *Server, t *tx, known bool) {
	l := sh.layer
	if !known {
		l.answer(s, 481, "", "CANCEL without transaction")
		l.recycle(s)
		return
	}
	l.answer(s, 200, "", "")
	if t == nil {
		l.recycle(s)
		return
	}
	inv := t.server
	if t.kind != inviteServer || t.state != proceeding || inv.cancelled {
		l.recycle(s)
		return
	}
	inv.cancelled = true
	l.cfg.User.Cancel(inv, s.Req)
}

// serverKey puts the key that a request shares with its ACK and CANCEL into
// scratch (RFC 3261 §17.2.3) and reports whether it is that of RFC 2543.
func (sh *Shard) serverKey(s *Server) (legacy bool) {
	b := sh.scratch[:0]
	if len(s.branch) > len(sip.MagicCookie) && strings.EqualFold(s.branch[:len(sip.MagicCookie)], sip.MagicCookie) {
		b = append(b, s.branch...)
		b = append(b, 0)
		for i := range len(s.host) {
			c := s.host[i]
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			b = append(b, c)
		}
		b = strconv.AppendUint(append(b, ':'), uint64(s.port), 10)
		sh.scratch = b
		return false
	}
	m := &s.msg
	cseq, _ := m.CSeq()
	b = append(append(b, m.RequestURI()...), 0)
	b = append(append(b, m.CallID()...), 0)
	b = append(append(b, m.FromTag()...), 0)
	b = append(append(b, m.First(sip.HVia)...), 0)
	b = strconv.AppendUint(b, uint64(cseq.Seq), 10)
	sh.scratch = b
	return true
}

// answeredWith reports whether the last response carries that To tag, which
// RFC 2543 needs to tell the ACK to it from others.
func (t *tx) answeredWith(tag string) bool {
	m, err := sip.Parse(string(t.last))
	return err == nil && m.ToTag() == tag
}
