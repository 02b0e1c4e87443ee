package profile

import (
	"math"
	"strings"
)

func (r *reader) criterion(list []InitialFilterCriteria) ([]InitialFilterCriteria, error) {
	if len(list) == maxCriteria {
		return nil, r.failf("%w: more than %d initial filter criteria", ErrTooBig, maxCriteria)
	}
	c := InitialFilterCriteria{}
	hasPriority := false
	err := r.children(func(name string) error {
		switch name {
		case "Priority":
			n, err := r.number(math.MaxInt32)
			c.Priority, hasPriority = int32(n), true
			return err
		case "TriggerPoint":
			return r.triggerPoint(&c)
		case "ApplicationServer":
			return r.applicationServer(&c.ApplicationServer)
		case "ProfilePartIndicator":
			n, err := r.number(1)
			c.Part = RegisteredPart + Part(n)
			return err
		}
		return r.skip()
	})
	if err != nil {
		return nil, err
	}
	if !hasPriority {
		return nil, r.failf("InitialFilterCriteria without Priority (ServerName %.80q)", c.ApplicationServer.ServerName)
	}
	if c.ApplicationServer.ServerName == "" {
		return nil, r.failf("InitialFilterCriteria of priority %d without ServerName", c.Priority)
	}
	return append(list, c), nil
}

func (r *reader) triggerPoint(c *InitialFilterCriteria) error {
	t := &TriggerPoint{}
	hasForm := false
	err := r.children(func(name string) (err error) {
		switch name {
		case "ConditionTypeCNF":
			t.CNF, err = r.boolean()
			hasForm = true
			return err
		case "SPT":
			if len(t.SPTs) == maxSPTs {
				return r.failf("%w: more than %d SPTs", ErrTooBig, maxSPTs)
			}
			spt, err := r.spt()
			t.SPTs = append(t.SPTs, spt)
			return err
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	switch {
	case len(t.SPTs) == 0:
		// Nothing to check is read as no TriggerPoint.
		r.warnf("TriggerPoint without SPT: every request matches")
		return nil
	case !hasForm:
		r.warnf("TriggerPoint without ConditionTypeCNF, read as 0")
	}
	c.TriggerPoint = t
	return nil
}

func (r *reader) spt() (SPT, error) {
	s := SPT{}
	kinds := 0
	set := func(k SPTKind) { s.Kind = k; kinds++ }
	err := r.children(func(name string) (err error) {
		switch name {
		case "ConditionNegated":
			s.Negated, err = r.boolean()
		case "Group":
			if len(s.Groups) == maxGroups {
				return r.failf("%w: more than %d groups", ErrTooBig, maxGroups)
			}
			var n int64
			n, err = r.number(math.MaxInt32)
			s.Groups = append(s.Groups, int32(n))
		case "RequestURI":
			set(RequestURISPT)
			s.Text, err = r.text()
		case "Method":
			set(MethodSPT)
			s.Text, err = r.text()
		case "SessionCase":
			set(SessionCaseSPT)
			var n int64
			n, err = r.number(255)
			s.Case = SessionCase(n)
		case "SIPHeader":
			set(SIPHeaderSPT)
			err = r.nameAndContent("Header", &s)
		case "SessionDescription":
			set(SessionDescriptionSPT)
			err = r.nameAndContent("Line", &s)
		case "Extension":
			err = r.children(func(name string) error {
				if name != "RegistrationType" {
					return r.skip()
				}
				if len(s.RegistrationTypes) == maxGroups {
					return r.failf("%w: more than %d registration types", ErrTooBig, maxGroups)
				}
				n, err := r.number(255)
				s.RegistrationTypes = append(s.RegistrationTypes, RegistrationType(n))
				return err
			})
		default:
			err = r.skip()
		}
		return err
	})
	switch {
	case err != nil:
		return s, err
	case kinds > 1:
		return s, r.failf("SPT with %d conditions: one of RequestURI, Method, SIPHeader, SessionCase, SessionDescription", kinds)
	case kinds == 0:
		r.warnf("SPT of no known kind: its criterion never matches")
	case s.Text == "" && s.Kind != SessionCaseSPT:
		return s, r.failf("SPT %s without a value", s.Kind)
	}
	if len(s.Groups) == 0 {
		r.warnf("SPT without Group, read as 0")
		s.Groups = []int32{0}
	}
	return s, nil
}

func (r *reader) nameAndContent(name string, s *SPT) error {
	return r.children(func(child string) (err error) {
		switch child {
		case name:
			s.Text, err = r.text()
		case "Content":
			s.HasContent = true
			s.Content, err = r.text()
		default:
			err = r.skip()
		}
		return err
	})
}

func (r *reader) applicationServer(as *ApplicationServer) error {
	return r.children(func(name string) (err error) {
		switch name {
		case "ServerName":
			as.ServerName, err = r.text()
		case "DefaultHandling":
			var n int64
			n, err = r.number(1)
			as.DefaultHandling = DefaultHandling(n)
		case "ServiceInfo":
			// Opaque to us: not even its spaces go.
			if as.ServiceInfo, err = r.inner(); err == nil {
				as.ServiceInfo = strings.Clone(as.ServiceInfo)
				r.pop()
			}
		case "Extension":
			err = r.children(func(name string) error {
				switch name {
				case "IncludeRegisterRequest":
					as.IncludeRegisterRequest = true
				case "IncludeRegisterResponse":
					as.IncludeRegisterResponse = true
				}
				return r.skip()
			})
		default:
			err = r.skip()
		}
		return err
	})
}
