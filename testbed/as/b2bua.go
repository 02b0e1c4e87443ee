package as

import (
	"strconv"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"
)

const clauseB2BUA = "TS 24.229 5.7.5"

// rewritten are the headers that belong to one of the two dialogs, or to the
// transaction. P-Served-User is what the S-CSCF told us; Authorization of either
// kind was for somebody else.
var rewritten = set("via", "route", "record-route", "max-forwards", "from", "to", "call-id", "cseq",
	"contact", "content-length", "rack", "p-served-user", "path", "authorization", "proxy-authorization")

// answered are those of an answer.
var answered = set("via", "record-route", "from", "to", "call-id", "cseq", "contact", "content-length")

// bridge takes a request of one dialog to the other, or begins the other.
func (s *Server) bridge(in *incoming) {
	if toTag(in.req) != "" {
		e, ok := s.pair(in.req)
		if !ok {
			in.refuse(sip.StatusCallTransactionDoesNotExists, "")
			return
		}
		s.within(in, e)
		return
	}
	hops, ok := forwards(in.req)
	if !ok {
		in.refuse(483, "")
		return
	}
	out, text := s.second(in, hops)
	clause := clauseB2BUA
	if s.cfg.OnBehalfOf != "" {
		clause = "TS 24.229 5.7.3"
	}
	s.decided(in.req, text, clause, zap.String("second_call_id", out.CallID().Value()), zap.Strings("route", values(out, "Route")))

	f := &forks{pairs: make(map[string]*pair)}
	s.relay(in, out, func(res *sip.Response) *sip.Response { return s.initialAnswer(in, out, res, f) })
	// What is early still was refused, or another one has answered.
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pairs {
		if !p.confirmed {
			s.part(p, false)
		}
	}
}

// forks has one dialog on the caller's side for each that forking brings up on the
// other side, by its To tag.
type forks struct {
	mu    sync.Mutex
	pairs map[string]*pair
}

// second is the request that begins the second dialog: the same but for what
// belongs to a dialog. It takes the Route that the first was to take, with the
// original dialog identifier: by that the S-CSCF knows the new dialog (TS 24.229
// 5.4.3.4).
func (s *Server) second(in *incoming, hops int) (out *sip.Request, text string) {
	r := in.req
	from, route := untagged(first(r, "From")), in.route
	text = "b2bua: a second dialog for " + string(r.Method) + ", by the Route behind ours, which holds the original dialog identifier"
	own := rewritten
	if u := s.cfg.OnBehalfOf; u != "" {
		from, route = "<"+u+">", []string{s.originating(in.route)}
		text = "b2bua: " + string(r.Method) + " originates for " + u + ", with `orig` in the Route"
		own = set("p-asserted-identity", "privacy")
		for name := range rewritten {
			own[name] = true
		}
	}
	out = sip.NewRequest(r.Method, r.Recipient)
	for _, v := range route {
		out.AppendHeader(sip.NewHeader("Route", v))
	}
	for _, f := range [][2]string{
		{"Max-Forwards", strconv.Itoa(hops)}, {"From", from + ";tag=" + sip.GenerateTagN(16)}, {"To", first(r, "To")},
		{"Call-ID", sip.GenerateTagN(24)}, {"CSeq", "1 " + string(r.Method)},
	} {
		out.AppendHeader(sip.NewHeader(f[0], f[1]))
	}
	if c := first(r, "Contact"); c != "" {
		out.AppendHeader(s.contact(c))
	}
	if u := s.cfg.OnBehalfOf; u != "" {
		out.AppendHeader(sip.NewHeader("P-Asserted-Identity", "<"+u+">"))
		out.AppendHeader(sip.NewHeader("P-Served-User", "<"+u+">;sescase=orig;regstate=reg"))
	}
	out.AppendHeader(sip.NewHeader(s.cfg.Header, s.cfg.Name))
	others(out, r, own)
	out.SetBody(r.Body())
	return out, text
}

// originating is the Route that asks an S-CSCF for originating services (TS 24.229
// 5.7.3): the configured one, else the host of the first Route that is not ours.
func (s *Server) originating(route []string) string {
	at := s.cfg.SCSCF
	if at == "" && len(route) > 0 {
		if u, ok := addrURI(route[0]); ok {
			at = "sip:" + u.Host
			if u.Port > 0 {
				at += ":" + strconv.Itoa(u.Port)
			}
		}
	}
	return "<" + at + ";lr;orig>"
}

