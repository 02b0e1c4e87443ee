package icscf

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// classify says what is refused last under load: a call or a message on its way to the
// called user has been through its caller's half already.
func classify(f sip.Flow, m *sip.Message) admission.Class {
	c := transaction.Class(f, m)
	if c == admission.New && m.Method() != "REGISTER" {
		return admission.Begun
	}
	return c
}
