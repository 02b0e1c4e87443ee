package pcscf

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// classify says what is refused last under load: what comes to a phone has come a long
// way already.
func classify(f sip.Flow, m *sip.Message) admission.Class {
	c := transaction.Class(f, m)
	if c == admission.New && f.Role == sip.RoleCore {
		return admission.Begun
	}
	return c
}
