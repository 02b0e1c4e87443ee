package uri

import (
	"errors"
	"fmt"
)

// What can be wrong with a URI; find out with errors.Is. They differ because
// the status that the sender is owed does.
var (
	// ErrScheme: a URI, but neither sip, sips nor tel. 416 Unsupported URI Scheme.
	ErrScheme = errors.New("scheme is not sip, sips or tel")
	// ErrSyntax: not a URI as RFC 3261 25.1 or RFC 3966 have it. 400.
	ErrSyntax = errors.New("bad syntax")
	// ErrTooLong: more than MaxLen octets. 414 Request-URI Too Long.
	ErrTooLong = errors.New("too long")
)

// Error says where a URI is wrong. It keeps a bounded excerpt of the URI, not
// the URI, so that it may outlive the buffer and be logged.
type Error struct {
	Part   string // "scheme", "user", "host", …
	Offset int    // index of the offending octet in the string parsed
	Near   string // up to 24 octets from there, quoted
	Kind   error  // ErrScheme, ErrSyntax or ErrTooLong
}

func (e *Error) Error() string {
	if errors.Is(e.Kind, ErrTooLong) {
		return fmt.Sprintf("URI of %d octets is longer than %d", e.Offset, MaxLen)
	}
	if e.Near == `""` {
		return fmt.Sprintf("URI %s: %v: ends too early at octet %d", e.Part, e.Kind, e.Offset)
	}
	return fmt.Sprintf("URI %s: %v at octet %d, near %s", e.Part, e.Kind, e.Offset, e.Near)
}

func (e *Error) Unwrap() error { return e.Kind }

func fail(s, part string, at int, kind error) (URI, error) {
	near := s[min(at, len(s)):]
	if len(near) > 24 {
		near = near[:24]
	}
	return URI{}, &Error{Part: part, Offset: at, Near: fmt.Sprintf("%q", near), Kind: kind}
}
