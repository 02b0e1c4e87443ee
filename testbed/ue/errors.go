package ue

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// Errors of a phone that are no answers of the network.
var (
	// ErrClosed: Close was called.
	ErrClosed = errors.New("the phone is switched off")
	// ErrNotRegistered: the phone has no registration to do this with.
	ErrNotRegistered = errors.New("the phone is not registered")
	// ErrBusy: too many registrations are queued.
	ErrBusy = errors.New("too many registrations wait for the one under way")
)

// Error says what a phone was doing, what it saw and what to do next.
type Error struct {
	Doing string // "registering sip:… at 192.0.2.1:5060"
	// Status, Reason and Warning are those of the final response; Status is 0 when
	// none came.
	Status          int
	Reason, Warning string
	// Next is what whoever reads this should look at.
	Next string
	// Err is the cause on the phone's side, nil if there is none: aka.ErrMACFailure,
	// a context's error, a transport's.
	Err error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Doing)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": answered %d %s", e.Status, e.Reason)
		if e.Warning != "" {
			fmt.Fprintf(&b, " (%s)", e.Warning)
		}
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Next != "" {
		b.WriteString("; " + e.Next)
	}
	return b.String()
}

// Unwrap gives Err.
func (e *Error) Unwrap() error { return e.Err }

// seen makes an Error of the outcome of a request.
func seen(doing string, o dialog.Outcome) *Error {
	e := &Error{Doing: doing, Err: o.Err}
	if o.Msg != nil {
		e.Status, e.Reason, e.Warning = o.Status, o.Msg.Reason(), warningText(o.Msg)
	} else if e.Err == nil {
		e.Err = errors.New(sip.StatusText(o.Status))
	}
	return e
}

// warningText is what the Warning headers say to people (RFC 3261 20.43).
func warningText(m *sip.Message) string {
	var texts []string
	for v := range m.Values(sip.HWarning) {
		if i := strings.IndexByte(v, '"'); i >= 0 {
			v = sip.Unquote(v[i:])
		}
		if texts = append(texts, v); len(texts) == 4 {
			break
		}
	}
	return strings.Join(texts, "; ")
}
