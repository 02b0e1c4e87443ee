package sip

import (
	"errors"
	"strconv"
)

// Event is the value of an Event header (RFC 6665 §8.2.1).
type Event struct {
	Package string // "reg", "presence.winfo", …
	ID      string // parameter id
	Params  Params
}

var errEvent = errors.New("sip: Event without a package name")

// ParseEvent reads a header value.
func ParseEvent(s string) (Event, error) {
	var e Event
	e.Package, e.Params = cutParams(s)
	if !isToken(e.Package) {
		return Event{}, errEvent
	}
	e.ID, _ = e.Params.Get("id")
	return e, nil
}

// AppendTo appends the value.
func (e Event) AppendTo(dst []byte) []byte {
	dst = append(dst, e.Package...)
	if e.ID != "" {
		dst = appendParam(dst, "id", e.ID)
	}
	return appendOthers(dst, e.Params, eventField)
}

var eventField = oneOf("id")

func (e Event) String() string { return string(e.AppendTo(nil)) }

// SubscriptionState is the value of a Subscription-State header (RFC 6665 §8.2.3).
type SubscriptionState struct {
	State      string // "active", "pending", "terminated", …
	Expires    uint32 // seconds
	HasExpires bool
	Reason     string // "deactivated", "noresource", …
	RetryAfter uint32 // seconds, 0 when absent
	Params     Params
}

var errSubState = errors.New("sip: Subscription-State without a state")

// ParseSubscriptionState reads a header value.
func ParseSubscriptionState(s string) (SubscriptionState, error) {
	var st SubscriptionState
	st.State, st.Params = cutParams(s)
	if !isToken(st.State) {
		return SubscriptionState{}, errSubState
	}
	v, _ := st.Params.Get("expires")
	st.Expires, st.HasExpires = ParseDelta(v)
	st.Reason, _ = st.Params.Get("reason")
	v, _ = st.Params.Get("retry-after")
	st.RetryAfter, _ = ParseDelta(v)
	return st, nil
}

// AppendTo appends the value.
func (st SubscriptionState) AppendTo(dst []byte) []byte {
	dst = append(dst, st.State...)
	if st.Reason != "" {
		dst = appendParam(dst, "reason", st.Reason)
	}
	if st.HasExpires {
		dst = strconv.AppendUint(append(dst, ";expires="...), uint64(st.Expires), 10)
	}
	if st.RetryAfter != 0 {
		dst = strconv.AppendUint(append(dst, ";retry-after="...), uint64(st.RetryAfter), 10)
	}
	return appendOthers(dst, st.Params, subStateField)
}

var subStateField = oneOf("expires", "reason", "retry-after")

func (st SubscriptionState) String() string { return string(st.AppendTo(nil)) }
