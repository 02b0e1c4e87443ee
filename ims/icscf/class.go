package icscf

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// classify says what is refused last under load: a call or a message on its way to the
// called user has been through its caller's half already. The priority that somebody
// outside of the trust domain asks for is none.
func (s *Server) classify(f sip.Flow, m *sip.Message) admission.Class {
	c := transaction.Class(f, m)
	if m.Method() == "REGISTER" {
		return c
	}
	if c == admission.New || transaction.ByPriority(m) && !s.cfg.Trusted.Has(f.Remote.Addr()) {
		return admission.Begun
	}
	return c
}
