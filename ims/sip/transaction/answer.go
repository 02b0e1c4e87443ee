package transaction

import (
	"hash/maphash"
	"strconv"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// malformed answers a request that sip.Validate refuses, without a transaction
// and not faster than Config.RejectRate; ACKs and what cannot be addressed are
// dropped. It takes s back.
func (l *Layer) malformed(s *Server, p *sip.Problem) {
	defer l.recycle(s)
	raw := s.msg.Raw()
	via, err := s.msg.TopVia()
	switch {
	case p.Status == 0 || s.msg.Method() == "ACK" || err != nil || !s.arrive(l, &via):
		l.drop(&l.count.malformed, s.Flow, raw, p.Detail)
	case !l.rejects.Allow(l.Now()):
		l.drop(&l.count.rateLimited, s.Flow, raw, "rate limit: "+p.Detail)
	default:
		l.count.badRequests.Add(1)
		l.answer(s, p.Status, p.Reason, p.Detail)
	}
}

// unavailable turns a request away with 503.
func (l *Layer) unavailable(s *Server, why string) {
	l.count.unavailable.Add(1)
	l.answer(s, 503, "", why)
}

// answer sends a response that leaves no state behind. Its To tag is a function
// of the request, so that a retransmission gets the same one, and begins with a
// prefix by which the ACK is known (RFC 3261 §8.2.7).
func (l *Layer) answer(s *Server, status int, reason, why string) {
	m := &s.msg
	b := sip.NewResponse(m, status, reason, l.statelessTag(s))
	if status == 503 {
		b.Add(sip.HRetryAfter, strconv.Itoa(l.retryAfter(s)))
	}
	data := b.Buffer()
	b.Free()
	l.cfg.Sender.Send(s.to, data.Bytes(), nil)
	data.Free()
	if o := l.cfg.Observer; o != nil && why != "" {
		o.Rejected(s.Flow, m.Raw(), status, why)
	}
}

// retryAfter is Config.RetryAfter in whole seconds, at least 1, up to twice that by the
// call: a retransmission gets the same.
func (l *Layer) retryAfter(s *Server) int {
	least := max(1, int((l.cfg.RetryAfter+time.Second-1)/time.Second))
	return least + int(maphash.String(l.seed, s.msg.CallID())%uint64(least+1))
}

func (l *Layer) statelessTag(s *Server) string {
	h := maphash.String(l.seed, s.msg.CallID()) ^ maphash.String(l.seed, s.branch)
	return l.tagPrefix + strconv.FormatUint(h, 36)
}

// makeTrying builds the 100 to a request: without an allocation, since every INVITE
// gets one (RFC 3261 §8.2.6.1).
func makeTrying(m *sip.Message) *sip.Buffer {
	const start, end = "SIP/2.0 100 Trying\r\n", "Content-Length: 0\r\n\r\n"
	n := len(start) + len(end)
	wanted := func(id sip.ID) bool {
		switch id {
		case sip.HVia, sip.HFrom, sip.HTo, sip.HCallID, sip.HCSeq, sip.HTimestamp:
			return true
		}
		return false
	}
	for i := range m.Len() {
		if id, name, value := m.Line(i); wanted(id) {
			n += len(name) + len(value) + 4
		}
	}
	b := sip.NewBuffer(n)
	b.Append(start)
	for i := range m.Len() {
		if id, name, value := m.Line(i); wanted(id) {
			b.Append(name, ": ", value, "\r\n")
		}
	}
	b.Append(end)
	return b
}
