package sip

import (
	"errors"
	"math"
	"strconv"
)

// CSeq is the value of a CSeq header (RFC 3261 §20.16).
type CSeq struct {
	Seq    uint32
	Method string
}

var errCSeq = errors.New("sip: CSeq is not a number below 2^31 and a method")

// ParseCSeq reads a CSeq value. Numbers of 2^31 and more are refused (§8.1.1.5).
func ParseCSeq(s string) (CSeq, error) {
	s = trimLWS(s)
	i := 0
	for i < len(s) && !isLWS(s[i]) {
		i++
	}
	n, ok := parseUint(s[:i], math.MaxInt32)
	method := trimLeftLWS(s[i:])
	if !ok || !isToken(method) {
		return CSeq{}, errCSeq
	}
	return CSeq{Seq: uint32(n), Method: method}, nil
}

// AppendTo appends the value.
func (c CSeq) AppendTo(dst []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(c.Seq), 10)
	return append(append(dst, ' '), c.Method...)
}

func (c CSeq) String() string { return string(c.AppendTo(nil)) }
