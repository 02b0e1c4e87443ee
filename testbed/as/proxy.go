package as

import (
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"
)

const clauseProxy = "TS 24.229 5.7.4"

// routes are the Route values of a request but for those at the top that led here
// (RFC 3261 16.4).
func (s *Server) routes(r *sip.Request) []string {
	list := values(r, "Route")
	for len(list) > 0 {
		if u, ok := addrURI(list[0]); !ok || !s.mine(u) {
			break
		}
		list = list[1:]
	}
	return list
}

// meant reports whether a request asks for this server itself.
func (s *Server) meant(r *sip.Request) bool {
	return toTag(r) == "" && len(s.routes(r)) == 0 && s.mine(r.Recipient)
}

// forwarded are the headers that a proxy writes itself.
var forwarded = set("via", "route", "max-forwards", "content-length")

// proxied is the request that a proxy sends on, without our Via; code is not 0 when
// it must refuse instead.
func (s *Server) proxied(r *sip.Request, route []string) (out *sip.Request, code int, reason string) {
	hops, ok := forwards(r)
	if !ok {
		return nil, 483, ""
	}
	if need := values(r, "Proxy-Require"); len(need) > 0 {
		return nil, sip.StatusBadExtension, ""
	}
	out = sip.NewRequest(r.Method, r.Recipient)
	for _, v := range values(r, "Via") {
		out.AppendHeader(sip.NewHeader("Via", v))
	}
	for _, v := range route {
		out.AppendHeader(sip.NewHeader("Route", v))
	}
	if s.cfg.RecordRoute && toTag(r) == "" && !r.IsAck() {
		out.AppendHeader(sip.NewHeader("Record-Route", "<"+s.URI()+";lr>"))
	}
	out.AppendHeader(sip.NewHeader("Max-Forwards", strconv.Itoa(hops)))
	out.AppendHeader(sip.NewHeader(s.cfg.Header, s.cfg.Name))
	others(out, r, forwarded)
	out.SetBody(r.Body())
	return out, 0, ""
}

// forwards is the Max-Forwards of the request that follows; false when that may go
// nowhere.
func forwards(r *sip.Request) (int, bool) {
	text := strings.TrimSpace(first(r, "Max-Forwards"))
	n, err := strconv.Atoi(text)
	switch {
	case err != nil: // missing, or nothing that counts
		return 70, true
	case n <= 0:
		return 0, false
	}
	return min(n, 255) - 1, true
}

// proxy sends a request on and the answers back.
func (s *Server) proxy(in *incoming) {
	out, code, reason := s.proxied(in.req, in.route)
	if code != 0 {
		s.refuseForwarding(in, code, reason)
		return
	}
	if toTag(in.req) == "" {
		text := "proxy: " + string(in.req.Method) + " goes to its Request-URI"
		if len(in.route) > 0 {
			text = "proxy: " + string(in.req.Method) + " goes back to the S-CSCF by the Route behind ours, which holds the original dialog identifier"
		}
		s.decided(in.req, text, clauseProxy, zap.Strings("route", in.route))
	}
	s.relay(in, out, func(res *sip.Response) *sip.Response {
		answer := sip.NewResponse(res.StatusCode, res.Reason)
		ours := true
		for _, h := range res.Headers() {
			switch {
			case h.Name() == "Via" && ours:
				ours = false
			case h.Name() != "Content-Length":
				answer.AppendHeader(sip.NewHeader(h.Name(), h.Value()))
			}
		}
		answer.SetBody(res.Body())
		return answer
	})
}

// refuseForwarding answers a request that may not be sent on.
func (s *Server) refuseForwarding(in *incoming, code int, reason string) {
	res := in.response(code, reason)
	if code == sip.StatusBadExtension {
		res.AppendHeader(sip.NewHeader("Unsupported", strings.Join(values(in.req, "Proxy-Require"), ", ")))
	}
	in.respond(res)
}

// proxyACK sends the ACK to a 2xx on.
func (s *Server) proxyACK(r *sip.Request) {
	out, code, _ := s.proxied(r, s.routes(r))
	if code != 0 {
		return // an ACK has no answer
	}
	if err := s.post(out); err != nil {
		s.limited.Warn(s.deps.Log, "ack", "ACK not sent on", zap.Error(err))
	}
}
