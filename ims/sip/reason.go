package sip

import (
	"errors"
	"math"
	"strconv"
)

// ReasonValue is one value of a Reason header (RFC 3326 §2, RFC 6432).
type ReasonValue struct {
	Protocol string // "SIP", "Q.850", "RELEASE_CAUSE", …
	Cause    uint16
	HasCause bool
	Text     string // without quotes
	Params   Params
}

var errReason = errors.New("sip: Reason without a protocol, or with a cause that is no number")

// ParseReason reads one value.
func ParseReason(s string) (ReasonValue, error) {
	var r ReasonValue
	r.Protocol, r.Params = cutParams(s)
	if !isToken(r.Protocol) {
		return ReasonValue{}, errReason
	}
	if v, ok := r.Params.Get("cause"); ok {
		n, ok := parseUint(v, math.MaxUint16)
		if !ok {
			return ReasonValue{}, errReason
		}
		r.Cause, r.HasCause = uint16(n), true
	}
	r.Text, _ = r.Params.Get("text")
	return r, nil
}

// AppendTo appends the value.
func (r ReasonValue) AppendTo(dst []byte) []byte {
	dst = append(dst, r.Protocol...)
	if r.HasCause {
		dst = strconv.AppendUint(append(dst, ";cause="...), uint64(r.Cause), 10)
	}
	if r.Text != "" {
		dst = appendQuoted(append(dst, ";text="...), r.Text)
	}
	return appendOthers(dst, r.Params, reasonField)
}

var reasonField = oneOf("cause", "text")

func (r ReasonValue) String() string { return string(r.AppendTo(nil)) }
