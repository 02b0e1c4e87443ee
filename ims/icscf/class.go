package icscf

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// classify says what is refused last under load: a call or a message on its way to the
// called user has been through its caller's half already. Outside of the trust domain
// nobody is in a dialog that leads here, see admit, and the priority that somebody asks
// for is none.
func (s *Server) classify(f sip.Flow, m *sip.Message) admission.Class {
	c := transaction.Class(f, m)
	if m.Method() == "REGISTER" {
		return c
	}
	outside := c == admission.Vital && !s.cfg.Trusted.Has(f.Remote.Addr())
	switch {
	case outside && m.ToTag() != "":
		return admission.New
	case c == admission.New, outside && transaction.ByPriority(m):
		return admission.Begun
	}
	return c
}
