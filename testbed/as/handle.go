package as

import (
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// allow lists what mode answer understands.
const allow = "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO, MESSAGE, OPTIONS, REGISTER"

const clauseUA = "TS 24.229 5.7.2"

// handle answers one request. It returns when the final answer has been sent.
func (s *Server) handle(in *incoming) {
	switch {
	case in.req.Method == sip.REGISTER:
		s.register(in)
		return
	case in.req.Method == sip.OPTIONS && s.meant(in.req):
		res := in.response(sip.StatusOK, "")
		res.AppendHeader(sip.NewHeader("Allow", allow))
		in.respond(res)
		return
	}
	switch s.cfg.Mode {
	case Proxy:
		s.proxy(in)
	case B2BUA:
		s.bridge(in)
	case Redirect:
		s.decided(in.req, "redirect: "+string(in.req.Method)+" shall go to "+s.cfg.Target, clauseUA)
		res := in.response(sip.StatusMovedTemporarily, "")
		res.AppendHeader(sip.NewHeader("Contact", "<"+s.cfg.Target+">"))
		in.respond(res)
	case Reject:
		s.decided(in.req, "reject: "+string(in.req.Method)+" gets "+strconv.Itoa(s.cfg.Status), clauseUA)
		in.refuse(s.cfg.Status, s.cfg.Reason)
	case Answer:
		s.answer(in)
	default:
		s.decided(in.req, "register-only: no "+string(in.req.Method), clauseUA)
		res := in.response(sip.StatusMethodNotAllowed, "")
		res.AppendHeader(sip.NewHeader("Allow", "REGISTER, OPTIONS"))
		in.respond(res)
	}
}

// onACK takes the ACK to a 2xx.
func (s *Server) onACK(r *sip.Request) {
	switch s.cfg.Mode {
	case Proxy:
		s.proxyACK(r)
	case B2BUA:
		s.bridgeACK(r)
	case Answer:
		s.acknowledged(r)
	}
}

// register remembers what a third-party REGISTER tells (TS 24.229 5.4.1.7).
func (s *Server) register(in *incoming) {
	r := in.req
	if s.cfg.RegisterStatus >= 300 {
		s.decided(r, "a third-party REGISTER gets "+strconv.Itoa(s.cfg.RegisterStatus)+", as configured", "")
		in.refuse(s.cfg.RegisterStatus, "")
		return
	}
	g := Registration{
		Time: time.Now(), IMPU: addrText(first(r, "To")), SCSCF: addrText(first(r, "From")),
		Contact: first(r, "Contact"), CallID: r.CallID().Value(),
		ContentType: first(r, "Content-Type"), Body: string(r.Body()),
	}
	expires := strings.TrimSpace(first(r, "Expires"))
	n, err := strconv.ParseUint(expires, 10, 31)
	if err != nil {
		n = 3600
	}
	g.Expires = int(n)
	s.seen.registered(g)
	s.decided(r, "the S-CSCF tells that "+g.IMPU+" is registered for "+strconv.Itoa(g.Expires)+" s", "TS 24.229 5.4.1.7")
	res := in.response(s.cfg.RegisterStatus, "")
	for _, c := range values(r, "Contact") {
		res.AppendHeader(sip.NewHeader("Contact", c))
	}
	res.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(g.Expires)))
	in.respond(res)
}
