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
	var allowed []profile.Priority
	if reg.Profile != nil {
		if _, pi := reg.Profile.Find(impu); pi != nil {
			allowed = pi.Priorities
		}
	}
	var stays, goes []string
	for v := range m.Values(sip.HResourcePriority) {
		if slices.ContainsFunc(allowed, func(p profile.Priority) bool { return covers(p, v) }) {
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
