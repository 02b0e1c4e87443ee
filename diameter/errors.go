package diameter

import (
	"errors"
	"fmt"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
)

// ErrClosed is returned for what is asked of a node that was closed.
var ErrClosed = errors.New("diameter: node is closed")

// ErrAnswered is returned by the second answer to one request.
var ErrAnswered = errors.New("diameter: request was answered already")

// A TransportError says that a request did not reach a peer, or that the
// connection went before the answer came.
type TransportError struct {
	Peer   string // Origin-Host or address where one is known
	Reason string // what was seen, and what to check
	Err    error  // cause, may be nil
}

func (e *TransportError) Error() string {
	s := "diameter: "
	if e.Peer != "" {
		s += "peer " + e.Peer + ": "
	}
	s += e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *TransportError) Unwrap() error { return e.Err }

// A TimeoutError says that no answer came before the deadline.
type TimeoutError struct {
	Peer  string        // that the request was last sent to
	After time.Duration // from the call of Do to the deadline
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("diameter: no answer from %s within %v; check that the peer is not overloaded and that it serves this application", e.Peer, e.After)
}

// Timeout makes the error a net.Error-like time-out.
func (e *TimeoutError) Timeout() bool { return true }

// A ProtocolError says that an answer came which breaks the protocol: malformed,
// without any result, or of another application or command than its request.
type ProtocolError struct {
	Peer   string
	Reason string
	Err    error // a *ResultError when the answer holds a failure as well, or the *AVPError
}

func (e *ProtocolError) Error() string {
	s := "diameter: unusable answer from " + e.Peer + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ProtocolError) Unwrap() error { return e.Err }

// A ResultError says that the peer answered with a failure.
type ResultError struct {
	Result
	Name    string // of the code in its own number space, "" where it has none
	Message string // Error-Message of the answer, as the peer wrote it, cut at 200 octets
	Peer    string // Origin-Host of the answer
}

func (e *ResultError) Error() string {
	s := "diameter: " + e.Peer + " answered "
	if e.Name != "" {
		s += fmt.Sprintf("%s (%d)", e.Name, e.Code)
	} else {
		s += e.Result.String()
	}
	if e.Message != "" {
		s += fmt.Sprintf(": %q", e.Message)
	}
	return s
}

// An AVPError says why a message cannot be accepted: the Result-Code that its
// sender is owed, and the AVP that Failed-AVP shows where one is to blame.
type AVPError struct {
	Code   ResultCode
	AVP    *AVP   // nil when the fault is not in an AVP
	Reason string // for Error-Message and logs; holds no AVP value
}

func (e *AVPError) Error() string {
	return fmt.Sprintf("diameter: %s: %s", e.Code, e.Reason)
}

// within wraps the failed AVP in the group that it stood in, so that Failed-AVP
// shows where (RFC 6733 7.5).
func (e *AVPError) within(group *AVP) *AVPError {
	if e.AVP == nil {
		return e
	}
	g := diam.NewAVP(group.Code, group.Flags&(avp.Mbit|avp.Vbit), group.VendorID, NewGroup(e.AVP))
	return &AVPError{Code: e.Code, AVP: g, Reason: e.Reason}
}
