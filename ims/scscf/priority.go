package scscf

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
)

// authorizePriority leaves of a phone's Resource-Priority what the user's
// subscription allows (TS 24.229 5.4.3.2, RFC 4412 4.7). What is left lets the
// request in under load, here and behind us.
func (l *leg) authorizePriority(reg *registrar.Registration, impu identity.IMPU) {
	m := l.x.Req
	if !m.Has(sip.HResourcePriority) {
		return
	}
	allowed := priorities(reg, impu)
	var stays, goes []string
	for v := range m.Values(sip.HResourcePriority) {
		if allowed.cover(v) {
			stays = append(stays, v)
		} else {
			goes = append(goes, v)
		}
	}
	if goes == nil {
		return
	}
	l.impu = impu
	l.decide("TS 24.229 5.4.3.2", func() string {
		return string(impu) + " may not ask for priority " + strings.Join(goes, ", ") + ": removed."
	})
	l.x.Edits.Remove(sip.HResourcePriority)
	if stays != nil {
		l.x.Edits.Add(sip.HResourcePriority, strings.Join(stays, ", "))
	}
}

// mayHavePriority reports whether a request that has come along our Service-Route asks
// for a priority that its sender may have.
func (s *Server) mayHavePriority(m *sip.Message) bool {
	impu, reg := s.sender(m)
	if !reg.Registered() {
		return false
	}
	allowed := priorities(reg, impu)
	for v := range m.Values(sip.HResourcePriority) {
		if allowed.cover(v) {
			return true
		}
	}
	return false
}

// allowance is what a public identity may ask for.
type allowance []profile.Priority

func priorities(reg *registrar.Registration, impu identity.IMPU) allowance {
	if reg.Profile == nil {
		return nil
	}
	if _, pi := reg.Profile.Find(impu); pi != nil {
		return pi.Priorities
	}
	return nil
}

func (a allowance) cover(value string) bool {
	return slices.ContainsFunc(a, func(p profile.Priority) bool { return covers(p, value) })
}

// covers reports whether a subscribed priority allows a value "namespace.level":
// the same level, or where levels are numbers, of which 0 is the highest (RFC 4412
// 12), a lower one.
func covers(p profile.Priority, value string) bool {
	namespace, level, ok := strings.Cut(value, ".")
	if !ok || !strings.EqualFold(namespace, p.Namespace) {
		return false
	}
	have, errHave := strconv.ParseUint(p.Level, 10, 8)
	want, errWant := strconv.ParseUint(level, 10, 8)
	if errHave == nil && errWant == nil {
		return want >= have
	}
	return strings.EqualFold(level, p.Level)
}
