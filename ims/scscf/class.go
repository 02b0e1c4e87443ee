package scscf

import (
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/uri"
)

// classify says what is refused last under load: what comes to a served user has been
// through its caller's half already, and what an application server returns was let in
// before it went there. The priority that a phone asks for counts if its user may have it,
// that of others if they are of the trust domain. From outside of that a dialog counts if
// we are in its route.
func (s *Server) classify(f sip.Flow, m *sip.Message) admission.Class {
	c := transaction.Class(f, m)
	if m.Method() == "REGISTER" {
		return c
	}
	top := m.First(sip.HRoute)
	ofPhone, ofServer := strings.Contains(top, ":"+origUser+"@"), strings.Contains(top, ";orig")
	vital := c == admission.Vital
	switch {
	case !vital:
	case m.ToTag() != "":
		if !s.cfg.Trusted.Has(f.Remote.Addr()) && !s.alongOurs(m) {
			return admission.New
		}
	case transaction.ByPriority(m):
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

// alongOurs reports whether a request says that it comes along our Record-Route. A strict
// router has that in the Request-URI.
func (s *Server) alongOurs(m *sip.Message) bool {
	ours := func(text string) bool {
		u, err := uri.Parse(text)
		return err == nil && ofDialog(u.User) && s.core.IsSelf(u)
	}
	a, err := sip.ParseNameAddr(m.First(sip.HRoute))
	return err == nil && (ours(a.URI) || ours(m.RequestURI()))
}
