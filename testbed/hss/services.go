package hss

import (
	"strings"

	"github.com/gocscf/gocscf/ims/profile"
)

// servesUnregistered reports whether a criterion may match a terminating request
// for a user who is not registered: then LIR is answered with
// DIAMETER_UNREGISTERED_SERVICE (TS 29.228 6.1.4.1). Only the S-CSCF sees the
// request, so whatever depends on it counts as possible.
func servesUnregistered(c profile.InitialFilterCriteria) bool {
	if c.Part == profile.RegisteredPart {
		return false
	}
	t := c.TriggerPoint
	if t == nil || len(t.SPTs) == 0 {
		return true
	}
	groups := make(map[int32]bool)
	for i := range t.SPTs {
		possible := mayMatchUnregistered(&t.SPTs[i])
		for _, g := range t.SPTs[i].Groups {
			old, seen := groups[g]
			switch {
			case !seen:
				groups[g] = possible
			case t.CNF:
				groups[g] = old || possible
			default:
				groups[g] = old && possible
			}
		}
	}
	for _, possible := range groups {
		if possible != t.CNF {
			return possible // one false of an AND, or one true of an OR
		}
	}
	return t.CNF
}

// mayMatchUnregistered reports whether one condition can hold for such a request.
func mayMatchUnregistered(s *profile.SPT) bool {
	switch s.Kind {
	case profile.SessionCaseSPT:
		return (s.Case == profile.TerminatingUnregistered) != s.Negated
	case profile.MethodSPT:
		// A REGISTER is never for somebody else.
		return !strings.EqualFold(s.Text, "REGISTER") || s.Negated
	case profile.UnknownSPT:
		return false
	}
	return true
}
