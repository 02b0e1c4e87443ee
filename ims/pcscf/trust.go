package pcscf

import (
	"fmt"
	"net/netip"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// trusts reports whether who sends over f may: everybody may try to be a phone, and
// only a node of the trust domain be the core (TS 24.229 4.4). A phone that reaches Mw
// has read there, in Via and Record-Route, all that it needs to speak for the core.
func (s *Server) trusts(f sip.Flow) bool {
	return f.Role != sip.RoleCore || s.cfg.Trusted.Has(f.Remote.Addr())
}

// trusting says who may be the core.
func (c *Config) trusting() string {
	if len(c.Trusted) == 0 {
		return "Whoever reaches listen.mw may be the core (trusted is empty): keep phones from there, or name the core's networks."
	}
	return fmt.Sprintf("Only nodes in %v may be the core.", []netip.Prefix(c.Trusted))
}

// admit refuses a request at Mw from outside of the trust domain. It reports whether
// the request goes on.
func (s *Server) admit(x *proxy.Exchange) bool {
	if s.trusts(x.Flow) {
		return true
	}
	s.verdicts.Refuse(x, node.Refusal{Status: 403, Cause: "untrusted", Clause: "TS 24.229 4.4",
		Text: "A " + x.Req.Method() + " from " + x.Flow.Remote.Addr().String() + " comes to listen.mw, and that address is not of the trust domain.",
		Next: "If it is a node of yours, name its network in trusted of the P-CSCF's configuration; phones have no business there."})
	return false
}
