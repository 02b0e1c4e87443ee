package as

import (
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"
)

// call is a dialog of mode answer.
type call struct {
	half
	acked chan struct{} // closed by the ACK to our 2xx, or when the call is over
}

// understood are the option tags that mode answer need do nothing for.
var understood = set("100rel", "timer")

// answer is the terminating UA.
func (s *Server) answer(in *incoming) {
	r := in.req
	var unknown []string
	for _, tag := range values(r, "Require") {
		if !understood[strings.ToLower(tag)] {
			unknown = append(unknown, tag)
		}
	}
	if len(unknown) > 0 {
		res := in.response(sip.StatusBadExtension, "")
		res.AppendHeader(sip.NewHeader("Unsupported", strings.Join(unknown, ", ")))
		in.respond(res)
		return
	}
	if toTag(r) != "" {
		s.inCall(in)
		return
	}
	switch r.Method {
	case sip.INVITE:
		s.take(in)
	case sip.MESSAGE:
		s.decided(r, "answer: the message ends here", clauseUA)
		in.refuse(sip.StatusOK, "")
	default:
		res := in.response(sip.StatusMethodNotAllowed, "")
		res.AppendHeader(sip.NewHeader("Allow", allow))
		in.respond(res)
	}
}

// take answers a call.
func (s *Server) take(in *incoming) {
	r := in.req
	if s.cfg.Ring > 0 {
		ringing := in.response(sip.StatusRinging, "")
		ringing.AppendHeader(s.contact(""))
		in.respond(ringing)
		select {
		case <-time.After(s.cfg.Ring):
		case <-in.cancelled:
			in.refuse(sip.StatusRequestTerminated, "")
			return
		case <-s.ctx.Done():
			return
		}
	}
	body, err := s.sdp(r)
	if err != nil {
		in.refuse(sip.StatusNotAcceptableHere, "Not Acceptable Here: "+oneLine(err.Error()))
		return
	}
	acked := make(chan struct{})
	c := &call{half: uas(r, in.tag), acked: acked}
	s.mu.Lock()
	full := len(s.calls) >= maxDialogs
	if !full {
		s.calls[c.id()] = c
	}
	s.mu.Unlock()
	if full {
		in.refuse(sip.StatusServiceUnavailable, "Service Unavailable: too many calls")
		return
	}
	s.decided(r, "answer: the call ends here, with 200", clauseUA)
	s.insist(in, c, acked, s.accepted(in, body))
}

// sdp is the answer to the offer in a request, an offer when it has none.
func (s *Server) sdp(r *sip.Request) ([]byte, error) {
	if len(r.Body()) == 0 {
		return offerSDP(s.addr.Addr())
	}
	return answerSDP(r.Body(), s.addr.Addr())
}

// accepted is 200 with a session description, or without one when body is nil.
func (s *Server) accepted(in *incoming, body []byte) *sip.Response {
	res := in.response(sip.StatusOK, "")
	res.AppendHeader(s.contact(""))
	res.AppendHeader(sip.NewHeader("Allow", allow))
	if body != nil {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	}
	res.SetBody(body)
	return res
}

// insist sends a 200 to an INVITE until the ACK comes (RFC 3261 13.3.1.4), and
// hangs up when none does.
func (s *Server) insist(in *incoming, c *call, acked <-chan struct{}, res *sip.Response) {
	end := time.After(64 * sip.T1)
	for wait := sip.T1; ; wait = min(2*wait, sip.T2) {
		in.respond(res)
		select {
		case <-acked:
			return
		case <-time.After(wait):
		case <-end:
			s.forget(c)
			s.decided(in.req, "answer: no ACK came to the 200, so the call is over", "RFC 3261 13.3.1.4")
			s.hangUp(c)
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// hangUp sends a BYE and waits for its end.
func (s *Server) hangUp(c *call) {
	s.mu.Lock()
	c.cseq++
	bye, ok := c.request(sip.BYE, c.cseq, 70)
	s.mu.Unlock()
	if !ok {
		return
	}
	bye.SetBody(nil)
	out, err := s.send(bye, nil)
	if err != nil {
		s.limited.Warn(s.deps.Log, "bye", "BYE not sent", zap.Error(err))
		return
	}
	for {
		select {
		case res := <-out.tx.Responses():
			if !res.IsProvisional() {
				return
			}
		case <-out.tx.Done():
			return
		case <-s.ctx.Done():
			out.tx.Terminate()
			return
		}
	}
}

// forget ends a call on our side; false when it was over already.
func (s *Server) forget(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id()] != c {
		return false
	}
	delete(s.calls, c.id())
	c.acknowledge()
	return true
}

// acknowledge is called with the server's lock held.
func (c *call) acknowledge() {
	select {
	case <-c.acked:
	default:
		close(c.acked)
	}
}

func (s *Server) acknowledged(r *sip.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.calls[idOf(r)]; c != nil && r.CSeq().SeqNo == c.remoteInvite {
		c.acknowledge()
	}
}

// inCall answers a request within a call.
func (s *Server) inCall(in *incoming) {
	r := in.req
	s.mu.Lock()
	c := s.calls[idOf(r)]
	s.mu.Unlock()
	if c == nil {
		in.refuse(sip.StatusCallTransactionDoesNotExists, "")
		return
	}
	switch r.Method {
	case sip.BYE:
		s.forget(c)
		s.decided(r, "answer: the call is over", clauseUA)
		in.refuse(sip.StatusOK, "")
	case sip.INVITE, sip.UPDATE:
		var body []byte
		var err error
		if r.Method == sip.INVITE || len(r.Body()) > 0 {
			body, err = s.sdp(r)
		}
		if err != nil {
			in.refuse(sip.StatusNotAcceptableHere, "Not Acceptable Here: "+oneLine(err.Error()))
			return
		}
		s.mu.Lock()
		if u := addrText(first(r, "Contact")); u != "" {
			c.target = u
		}
		if r.Method == sip.INVITE {
			c.remoteInvite, c.acked = r.CSeq().SeqNo, make(chan struct{})
		}
		acked := c.acked
		s.mu.Unlock()
		if r.Method == sip.INVITE {
			s.insist(in, c, acked, s.accepted(in, body))
			return
		}
		in.respond(s.accepted(in, body))
	default:
		in.refuse(sip.StatusOK, "")
	}
}
