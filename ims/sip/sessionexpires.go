package sip

import (
	"errors"
	"strconv"
)

// SessionExpires is the value of a Session-Expires header (RFC 4028 §4), and of a
// Min-SE, which has no refresher (§5).
type SessionExpires struct {
	Delta     uint32 // seconds
	Refresher string // "uac", "uas" or ""
	Params    Params
}

var errSessionExpires = errors.New("sip: Session-Expires is not a number of seconds")

// ParseSessionExpires reads a header value.
func ParseSessionExpires(s string) (SessionExpires, error) {
	v, params := cutParams(s)
	n, ok := ParseDelta(v)
	if !ok {
		return SessionExpires{}, errSessionExpires
	}
	e := SessionExpires{Delta: n, Params: params}
	e.Refresher, _ = params.Get("refresher")
	return e, nil
}

// AppendTo appends the value.
func (e SessionExpires) AppendTo(dst []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(e.Delta), 10)
	if e.Refresher != "" {
		dst = appendParam(dst, "refresher", e.Refresher)
	}
	return appendOthers(dst, e.Params, refresherField)
}

var refresherField = oneOf("refresher")

func (e SessionExpires) String() string { return string(e.AppendTo(nil)) }
