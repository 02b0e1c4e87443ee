package as

import "github.com/gocscf/gocscf/ims/profile"

// Criterion is a filter criterion that sends initial requests of a method, in one
// session case, to the application server at uri (TS 29.228 B.2.2). A lower
// priority comes first.
func Criterion(uri string, priority int32, method string, c profile.SessionCase, d profile.DefaultHandling) profile.InitialFilterCriteria {
	return profile.InitialFilterCriteria{
		Priority: priority,
		TriggerPoint: &profile.TriggerPoint{CNF: true, SPTs: []profile.SPT{
			{Kind: profile.MethodSPT, Groups: []int32{0}, Text: method},
			{Kind: profile.SessionCaseSPT, Groups: []int32{1}, Case: c},
		}},
		ApplicationServer: profile.ApplicationServer{ServerName: uri, DefaultHandling: d},
	}
}

// INVITECriterion sends calls to the application server at uri; without it they
// continue.
func INVITECriterion(uri string, priority int32, c profile.SessionCase) profile.InitialFilterCriteria {
	return Criterion(uri, priority, "INVITE", c, profile.SessionContinued)
}

// RegisterCriterion asks for third-party registration at the application server at
// uri, for the given kinds of REGISTER, all when there are none. The REGISTER
// carries info, the REGISTER of the user and its answer.
func RegisterCriterion(uri string, priority int32, info string, types ...profile.RegistrationType) profile.InitialFilterCriteria {
	return profile.InitialFilterCriteria{
		Priority: priority,
		TriggerPoint: &profile.TriggerPoint{CNF: true, SPTs: []profile.SPT{
			{Kind: profile.MethodSPT, Groups: []int32{0}, Text: "REGISTER", RegistrationTypes: types},
		}},
		ApplicationServer: profile.ApplicationServer{
			ServerName: uri, ServiceInfo: info, IncludeRegisterRequest: true, IncludeRegisterResponse: true,
		},
	}
}

// XML writes criteria in the form of a subscriber's `ifc` at the testbed's HSS.
func XML(criteria ...profile.InitialFilterCriteria) string {
	return string(profile.MarshalCriteria(criteria))
}