// initialAnswer is an answer to the request that began the second dialog, for the
// first one. The goroutine that reads calls it with a second 200, while another
// may be here with the first.
func (s *Server) initialAnswer(in *incoming, out *sip.Request, res *sip.Response, f *forks) *sip.Response {
	tag := in.tag
	forms := in.req.Method == sip.INVITE || in.req.Method == sip.SUBSCRIBE || in.req.Method == sip.REFER
	dialog := forms && res.StatusCode < 300 && toTag(res) != ""
	if dialog {
		f.mu.Lock()
		p := f.pairs[toTag(res)]
		if p == nil {
			if len(f.pairs) > 0 {
				tag = sip.GenerateTagN(16)
			}
			p = &pair{sides: [2]half{uas(in.req, tag), uac(out, res)}}
			f.pairs[toTag(res)] = p
		}
		p.confirmed = p.confirmed || res.StatusCode >= 200
		f.mu.Unlock()
		if !s.join(p) {
			s.limited.Warn(s.deps.Log, "dialogs", "too many dialogs: this one will not be known")
		}
		p.mu.Lock()
		tag = p.sides[0].localTag
		if c := first(res, "Contact"); c != "" {
			p.sides[1].target = addrText(c)
		}
		p.mu.Unlock()
	}
	answer := in.tagged(res.StatusCode, res.Reason, tag)
	s.carry(answer, res)
	return answer
}

// carry copies to an answer what another one says: a Contact of ours for the peer's,
// but for a redirection, whose Contacts are for the caller.
func (s *Server) carry(answer, res *sip.Response) {
	for _, c := range values(res, "Contact") {
		if res.StatusCode >= 300 {
			answer.AppendHeader(sip.NewHeader("Contact", c))
			continue
		}
		answer.AppendHeader(s.contact(c))
		break
	}
	others(answer, res, answered)
	answer.SetBody(res.Body())
}

// within takes a request from one dialog to the other: offers and answers, PRACK,
// UPDATE, BYE and whatever else pass unchanged.
func (s *Server) within(in *incoming, e end) {
	r, to := in.req, 1-e.side
	hops, ok := forwards(r)
	if !ok {
		in.refuse(483, "")
		return
	}
	e.mu.Lock()
	here, there := &e.sides[e.side], &e.sides[to]
	cseq := r.CSeq().SeqNo
	if int64(cseq) <= here.remoteCSeq {
		e.mu.Unlock()
		in.refuse(sip.StatusInternalServerError, "Server Internal Error: CSeq out of order")
		return
	}
	here.remoteCSeq = int64(cseq)
	there.cseq++
	rack := rewriteRAck(first(r, "RAck"), there.inviteCSeq)
	if r.Method == sip.INVITE {
		here.remoteInvite, there.inviteCSeq = cseq, there.cseq
	}
	contact := first(r, "Contact")
	if contact != "" && (r.Method == sip.INVITE || r.Method == sip.UPDATE) {
		here.target = addrText(contact)
	}
	out, ok := there.request(r.Method, there.cseq, hops)
	e.mu.Unlock()
	if !ok {
		in.refuse(sip.StatusInternalServerError, "Server Internal Error: the other dialog has no Contact")
		return
	}
	if rack != "" {
		out.AppendHeader(sip.NewHeader("RAck", rack))
	}
	if contact != "" {
		out.AppendHeader(s.contact(contact))
	}
	others(out, r, rewritten)
	out.SetBody(r.Body())
	// A dialog is over before its peer hears so, or the next request would find it.
	over := r.Method == sip.BYE || r.Method == sip.NOTIFY && strings.HasPrefix(first(r, "Subscription-State"), "terminated")
	end := func(code int) {
		if over && code >= 200 || code == sip.StatusCallTransactionDoesNotExists {
			s.part(e.pair, true)
		}
	}
	code := s.relay(in, out, func(res *sip.Response) *sip.Response {
		end(res.StatusCode)
		if c := first(res, "Contact"); c != "" && res.StatusCode < 300 && (r.Method == sip.INVITE || r.Method == sip.UPDATE) {
			e.mu.Lock()
			e.sides[to].target = addrText(c)
			e.mu.Unlock()
		}
		answer := in.response(res.StatusCode, res.Reason)
		s.carry(answer, res)
		return answer
	})
	end(code)
}

// bridgeACK takes the ACK to a 2xx to the other dialog, with its answer if the
// offer was in the 2xx.
func (s *Server) bridgeACK(r *sip.Request) {
	e, ok := s.pair(r)
	hops, may := forwards(r)
	if !ok || !may {
		return
	}
	e.mu.Lock()
	here, there := &e.sides[e.side], &e.sides[1-e.side]
	known := r.CSeq().SeqNo == here.remoteInvite
	out, ok := there.request(sip.ACK, there.inviteCSeq, hops)
	e.mu.Unlock()
	if !ok || !known {
		return
	}
	others(out, r, rewritten)
	out.SetBody(r.Body())
	if err := s.post(out); err != nil {
		s.limited.Warn(s.deps.Log, "ack", "ACK not sent on", zap.Error(err))
	}
}

// rewriteRAck puts the CSeq of the other dialog's INVITE into an RAck (RFC 3262
// 7.2). The RSeq is the same in both.
func rewriteRAck(rack string, cseq uint32) string {
	f := strings.Fields(rack)
	if len(f) != 3 {
		return rack
	}
	return f[0] + " " + strconv.FormatUint(uint64(cseq), 10) + " " + f[2]
}
