package sip

import (
	"errors"
	"strings"
)

// ContentType is the value of a Content-Type header (RFC 3261 §20.15).
type ContentType struct {
	Type, Subtype string
	Params        Params
}

var errContentType = errors.New("sip: Content-Type is not type/subtype")

// ParseContentType reads a header value.
func ParseContentType(s string) (ContentType, error) {
	v, params := cutParams(s)
	typ, sub, ok := strings.Cut(v, "/")
	typ, sub = trimLWS(typ), trimLWS(sub)
	if !ok || !isToken(typ) || !isToken(sub) {
		return ContentType{}, errContentType
	}
	return ContentType{typ, sub, params}, nil
}

// Is reports whether the type is mediaType ("application/sdp"), whatever the
// parameters.
func (c ContentType) Is(mediaType string) bool {
	typ, sub, _ := strings.Cut(mediaType, "/")
	return equalFold(c.Type, typ) && equalFold(c.Subtype, sub)
}

// AppendTo appends the value.
func (c ContentType) AppendTo(dst []byte) []byte {
	dst = append(append(append(dst, c.Type...), '/'), c.Subtype...)
	return appendParams(dst, c.Params)
}

func (c ContentType) String() string { return string(c.AppendTo(nil)) }
