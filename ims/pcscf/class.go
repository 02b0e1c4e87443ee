package pcscf

import (
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
)

// classify says what is refused last under load: what comes to a phone has come a long
// way already. A call to a number of emergency.numbers is an emergency call, as one to
// urn:service:sos is. Anybody may write what makes a request precious into it, so that
// it counts with phones that are known alone; without that, a flood of BYEs for no
// dialog would be let in before all others, and refused at full cost.
func (s *Server) classify(f sip.Flow, m *sip.Message) admission.Class {
	c := transaction.Class(f, m)
	switch {
	case !s.trusts(f):
		return admission.New
	case f.Role == sip.RoleCore:
		return max(c, admission.Begun)
	case m.Method() == "REGISTER":
		return s.classOfREGISTER(f, c)
	case m.ToTag() != "":
		if !s.knows(f, m) {
			return admission.New
		}
	case s.dialsEmergency(m):
		return admission.Vital
	case s.hasPriority(f, m):
		return admission.Vital
	}
	return c
}

// strangeEmergencies is how many REGISTERs a second for emergencies may come in all from
// where nobody is known, and as many at once, before all others: whoever sends more gets
// no more for it than for other REGISTERs. It is nobody's limit without an overload.
const strangeEmergencies = 50

// classOfREGISTER is c, or New where only the REGISTER itself says that it is more. With
// IPsec a challenge is answered over the SAs that it has begun.
func (s *Server) classOfREGISTER(f sip.Flow, c admission.Class) admission.Class {
	switch {
	case c == admission.New, s.sec != nil && s.sec.of(f) != nil, s.sec == nil && s.bindings.ofFlow(f, time.Now()) != nil:
		return c
	case c == admission.Vital && s.emergencies.Allow(int64(time.Since(s.began))), c == admission.Begun && s.sec == nil:
		return c
	}
	return admission.New
}

// knows reports whether a request comes from a phone that is registered, or belongs to
// an emergency call in clear: who that is, sender says.
func (s *Server) knows(f sip.Flow, m *sip.Message) bool {
	return s.callers.of(f, m) != nil || s.registered(f)
}

// registered reports whether a flow is a registered phone's.
func (s *Server) registered(f sip.Flow) bool {
	if s.sec == nil {
		return s.bindings.ofFlow(f, time.Now()) != nil
	}
	on := s.sec.of(f)
	return on != nil && s.sec.established(on)
}

// underWay says for what the core's answers tell how busy it is: a REGISTER is answered
// by the home network alone, and at once; an INVITE has a 100 when it has come through
// the core. An emergency call goes elsewhere, and who is not registered hears from the
// P-CSCF itself. What else answers a call or a message is a phone.
func (s *Server) underWay(f sip.Flow, m *sip.Message) admission.Lane {
	switch {
	case f.Role == sip.RoleCore:
	case m.Method() == "REGISTER":
		return admission.Registers
	case m.Method() == "INVITE" && m.ToTag() == "" && s.registered(f) && !s.dialsEmergency(m):
		return admission.Calls
	}
	return admission.NoLane
}

// dialsEmergency reports whether a request of a phone begins an emergency call.
func (s *Server) dialsEmergency(m *sip.Message) bool {
	return m.Method() == "INVITE" && m.ToTag() == "" && s.cfg.Emergency.service(m.RequestURI(), s.cfg.Domain) != ""
}
