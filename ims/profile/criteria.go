package profile

import "fmt"

// InitialFilterCriteria says which requests visit an application server (TS
// 29.228 B.2.2). Package ifc evaluates it.
type InitialFilterCriteria struct {
	Priority int32 // lower is earlier
	// TriggerPoint is nil when every request matches.
	TriggerPoint      *TriggerPoint
	ApplicationServer ApplicationServer
	Part              Part
}

// Part is the ProfilePartIndicator.
type Part uint8

// Parts of the profile that a criterion belongs to.
const (
	BothParts        Part = iota // no ProfilePartIndicator
	RegisteredPart               // 0 in the document
	UnregisteredPart             // 1 in the document
)

// TriggerPoint joins its SPTs by group (TS 29.228 Annex C).
type TriggerPoint struct {
	// CNF is ConditionTypeCNF: true for an AND of groups whose members are
	// ORed, false for an OR of groups whose members are ANDed.
	CNF  bool
	SPTs []SPT
}

// SPTKind says which part of a request an SPT looks at.
type SPTKind uint8

// The kinds of TS 29.228 Annex F. UnknownSPT is a kind of a later release: what
// it says cannot be known, so its criterion must not match.
const (
	UnknownSPT SPTKind = iota
	RequestURISPT
	MethodSPT
	SIPHeaderSPT
	SessionCaseSPT
	SessionDescriptionSPT
)

func (k SPTKind) String() string {
	switch k {
	case RequestURISPT:
		return "RequestURI"
	case MethodSPT:
		return "Method"
	case SIPHeaderSPT:
		return "SIPHeader"
	case SessionCaseSPT:
		return "SessionCase"
	case SessionDescriptionSPT:
		return "SessionDescription"
	}
	return "unknown SPT"
}

// SPT is a service point trigger: one condition.
type SPT struct {
	Kind    SPTKind
	Negated bool
	Groups  []int32 // it may be in several
	// Text is the Request-URI's expression, the method, the header's name
	// expression, or the letter of the SDP line.
	Text string
	// Content is the expression for a header's or SDP line's content. Without
	// HasContent the presence of the header or line is enough.
	Content    string
	HasContent bool
	Case       SessionCase
	// RegistrationTypes restrict a Method of REGISTER; empty means any.
	RegistrationTypes []RegistrationType
}

// SessionCase is the direction of a request as seen by the served user.
type SessionCase uint8

// Values of SessionCase in the document.
const (
	OriginatingRegistered   SessionCase = 0
	TerminatingRegistered   SessionCase = 1
	TerminatingUnregistered SessionCase = 2
	OriginatingUnregistered SessionCase = 3
	OriginatingCDIV         SessionCase = 4
)

func (c SessionCase) String() string {
	if names := [...]string{"ORIGINATING_REGISTERED", "TERMINATING_REGISTERED", "TERMINATING_UNREGISTERED",
		"ORIGINATING_UNREGISTERED", "ORIGINATING_CDIV"}; int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("session case %d", uint8(c))
}

// RegistrationType tells REGISTER requests apart (TS 29.228 B.2.3).
type RegistrationType uint8

// Values of RegistrationType in the document.
const (
	InitialRegistration RegistrationType = 0
	ReRegistration      RegistrationType = 1
	DeRegistration      RegistrationType = 2
)

func (r RegistrationType) String() string {
	if names := [...]string{"INITIAL_REGISTRATION", "RE_REGISTRATION", "DE_REGISTRATION"}; int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("registration type %d", uint8(r))
}

// DefaultHandling says what happens when the application server does not answer.
type DefaultHandling uint8

// Values of DefaultHandling in the document.
const (
	SessionContinued  DefaultHandling = 0
	SessionTerminated DefaultHandling = 1
)

func (d DefaultHandling) String() string {
	if d == SessionTerminated {
		return "SESSION_TERMINATED"
	}
	return "SESSION_CONTINUED"
}

// ApplicationServer is where a matching request goes.
type ApplicationServer struct {
	ServerName      string // a SIP URI, as the HSS wrote it
	DefaultHandling DefaultHandling
	// ServiceInfo goes unchanged into a third-party REGISTER.
	ServiceInfo string
	// The REGISTER and its 200 go into a third-party REGISTER's body if asked for.
	IncludeRegisterRequest  bool
	IncludeRegisterResponse bool
}
