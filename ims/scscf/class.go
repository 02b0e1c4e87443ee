package scscf

import (
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// classify says what is refused last under load: what comes to a served user has been
// through its caller's half already, and what an application server returns was let in
// before it went there.
func classify(f sip.Flow, m *sip.Message) admission.Class {
	c := transaction.Class(f, m)
	if c != admission.New || m.Method() == "REGISTER" {
		return c
	}
	if top := m.First(sip.HRoute); strings.Contains(top, ":"+origUser+"@") || strings.Contains(top, ";orig") {
		return admission.New
	}
	return admission.Begun
}
