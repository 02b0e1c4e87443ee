package dialog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/gocscf/gocscf/ims/sip"
)

// received is what the caller knows of the reliable responses to one INVITE (RFC
// 3262 4).
type received struct {
	cseq uint32 // of the INVITE
	last uint32 // RSeq of the last one acknowledged
	any  bool
}

// reliably looks at a provisional response to our INVITE: a reliable one that is
// next in order is acknowledged with PRACK; one that was seen, or that comes
// before its time, is dropped without. deliver hands it on.
func (s *Session) reliably(m *sip.Message, deliver func()) {
	if !m.HasOption(sip.HRequire, "100rel") {
		deliver()
		return
	}
	rseq, err := sip.ParseRSeq(m.Get(sip.HRSeq))
	if err != nil {
		s.dialog.agent.note(s.dialog.CallID, "a reliable response without RSeq is dropped (RFC 3262 4)")
		return
	}
	r := &s.rel
	if r.any && rseq != r.last+1 {
		if rseq > r.last {
			s.dialog.agent.note(s.dialog.CallID, fmt.Sprintf("a reliable response with RSeq %d after %d is out of order and dropped (RFC 3262 4)", rseq, r.last))
		}
		return
	}
	r.any, r.last = true, rseq
	var body Part
	if s.ev.PrackBody != nil {
		body = s.ev.PrackBody(s, m)
	}
	rack := sip.RAck{RSeq: rseq, CSeq: sip.CSeq{Seq: r.cseq, Method: "INVITE"}}
	err = s.dialog.Do("PRACK", body, []sip.Field{{ID: sip.HRAck, Value: rack.String()}}, func(o Outcome) {
		if s.ev.Pracked != nil && !s.ended {
			s.ev.Pracked(s, m, o)
		}
	})
	if err != nil {
		s.dialog.agent.note(s.dialog.CallID, fmt.Sprintf("the PRACK cannot be sent: %v", err))
	}
	deliver()
}

// maxQueue bounds the provisional responses that wait for a PRACK.
const maxQueue = 8

// reliable is what the callee keeps of its reliable responses (RFC 3262 3).
type reliable struct {
	rseq   uint32  // of the last one
	resend *resend // until PRACK
	owed   bool    // the PRACK has come and is not answered yet
	queue  []func()
	answer func() // the 2xx that waits behind
	again  timer  // says every minute that it still rings
}

func (r *reliable) busy() bool { return r.resend != nil || r.owed || len(r.queue) > 0 }

func (r *reliable) stop() {
	if r.resend != nil {
		r.resend.stop()
		r.resend = nil
	}
	r.queue, r.answer = nil, nil
	r.again.stop()
}

// sendReliable sends a provisional response again and again until its PRACK.
func (s *Session) sendReliable(status int, b *sip.Builder) {
	if s.out.rseq == 0 {
		s.out.rseq = 1 + rand.Uint32N(1<<16) // RFC 3262 3: below 2^31, room to count
	} else {
		s.out.rseq++
	}
	b.Add(sip.HRequire, "100rel").Add(sip.HRSeq, strconv.FormatUint(uint64(s.out.rseq), 10))
	data, server := b.Bytes(), s.in.x.Server()
	s.in.send(status, b)
	t := s.dialog.agent.cfg.TimersFor(s.in.Flow)
	s.out.resend = startResend(s.dialog.shard, t, 0, s.dialog.agent.repeats(server, status, data), func() {
		s.out.stop()
		s.dialog.agent.note(s.dialog.CallID, "no PRACK to a reliable response: the INVITE is refused (RFC 3262 3)")
		s.in.Reply(504, "No PRACK", Part{})
		s.end(SessionEnd{Cause: Rejected, Err: ErrNoPrack})
	})
}

// prack takes a PRACK: it must name the response that waits for it.
func (s *Session) prack(in *Incoming) {
	rack, err := sip.ParseRAck(in.Req.Get(sip.HRAck))
	if err != nil {
		in.Reply(400, "Bad RAck", Part{})
		return
	}
	invite := sip.CSeq{}
	if s.in != nil {
		invite, _ = s.in.Req.CSeq()
	}
	if s.out.resend == nil || rack.RSeq != s.out.rseq || rack.CSeq != invite {
		in.Reply(481, "", Part{})
		return
	}
	s.out.resend.stop()
	s.out.resend, s.out.owed = nil, true
	in.after = append(in.after, func(int, *sip.Builder) {
		s.out.owed = false
		s.flush()
	})
	if in.Req.Body() != "" && s.ev.Request != nil {
		s.ev.Request(s, in)
		return
	}
	in.Reply(200, "", Part{})
}

// flush sends what waited for a PRACK, as far as it can leave now.
func (s *Session) flush() {
	for s.out.resend == nil && !s.out.owed && len(s.out.queue) > 0 && !s.ended {
		next := s.out.queue[0]
		s.out.queue = slices.Delete(s.out.queue, 0, 1)
		next()
	}
	if answer := s.out.answer; answer != nil && !s.out.busy() && !s.ended {
		answer()
	}
}
