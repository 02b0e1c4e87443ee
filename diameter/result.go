package diameter

import (
	"fmt"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// A ResultCode is the value of a Result-Code AVP (RFC 6733 7.1). The codes of
// Experimental-Result are a number space of their own for each vendor: 5004 here
// is an invalid value, there that roaming is not allowed. See [Result].
type ResultCode uint32

// Result codes of RFC 6733 7.1.
const (
	MultiRoundAuth ResultCode = 1001
	Success        ResultCode = 2001
	LimitedSuccess ResultCode = 2002

	CommandUnsupported     ResultCode = 3001
	UnableToDeliver        ResultCode = 3002
	RealmNotServed         ResultCode = 3003
	TooBusy                ResultCode = 3004
	LoopDetected           ResultCode = 3005
	RedirectIndication     ResultCode = 3006
	ApplicationUnsupported ResultCode = 3007
	InvalidHdrBits         ResultCode = 3008
	InvalidAVPBits         ResultCode = 3009
	UnknownPeer            ResultCode = 3010

	AuthenticationRejected ResultCode = 4001
	OutOfSpace             ResultCode = 4002
	ElectionLost           ResultCode = 4003

	AVPUnsupported        ResultCode = 5001
	UnknownSessionID      ResultCode = 5002
	AuthorizationRejected ResultCode = 5003
	InvalidAVPValue       ResultCode = 5004
	MissingAVP            ResultCode = 5005
	ResourcesExceeded     ResultCode = 5006
	ContradictingAVPs     ResultCode = 5007
	AVPNotAllowed         ResultCode = 5008
	AVPOccursTooManyTimes ResultCode = 5009
	NoCommonApplication   ResultCode = 5010
	UnsupportedVersion    ResultCode = 5011
	UnableToComply        ResultCode = 5012
	InvalidBitInHeader    ResultCode = 5013
	InvalidAVPLength      ResultCode = 5014
	InvalidMessageLength  ResultCode = 5015
	InvalidAVPBitCombo    ResultCode = 5016
	NoCommonSecurity      ResultCode = 5017
)

var resultNames = map[ResultCode]string{
	MultiRoundAuth:         "DIAMETER_MULTI_ROUND_AUTH",
	Success:                "DIAMETER_SUCCESS",
	LimitedSuccess:         "DIAMETER_LIMITED_SUCCESS",
	CommandUnsupported:     "DIAMETER_COMMAND_UNSUPPORTED",
	UnableToDeliver:        "DIAMETER_UNABLE_TO_DELIVER",
	RealmNotServed:         "DIAMETER_REALM_NOT_SERVED",
	TooBusy:                "DIAMETER_TOO_BUSY",
	LoopDetected:           "DIAMETER_LOOP_DETECTED",
	RedirectIndication:     "DIAMETER_REDIRECT_INDICATION",
	ApplicationUnsupported: "DIAMETER_APPLICATION_UNSUPPORTED",
	InvalidHdrBits:         "DIAMETER_INVALID_HDR_BITS",
	InvalidAVPBits:         "DIAMETER_INVALID_AVP_BITS",
	UnknownPeer:            "DIAMETER_UNKNOWN_PEER",
	AuthenticationRejected: "DIAMETER_AUTHENTICATION_REJECTED",
	OutOfSpace:             "DIAMETER_OUT_OF_SPACE",
	ElectionLost:           "DIAMETER_ELECTION_LOST",
	AVPUnsupported:         "DIAMETER_AVP_UNSUPPORTED",
	UnknownSessionID:       "DIAMETER_UNKNOWN_SESSION_ID",
	AuthorizationRejected:  "DIAMETER_AUTHORIZATION_REJECTED",
	InvalidAVPValue:        "DIAMETER_INVALID_AVP_VALUE",
	MissingAVP:             "DIAMETER_MISSING_AVP",
	ResourcesExceeded:      "DIAMETER_RESOURCES_EXCEEDED",
	ContradictingAVPs:      "DIAMETER_CONTRADICTING_AVPS",
	AVPNotAllowed:          "DIAMETER_AVP_NOT_ALLOWED",
	AVPOccursTooManyTimes:  "DIAMETER_AVP_OCCURS_TOO_MANY_TIMES",
	NoCommonApplication:    "DIAMETER_NO_COMMON_APPLICATION",
	UnsupportedVersion:     "DIAMETER_UNSUPPORTED_VERSION",
	UnableToComply:         "DIAMETER_UNABLE_TO_COMPLY",
	InvalidBitInHeader:     "DIAMETER_INVALID_BIT_IN_HEADER",
	InvalidAVPLength:       "DIAMETER_INVALID_AVP_LENGTH",
	InvalidMessageLength:   "DIAMETER_INVALID_MESSAGE_LENGTH",
	InvalidAVPBitCombo:     "DIAMETER_INVALID_AVP_BIT_COMBO",
	NoCommonSecurity:       "DIAMETER_NO_COMMON_SECURITY",
}

// String returns the name in RFC 6733, or the number.
func (c ResultCode) String() string {
	if s, ok := resultNames[c]; ok {
		return s
	}
	return fmt.Sprintf("Result-Code %d", uint32(c))
}

// isProtocolError reports whether an answer with this code carries the E bit
// (RFC 6733 7.1.3).
func (c ResultCode) isProtocolError() bool { return c >= 3000 && c < 4000 }

// A Result is what an answer says: a Result-Code, or an Experimental-Result
// with its vendor. The zero value means that the answer says nothing.
type Result struct {
	Code         uint32
	Experimental bool
	Vendor       uint32 // of an Experimental-Result
}

// Base is the Result of a Result-Code.
func Base(c ResultCode) Result { return Result{Code: uint32(c)} }

// IsSuccess reports whether the code, in its own number space, is of the 2xxx
// class.
func (r Result) IsSuccess() bool { return r.Code >= 2000 && r.Code < 3000 }

// Is reports whether the result is this Result-Code of the base protocol.
func (r Result) Is(c ResultCode) bool { return !r.Experimental && r.Code == uint32(c) }

// String names a base code and gives the number of an experimental one; the
// application that owns the vendor's codes has their names.
func (r Result) String() string {
	if r.Experimental {
		return fmt.Sprintf("Experimental-Result-Code %d (vendor %d)", r.Code, r.Vendor)
	}
	if r.Code == 0 {
		return "no result"
	}
	return ResultCode(r.Code).String()
}

// Result reads the result of an answer; false if it holds none. When a peer
// sends both Result-Code and Experimental-Result, which it must not, an error
// wins over a success and the more specific Experimental-Result over another
// error.
func (m *Message) Result() (Result, bool) {
	var base, exp Result
	var haveBase, haveExp bool
	run := m.Encoded()
	if a, ok := run.Find(avp.ResultCode, 0); ok {
		base.Code, haveBase = a.Uint32()
	}
	if g, ok := run.Find(avp.ExperimentalResult, 0); ok {
		if a, ok := g.Group().Find(avp.ExperimentalResultCode, 0); ok {
			exp.Code, haveExp = a.Uint32()
			v, _ := g.Group().Find(avp.VendorID, 0)
			exp.Experimental = true
			exp.Vendor, _ = v.Uint32()
		}
	}
	switch {
	case haveBase && haveExp && exp.IsSuccess():
		return base, true
	case haveExp:
		return exp, true
	default:
		return base, haveBase
	}
}

// AVP encodes the result as the one AVP that an answer holds for it.
func (r Result) AVP() *AVP {
	if !r.Experimental {
		return newAVP(avp.ResultCode, datatype.Unsigned32(r.Code))
	}
	return newAVP(avp.ExperimentalResult, NewGroup(
		newAVP(avp.VendorID, datatype.Unsigned32(r.Vendor)),
		newAVP(avp.ExperimentalResultCode, datatype.Unsigned32(r.Code)),
	))
}
