package sip

import (
	"errors"
	"math"
	"strconv"
)

// RAck is the value of a RAck header (RFC 3262 §7.2): the provisional response
// that a PRACK acknowledges.
type RAck struct {
	RSeq uint32
	CSeq CSeq
}

var (
	errRAck = errors.New("sip: RAck is not a response number and a CSeq")
	errRSeq = errors.New("sip: RSeq is not a number from 1 to 2^32-1")
)

// ParseRAck reads a header value.
func ParseRAck(s string) (RAck, error) {
	s = trimLWS(s)
	i := 0
	for i < len(s) && !isLWS(s[i]) {
		i++
	}
	n, err := ParseRSeq(s[:i])
	if err != nil {
		return RAck{}, errRAck
	}
	c, err := ParseCSeq(s[i:])
	if err != nil {
		return RAck{}, errRAck
	}
	return RAck{n, c}, nil
}

// ParseRSeq reads an RSeq (RFC 3262 §7.1).
func ParseRSeq(s string) (uint32, error) {
	n, ok := parseUint(trimLWS(s), math.MaxUint32)
	if !ok || n == 0 {
		return 0, errRSeq
	}
	return uint32(n), nil
}

// AppendTo appends the value.
func (r RAck) AppendTo(dst []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(r.RSeq), 10)
	return r.CSeq.AppendTo(append(dst, ' '))
}

func (r RAck) String() string { return string(r.AppendTo(nil)) }
