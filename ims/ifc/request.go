package ifc

import "github.com/gocscf/gocscf/ims/profile"

// Request is what criteria look at. Its strings need to live during the call only.
type Request interface {
	Method() string
	// RequestURI is the URI as on the request line.
	RequestURI() string
	// Headers yields each header field line: the name in its long form, the
	// value unfolded and trimmed. It stops when yield returns false.
	Headers(yield func(name, value string) bool)
	// SDPLines yields each line of the SDP bodies, "m=audio …", without its line
	// end. A request without SDP has none.
	SDPLines(yield func(line string) bool)
}

// Session is what criteria look at beside the request.
type Session struct {
	Case profile.SessionCase
	// Registration tells which kind of REGISTER the request is; it is not read
	// for other methods.
	Registration profile.RegistrationType
	// Unregistered: the served user is not registered. The other session cases
	// say so themselves; this is for OriginatingCDIV.
	Unregistered bool
}

// unregistered picks the part of the profile that applies (ProfilePartIndicator).
func (s Session) unregistered() bool {
	switch s.Case {
	case profile.TerminatingUnregistered, profile.OriginatingUnregistered:
		return true
	case profile.OriginatingCDIV:
		return s.Unregistered
	}
	return false
}
