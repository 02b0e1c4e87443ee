package transaction

import (
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// Class says what a request that opens a transaction has to do with what was let in
// before, as far as every element of IMS sees it alike.
func Class(f sip.Flow, m *sip.Message) admission.Class {
	switch {
	case m.Method() == "REGISTER":
		return registerClass(m)
	case precious(f, m):
		return admission.Vital
	}
	return admission.New
}

// registerClass tells REGISTERs apart: of an emergency registration (TS 24.229
// 5.1.6.2), one that answers a challenge or renews what a challenge has led to, and
// one that begins.
func registerClass(m *sip.Message) admission.Class {
	for v := range m.Values(sip.HContact) {
		if sosContact(v) {
			return admission.Vital
		}
	}
	for v := range m.Lines(sip.HAuthorization) {
		if _, nonce, ok := strings.Cut(v, `nonce="`); ok && nonce != "" && nonce[0] != '"' {
			return admission.Begun
		}
	}
	return admission.New
}

// sosContact reports whether the URI of a Contact has the parameter "sos" (TS 24.229
// 5.1.6.2).
func sosContact(v string) bool {
	_, rest, _ := strings.Cut(v[strings.LastIndexByte(v, '<')+1:], ";")
	rest, _, inside := strings.Cut(rest, ">")
	if !inside {
		return false
	}
	for p := range strings.SplitSeq(rest, ";") {
		if strings.EqualFold(p, "sos") {
			return true
		}
	}
	return false
}

// precious requests are turned away last: those inside a dialog, emergency calls (no
// other method to their URN makes one), and what the core marks as having priority (RFC
// 4412). Whether there is such a dialog, and whether a phone may have the priority that it
// asks for, is for those to say who know it.
func precious(f sip.Flow, m *sip.Message) bool {
	core := f.Role == sip.RoleCore || f.Role == sip.RoleISC
	return Emergency(m) || core && m.Has(sip.HResourcePriority) || m.ToTag() != ""
}

// Emergency reports whether a request begins an emergency call, by what its Request-URI
// says (RFC 5031).
func Emergency(m *sip.Message) bool {
	const sos = "urn:service:sos"
	uri := m.RequestURI()
	return m.Method() == "INVITE" && len(uri) >= len(sos) && strings.EqualFold(uri[:len(sos)], sos) && (len(uri) == len(sos) || uri[len(sos)] == '.')
}

// ByPriority reports whether a request, none of REGISTER, is Vital for its
// Resource-Priority alone: for those who know more of who asks for it.
func ByPriority(m *sip.Message) bool {
	return m.Has(sip.HResourcePriority) && m.ToTag() == "" && !Emergency(m)
}

// lets decides on its shard about a request that opens a transaction: s.shed says why
// it is not let in.
func (l *Layer) lets(s *Server) bool {
	a := l.cfg.Admission
	if a == nil {
		if s.shed == "" && l.full(s) {
			s.shed = tooMany
		}
		return s.shed == ""
	}
	now, waited := l.Now(), s.waited()
	switch {
	case s.shed == overloaded:
		a.Refused(now, s.class, waited, s.why)
	case s.shed != "" || l.full(s):
		s.shed = tooMany
	case a.Began(now, s.class, waited):
		s.shed, s.token = stale, false // its turn has been and gone
	}
	return s.shed == ""
}

// waited is how long the request has waited for its turn, as far as that is known.
func (s *Server) waited() time.Duration {
	l := s.Shard.layer
	if l.cfg.Admission == nil {
		return 0
	}
	return s.Shard.pace.waited(l.Now(), s.came, s.kernel)
}

// Class returns what the request has to do with earlier ones; without Config.Admission
// New, where nobody had to know.
func (s *Server) Class() admission.Class { return s.class }

// Heard tells Config.Admission that an element further on has begun to answer the request,
// with which status. Only the first call counts.
func (s *Server) Heard(status int) {
	if s.under != admission.NoLane {
		l := s.Shard.layer
		l.cfg.Admission.Heard(l.Now(), s.under, s.since, status != 503)
		l.left(s)
	}
}

// left tells Admission, once, that a request is under way no more.
func (l *Layer) left(s *Server) {
	if lane := s.under; lane != admission.NoLane {
		s.under = admission.NoLane
		s.silence.Stop()
		if !s.unheard {
			l.cfg.Admission.Left(lane)
		}
	}
}

// unheardOf gives the place of a call to others of which nothing has been heard for long.
// Its answer tells how long it took all the same.
func unheardOf(server any) {
	s := server.(*Server)
	if s.under != admission.NoLane && !s.unheard {
		s.unheard = true
		s.Shard.layer.cfg.Admission.Left(s.under)
	}
}

// giveBack puts back into the bucket what a request has taken on which nobody has worked,
// a retransmission or a malformed one: it leaves the room that there is to others.
func (l *Layer) giveBack(s *Server) {
	if s.token {
		s.token = false
		l.cfg.Admission.GiveBack(s.class)
	}
}
