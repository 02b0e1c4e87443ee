package scscf

import (
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// classify says what is refused last under load: what comes to a served user has been
// through its caller's half already, and what an application server returns was let in
// before it went there. The priority that a phone asks for counts if its user may have it,
// that of others if they are of the trust domain.
func (s *Server) classify(f sip.Flow, m *sip.Message) admission.Class {
	c := transaction.Class(f, m)
	if m.Method() == "REGISTER" {
		return c
	}
	top := m.First(sip.HRoute)
	ofPhone, ofServer := strings.Contains(top, ":"+origUser+"@"), strings.Contains(top, ";orig")
	vital := c == admission.Vital
	if vital && transaction.ByPriority(m) {
		vital = s.cfg.Trusted.Has(f.Remote.Addr()) && (!ofPhone || ofServer || s.mayHavePriority(m))
	}
	switch {
	case vital:
		return admission.Vital
	case ofPhone, ofServer:
		return admission.New
	}
	return admission.Begun
}
