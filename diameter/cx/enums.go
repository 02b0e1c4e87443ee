package cx

import "fmt"

// UserAuthorizationType is why an I-CSCF asks (TS 29.229 6.3.24).
type UserAuthorizationType int32

// Values of User-Authorization-Type. Absence means Registration.
const (
	Registration                UserAuthorizationType = 0
	Deregistration              UserAuthorizationType = 1
	RegistrationAndCapabilities UserAuthorizationType = 2
)

// String returns the name in TS 29.229.
func (t UserAuthorizationType) String() string {
	return enumName(int32(t), "User-Authorization-Type", "REGISTRATION", "DE_REGISTRATION", "REGISTRATION_AND_CAPABILITIES")
}

// ServerAssignmentType is what an S-CSCF tells the HSS (TS 29.229 6.3.15).
type ServerAssignmentType int32

// Values of Server-Assignment-Type. 12 and 13 are of SWx and have no place on Cx.
const (
	NoAssignment                         ServerAssignmentType = 0
	AssignRegistration                   ServerAssignmentType = 1
	AssignReRegistration                 ServerAssignmentType = 2
	UnregisteredUser                     ServerAssignmentType = 3
	TimeoutDeregistration                ServerAssignmentType = 4
	UserDeregistration                   ServerAssignmentType = 5
	TimeoutDeregistrationStoreServerName ServerAssignmentType = 6
	UserDeregistrationStoreServerName    ServerAssignmentType = 7
	AdministrativeDeregistration         ServerAssignmentType = 8
	AuthenticationFailure                ServerAssignmentType = 9
	AuthenticationTimeout                ServerAssignmentType = 10
	DeregistrationTooMuchData            ServerAssignmentType = 11
	AAAUserDataRequest                   ServerAssignmentType = 12
	PGWUpdate                            ServerAssignmentType = 13
	Restoration                          ServerAssignmentType = 14
)

// String returns the name in TS 29.229.
func (t ServerAssignmentType) String() string {
	return enumName(int32(t), "Server-Assignment-Type", "NO_ASSIGNMENT", "REGISTRATION", "RE_REGISTRATION",
		"UNREGISTERED_USER", "TIMEOUT_DEREGISTRATION", "USER_DEREGISTRATION",
		"TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME", "USER_DEREGISTRATION_STORE_SERVER_NAME",
		"ADMINISTRATIVE_DEREGISTRATION", "AUTHENTICATION_FAILURE", "AUTHENTICATION_TIMEOUT",
		"DEREGISTRATION_TOO_MUCH_DATA", "AAA_USER_DATA_REQUEST", "PGW_UPDATE", "RESTORATION")
}

// UserDataAlreadyAvailable tells whether the S-CSCF has the profile
// (TS 29.229 6.3.26).
type UserDataAlreadyAvailable int32

// Values of User-Data-Already-Available.
const (
	UserDataNotAvailable UserDataAlreadyAvailable = 0
	UserDataAvailable    UserDataAlreadyAvailable = 1
)

// String returns the name in TS 29.229.
func (t UserDataAlreadyAvailable) String() string {
	return enumName(int32(t), "User-Data-Already-Available", "USER_DATA_NOT_AVAILABLE", "USER_DATA_ALREADY_AVAILABLE")
}

// ReasonCode is why a registration ends (TS 29.229 6.3.17).
type ReasonCode int32

// Values of Reason-Code.
const (
	PermanentTermination ReasonCode = 0
	NewServerAssigned    ReasonCode = 1
	ServerChange         ReasonCode = 2
	RemoveSCSCF          ReasonCode = 3
)

// String returns the name in TS 29.229.
func (r ReasonCode) String() string {
	return enumName(int32(r), "Reason-Code", "PERMANENT_TERMINATION", "NEW_SERVER_ASSIGNED", "SERVER_CHANGE", "REMOVE_S-CSCF")
}

// LooseRouteIndication asks for loose routing to the served user's registered
// contact (TS 29.229 6.3.45).
type LooseRouteIndication int32

// Values of Loose-Route-Indication. Absence means LooseRouteNotRequired.
const (
	LooseRouteNotRequired LooseRouteIndication = 0
	LooseRouteRequired    LooseRouteIndication = 1
)

// String returns the name in TS 29.229.
func (l LooseRouteIndication) String() string {
	return enumName(int32(l), "Loose-Route-Indication", "LOOSE_ROUTE_NOT_REQUIRED", "LOOSE_ROUTE_REQUIRED")
}

// MultipleRegistrationIndication tells of a registration with outbound
// (TS 29.229 6.3.51).
type MultipleRegistrationIndication int32

// Values of Multiple-Registration-Indication. Absence means NotMultipleRegistration.
const (
	NotMultipleRegistration MultipleRegistrationIndication = 0
	MultipleRegistration    MultipleRegistrationIndication = 1
)

// String returns the name in TS 29.229.
func (m MultipleRegistrationIndication) String() string {
	return enumName(int32(m), "Multiple-Registration-Indication", "NOT_MULTIPLE_REGISTRATION", "MULTIPLE_REGISTRATION")
}

// PriviledgedSenderIndication marks a user whose identity is not screened
// (TS 29.229 6.3.58, spelling included).
type PriviledgedSenderIndication int32

// Values of Priviledged-Sender-Indication. Absence means NotPriviledgedSender.
const (
	NotPriviledgedSender PriviledgedSenderIndication = 0
	PriviledgedSender    PriviledgedSenderIndication = 1
)

// String returns the name in TS 29.229.
func (p PriviledgedSenderIndication) String() string {
	return enumName(int32(p), "Priviledged-Sender-Indication", "NOT_PRIVILEDGED_SENDER", "PRIVILEDGED_SENDER")
}

// SessionPriority is the priority of the session, 0 the highest
// (TS 29.229 6.3.56).
type SessionPriority int32

// Bits of the flag AVPs.
const (
	UAREmergencyRegistration   uint32 = 1 << 0 // UAR-Flags, TS 29.229 6.3.44
	LIAPSIDirectRouting        uint32 = 1 << 0 // LIA-Flags, TS 29.229 6.3.59
	SARPCSCFRestoration        uint32 = 1 << 0 // SAR-Flags, TS 29.229 6.3.62
	RTRReferenceLocationChange uint32 = 1 << 0 // RTR-Flags, TS 29.229 6.3.66
)

func enumName(v int32, name string, names ...string) string {
	if v >= 0 && int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s %d", name, v)
}
