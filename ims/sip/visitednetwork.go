package sip

import "errors"

// VisitedNetworkID is one value of a P-Visited-Network-ID (RFC 7315 §4.3, §5.3).
type VisitedNetworkID struct {
	ID     string // without quotes
	Params Params
}

var errVisited = errors.New("sip: P-Visited-Network-ID is empty or has an unclosed quote")

// ParseVisitedNetworkID reads one value: a token, a quoted string, or text that
// should have been quoted.
func ParseVisitedNetworkID(s string) (VisitedNetworkID, error) {
	id, params := cutParams(s)
	if id == "" || id[0] == '"' && quotedLen(id) != len(id) {
		return VisitedNetworkID{}, errVisited
	}
	v := VisitedNetworkID{Unquote(id), params}
	if v.ID == "" {
		return VisitedNetworkID{}, errVisited
	}
	return v, nil
}

// AppendTo appends the value, quoted unless it is a token.
func (v VisitedNetworkID) AppendTo(dst []byte) []byte {
	if isToken(v.ID) {
		dst = append(dst, v.ID...)
	} else {
		dst = appendQuoted(dst, v.ID)
	}
	return appendParams(dst, v.Params)
}

func (v VisitedNetworkID) String() string { return string(v.AppendTo(nil)) }
