package ladder

import (
	"encoding/binary"
	"fmt"
)

// The commands of Cx (TS 29.229 6.1) and of the base protocol (RFC 6733 3.1):
// what request and answer are called and what they are for.
var commands = map[uint32]struct{ request, answer, asks, tells, clause string }{
	257: {"CER", "CEA", "introduces itself", "capabilities agreed", "RFC 6733 5.3"},
	280: {"DWR", "DWA", "are you there?", "alive", "RFC 3539 3.4"},
	282: {"DPR", "DPA", "is about to disconnect", "agreed", "RFC 6733 5.4"},
	300: {"UAR", "UAA", "may this user register here, and at which S-CSCF?", "authorization and S-CSCF", "TS 29.228 6.1.1"},
	301: {"SAR", "SAA", "I serve this user now (or no longer)", "user profile", "TS 29.228 6.1.2"},
	302: {"LIR", "LIA", "which S-CSCF serves the called user?", "the S-CSCF's name", "TS 29.228 6.1.4"},
	303: {"MAR", "MAA", "needs an authentication vector", "RAND, AUTN, XRES, CK, IK", "TS 29.228 6.3"},
	304: {"RTR", "RTA", "this registration ends", "done", "TS 29.228 6.1.3"},
	305: {"PPR", "PPA", "the profile has changed", "taken over", "TS 29.228 6.2"},
}

// The results that a registration or a call can meet. The base protocol's and
// 3GPP's codes are two number spaces (RFC 6733 7.1, TS 29.229 6.2).
var (
	baseResults = map[uint32]string{
		2001: "success", 3002: "unable to deliver", 3004: "too busy", 5003: "authorization rejected",
		5005: "an AVP is missing", 5012: "unable to comply",
	}
	imsResults = map[uint32]string{
		2001: "first registration", 2002: "registered already", 2003: "unregistered service", 2004: "no server name stored",
		5001: "unknown user", 5002: "identities do not match", 5003: "identity not registered", 5004: "roaming not allowed",
		5005: "identity registered already", 5006: "authentication scheme not supported", 5007: "already assigned to another S-CSCF",
		5008: "too much data", 5009: "data not supported", 5011: "feature not supported",
	}
)

// describeDiameter says what a Diameter message does; 20 octets of header and
// the result AVPs are all it reads.
func describeDiameter(raw []byte) message {
	if len(raw) < 20 {
		return message{label: "?", text: fmt.Sprintf("%d octets that are not Diameter", len(raw)), failed: true}
	}
	code := binary.BigEndian.Uint32(raw[4:]) & 0xffffff
	request := raw[4]&0x80 != 0
	c, known := commands[code]
	switch {
	case !known && request:
		return message{label: fmt.Sprintf("cmd %d", code), text: "a command that is not of Cx"}
	case !known:
		c.answer = fmt.Sprintf("cmd %d", code)
	case request:
		return message{label: c.request, text: c.asks, clause: c.clause}
	}
	out := message{label: c.answer, text: c.tells, clause: c.clause}
	result, ims, ok := result(raw[20:])
	names := baseResults
	if ims {
		names = imsResults
	}
	switch {
	case !ok:
		out.text, out.failed = "an answer without a result", true
	default:
		out.label = fmt.Sprintf("%s %d", c.answer, result)
		name := names[result]
		if result/1000 != 2 {
			out.text, out.failed = name, true
		} else if name != "" && name != "success" {
			out.text = name + ": " + out.text
		}
	}
	return out
}

// result finds Result-Code (268) or Experimental-Result (297) and the
// Experimental-Result-Code (298) in it among top-level AVPs.
func result(b []byte) (code uint32, ims, ok bool) {
	for len(b) >= 8 {
		avp, size := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint32(b[4:])&0xffffff)
		head := 8
		if b[4]&0x80 != 0 {
			head = 12
		}
		if size < head || size > len(b) {
			return 0, false, false
		}
		switch {
		case (avp == 268 || avp == 298) && head == 8 && size == 12:
			return binary.BigEndian.Uint32(b[8:]), avp == 298, true
		case avp == 297:
			if code, _, ok := result(b[head:size]); ok {
				return code, true, true
			}
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return 0, false, false
}
