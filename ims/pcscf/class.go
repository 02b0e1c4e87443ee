package pcscf

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// classify says what is refused last under load: what comes to a phone has come a long
// way already. A call to a number of emergency.numbers is an emergency call, as one to
// urn:service:sos is.
func (s *Server) classify(f sip.Flow, m *sip.Message) admission.Class {
	switch c := transaction.Class(f, m); {
	case c != admission.New:
		return c
	case f.Role == sip.RoleCore:
		return admission.Begun
	case m.Method() == "INVITE" && s.cfg.Emergency.service(m.RequestURI(), s.cfg.Domain) != "":
		return admission.Vital
	default:
		return c
	}
}

// underWay says for what the core's answers tell how busy it is: a REGISTER is answered
// by the home network alone, and at once, while the answer to a call or a message is a
// phone's.
func underWay(f sip.Flow, m *sip.Message) bool {
	return m.Method() == "REGISTER" && f.Role != sip.RoleCore
}
