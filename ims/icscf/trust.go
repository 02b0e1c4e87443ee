package icscf

import (
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// admit deals with a request from outside of the trust domain: it may ask for a user
// of ours, and for nothing else, and nothing that it says of its sender counts (TS
// 24.229 4.4, 5.3.1.1, 5.3.2.1). What says that it is within a dialog would be carried
// anywhere, and with an INVITE for as long as somebody there lets it ring. It reports
// whether the request goes on.
func (s *Server) admit(x *proxy.Exchange) bool {
	if s.cfg.Trusted.Has(x.Flow.Remote.Addr()) {
		return true
	}
	if x.Req.Method() == "REGISTER" || x.Route.HasParam("orig") {
		what := "acts for a user of ours"
		if x.Req.Method() == "REGISTER" {
			what = "registers a user of ours"
		}
		s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "untrusted", Clause: "TS 24.229 5.3.1.1",
			Text: "A " + x.Req.Method() + " from " + x.Flow.Remote.Addr().String() + " " + what + ", and that address is not of the trust domain.",
			Next: "If it is a P-CSCF or application server of yours, or a partner's, name its network in trusted of the I-CSCF's configuration."})
		return false
	}
	if x.Req.ToTag() != "" {
		s.verdicts.Refuse(x, node.Refusal{Status: 481, Cause: "untrusted", Clause: "TS 24.229 5.3.2.1",
			Text: "A " + x.Req.Method() + " within a dialog comes from " + x.Flow.Remote.Addr().String() + ", which is not of the trust domain: an I-CSCF is in no dialog's route.",
			Next: "The peer must send along the Record-Route of the dialog. If it is a node of yours, or a partner's, name its network in trusted of the I-CSCF's configuration."})
		return false
	}
	s.verdicts.Decide(x, "From outside of the trust domain: who its sender is does not count.", "TS 24.229 4.4")
	node.Arriving(&x.Edits, x.Req)
	x.OnResponse(func(_ *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
		node.Leaving(e, m)
		return true
	})
	return true
}
