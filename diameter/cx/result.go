package cx

import (
	"errors"

	"github.com/gocscf/gocscf/diameter"
)

// Experimental is a value of Experimental-Result-Code of vendor 10415 (TS 29.229
// 6.2). The numbers are also those of base Result-Codes with other meanings;
// [Experimental.Result] keeps the two apart.
type Experimental uint32

// Results of TS 29.229 6.2. SERVER_SELECTION, 2005, is deprecated: it is never
// sent, and reads as FirstRegistration.
const (
	FirstRegistration          Experimental = 2001
	SubsequentRegistration     Experimental = 2002
	UnregisteredService        Experimental = 2003
	SuccessServerNameNotStored Experimental = 2004
	serverSelection            Experimental = 2005

	// Of Sh (TS 29.329 6.2), which some HSSes send on Cx as well.
	TransientUserDataNotAvailable Experimental = 4100
	PriorUpdateInProgress         Experimental = 4101

	ErrorUserUnknown                   Experimental = 5001
	ErrorIdentitiesDontMatch           Experimental = 5002
	ErrorIdentityNotRegistered         Experimental = 5003
	ErrorRoamingNotAllowed             Experimental = 5004
	ErrorIdentityAlreadyRegistered     Experimental = 5005
	ErrorAuthSchemeNotSupported        Experimental = 5006
	ErrorInAssignmentType              Experimental = 5007
	ErrorTooMuchData                   Experimental = 5008
	ErrorNotSupportedUserData          Experimental = 5009
	ErrorFeatureUnsupported            Experimental = 5011
	ErrorServingNodeFeatureUnsupported Experimental = 5012
)

var experimentalNames = map[Experimental]string{
	FirstRegistration:                  "DIAMETER_FIRST_REGISTRATION",
	SubsequentRegistration:             "DIAMETER_SUBSEQUENT_REGISTRATION",
	UnregisteredService:                "DIAMETER_UNREGISTERED_SERVICE",
	SuccessServerNameNotStored:         "DIAMETER_SUCCESS_SERVER_NAME_NOT_STORED",
	serverSelection:                    "DIAMETER_SERVER_SELECTION",
	TransientUserDataNotAvailable:      "DIAMETER_USER_DATA_NOT_AVAILABLE",
	PriorUpdateInProgress:              "DIAMETER_PRIOR_UPDATE_IN_PROGRESS",
	ErrorUserUnknown:                   "DIAMETER_ERROR_USER_UNKNOWN",
	ErrorIdentitiesDontMatch:           "DIAMETER_ERROR_IDENTITIES_DONT_MATCH",
	ErrorIdentityNotRegistered:         "DIAMETER_ERROR_IDENTITY_NOT_REGISTERED",
	ErrorRoamingNotAllowed:             "DIAMETER_ERROR_ROAMING_NOT_ALLOWED",
	ErrorIdentityAlreadyRegistered:     "DIAMETER_ERROR_IDENTITY_ALREADY_REGISTERED",
	ErrorAuthSchemeNotSupported:        "DIAMETER_ERROR_AUTH_SCHEME_NOT_SUPPORTED",
	ErrorInAssignmentType:              "DIAMETER_ERROR_IN_ASSIGNMENT_TYPE",
	ErrorTooMuchData:                   "DIAMETER_ERROR_TOO_MUCH_DATA",
	ErrorNotSupportedUserData:          "DIAMETER_ERROR_NOT_SUPPORTED_USER_DATA",
	ErrorFeatureUnsupported:            "DIAMETER_ERROR_FEATURE_UNSUPPORTED",
	ErrorServingNodeFeatureUnsupported: "DIAMETER_ERROR_SERVING_NODE_FEATURE_UNSUPPORTED",
}

// Result is the code as what an answer says.
func (e Experimental) Result() diameter.Result {
	return diameter.Result{Code: uint32(e), Experimental: true, Vendor: diameter.Vendor3GPP}
}

// String returns the name in TS 29.229, or the number.
func (e Experimental) String() string {
	if s, ok := experimentalNames[e]; ok {
		return s
	}
	return e.Result().String()
}

// Is reports whether a result is this code, as an Experimental-Result of 3GPP.
func (e Experimental) Is(r diameter.Result) bool { return r == e.Result() }

// ResultName names a result of either number space.
func ResultName(r diameter.Result) string {
	if r.Experimental && r.Vendor == diameter.Vendor3GPP {
		return Experimental(r.Code).String()
	}
	return r.String()
}

// IsResult reports whether err is, or wraps, an answer with the given code of
// 3GPP.
func IsResult(err error, e Experimental) bool {
	var r *diameter.ResultError
	return errors.As(err, &r) && e.Is(r.Result)
}

// received maps what HSSes send to what it means.
func received(r diameter.Result) diameter.Result {
	if serverSelection.Is(r) {
		return FirstRegistration.Result()
	}
	return r
}

// sendable is the result that goes out for one that a handler chose.
func sendable(r diameter.Result) diameter.Result {
	if r.Code == 0 {
		return diameter.Base(diameter.UnableToComply)
	}
	return received(r)
}
