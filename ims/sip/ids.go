package sip

import "strconv"

// ID is the identity of a header field, whatever the spelling of its name.
type ID uint8

// The header fields that the IMS uses: RFC 3261 §20, the extensions that
// TS 24.229 Annex A lists, and those of TS 24.229 §7.2 itself. The last ones are not of
// the IMS: gateways and application servers bill by them all the same (RFC 5806,
// RFC 8496; Remote-Party-ID is what P-Asserted-Identity was before RFC 3325).
const (
	Other ID = iota // a name that is not in this list
	HVia
	HFrom
	HTo
	HCallID
	HCSeq
	HMaxForwards
	HContact
	HRoute
	HRecordRoute
	HContentLength
	HContentType
	HExpires
	HRequire
	HProxyRequire
	HSupported
	HUnsupported
	HAuthorization
	HProxyAuthorization
	HWWWAuthenticate
	HProxyAuthenticate
	HAuthenticationInfo
	HProxyAuthenticationInfo
	HSecurityClient
	HSecurityServer
	HSecurityVerify
	HPath
	HServiceRoute
	HPAssociatedURI
	HPCalledPartyID
	HPVisitedNetworkID
	HPAccessNetworkInfo
	HPChargingFunctionAddresses
	HPChargingVector
	HPAssertedIdentity
	HPPreferredIdentity
	HPAssertedService
	HPPreferredService
	HPServedUser
	HPUserDatabase
	HPProfileKey
	HPEarlyMedia
	HPPrivateNetworkIndication
	HPMediaAuthorization
	HPAnswerState
	HPRefusedURIList
	HPDCSTracePartyID
	HPDCSOSPS
	HPDCSBillingInfo
	HPDCSLAES
	HPDCSRedirect
	HAllow
	HAccept
	HAcceptEncoding
	HAcceptLanguage
	HAcceptContact
	HRejectContact
	HRequestDisposition
	HAcceptResourcePriority
	HResourcePriority
	HAlertInfo
	HAllowEvents
	HEvent
	HSubscriptionState
	HAnswerMode
	HPrivAnswerMode
	HCallInfo
	HCellularNetworkInfo
	HContentDisposition
	HContentEncoding
	HContentLanguage
	HDate
	HEncryption
	HErrorInfo
	HFeatureCaps
	HFlowTimer
	HGeolocation
	HGeolocationError
	HGeolocationRouting
	HHide
	HHistoryInfo
	HIdentity
	HIdentityInfo
	HInReplyTo
	HInfoPackage
	HJoin
	HMaxBreadth
	HMIMEVersion
	HMinExpires
	HMinSE
	HOrganization
	HPermissionMissing
	HPolicyContact
	HPolicyID
	HPriority
	HPriorityShare
	HPrivacy
	HProxyConfig
	HRAck
	HReason
	HRecvInfo
	HReferSub
	HReferTo
	HReferredBy
	HRelayedCharge
	HReplaces
	HReplyTo
	HResponseKey
	HResponseSource
	HRestorationInfo
	HRetryAfter
	HRSeq
	HServer
	HSessionExpires
	HSessionID
	HSIPETag
	HSIPIfMatch
	HSubject
	HSuppressIfMatch
	HTargetDialog
	HTimestamp
	HTriggerConsent
	HUserAgent
	HUsertoUser
	HWarning
	HAdditionalIdentity
	HAttestationInfo
	HOriginationId
	HServiceInteractInfo
	HDiversion
	HPChargeInfo
	HRemotePartyID

	idCount
)

var idNames = [idCount]string{
	HVia:                        "Via",
	HFrom:                       "From",
	HTo:                         "To",
	HCallID:                     "Call-ID",
	HCSeq:                       "CSeq",
	HMaxForwards:                "Max-Forwards",
	HContact:                    "Contact",
	HRoute:                      "Route",
	HRecordRoute:                "Record-Route",
	HContentLength:              "Content-Length",
	HContentType:                "Content-Type",
	HExpires:                    "Expires",
	HRequire:                    "Require",
	HProxyRequire:               "Proxy-Require",
	HSupported:                  "Supported",
	HUnsupported:                "Unsupported",
	HAuthorization:              "Authorization",
	HProxyAuthorization:         "Proxy-Authorization",
	HWWWAuthenticate:            "WWW-Authenticate",
	HProxyAuthenticate:          "Proxy-Authenticate",
	HAuthenticationInfo:         "Authentication-Info",
	HProxyAuthenticationInfo:    "Proxy-Authentication-Info",
	HSecurityClient:             "Security-Client",
	HSecurityServer:             "Security-Server",
	HSecurityVerify:             "Security-Verify",
	HPath:                       "Path",
	HServiceRoute:               "Service-Route",
	HPAssociatedURI:             "P-Associated-URI",
	HPCalledPartyID:             "P-Called-Party-ID",
	HPVisitedNetworkID:          "P-Visited-Network-ID",
	HPAccessNetworkInfo:         "P-Access-Network-Info",
	HPChargingFunctionAddresses: "P-Charging-Function-Addresses",
	HPChargingVector:            "P-Charging-Vector",
	HPAssertedIdentity:          "P-Asserted-Identity",
	HPPreferredIdentity:         "P-Preferred-Identity",
	HPAssertedService:           "P-Asserted-Service",
	HPPreferredService:          "P-Preferred-Service",
	HPServedUser:                "P-Served-User",
	HPUserDatabase:              "P-User-Database",
	HPProfileKey:                "P-Profile-Key",
	HPEarlyMedia:                "P-Early-Media",
	HPPrivateNetworkIndication:  "P-Private-Network-Indication",
	HPMediaAuthorization:        "P-Media-Authorization",
	HPAnswerState:               "P-Answer-State",
	HPRefusedURIList:            "P-Refused-URI-List",
	HPDCSTracePartyID:           "P-DCS-Trace-Party-ID",
	HPDCSOSPS:                   "P-DCS-OSPS",
	HPDCSBillingInfo:            "P-DCS-Billing-Info",
	HPDCSLAES:                   "P-DCS-LAES",
	HPDCSRedirect:               "P-DCS-Redirect",
	HAllow:                      "Allow",
	HAccept:                     "Accept",
	HAcceptEncoding:             "Accept-Encoding",
	HAcceptLanguage:             "Accept-Language",
	HAcceptContact:              "Accept-Contact",
	HRejectContact:              "Reject-Contact",
	HRequestDisposition:         "Request-Disposition",
	HAcceptResourcePriority:     "Accept-Resource-Priority",
	HResourcePriority:           "Resource-Priority",
	HAlertInfo:                  "Alert-Info",
	HAllowEvents:                "Allow-Events",
	HEvent:                      "Event",
	HSubscriptionState:          "Subscription-State",
	HAnswerMode:                 "Answer-Mode",
	HPrivAnswerMode:             "Priv-Answer-Mode",
	HCallInfo:                   "Call-Info",
	HCellularNetworkInfo:        "Cellular-Network-Info",
	HContentDisposition:         "Content-Disposition",
	HContentEncoding:            "Content-Encoding",
	HContentLanguage:            "Content-Language",
	HDate:                       "Date",
	HEncryption:                 "Encryption",
	HErrorInfo:                  "Error-Info",
	HFeatureCaps:                "Feature-Caps",
	HFlowTimer:                  "Flow-Timer",
	HGeolocation:                "Geolocation",
	HGeolocationError:           "Geolocation-Error",
	HGeolocationRouting:         "Geolocation-Routing",
	HHide:                       "Hide",
	HHistoryInfo:                "History-Info",
	HIdentity:                   "Identity",
	HIdentityInfo:               "Identity-Info",
	HInReplyTo:                  "In-Reply-To",
	HInfoPackage:                "Info-Package",
	HJoin:                       "Join",
	HMaxBreadth:                 "Max-Breadth",
	HMIMEVersion:                "MIME-Version",
	HMinExpires:                 "Min-Expires",
	HMinSE:                      "Min-SE",
	HOrganization:               "Organization",
	HPermissionMissing:          "Permission-Missing",
	HPolicyContact:              "Policy-Contact",
	HPolicyID:                   "Policy-ID",
	HPriority:                   "Priority",
	HPriorityShare:              "Priority-Share",
	HPrivacy:                    "Privacy",
	HProxyConfig:                "Proxy-Config",
	HRAck:                       "RAck",
	HReason:                     "Reason",
	HRecvInfo:                   "Recv-Info",
	HReferSub:                   "Refer-Sub",
	HReferTo:                    "Refer-To",
	HReferredBy:                 "Referred-By",
	HRelayedCharge:              "Relayed-Charge",
	HReplaces:                   "Replaces",
	HReplyTo:                    "Reply-To",
	HResponseKey:                "Response-Key",
	HResponseSource:             "Response-Source",
	HRestorationInfo:            "Restoration-Info",
	HRetryAfter:                 "Retry-After",
	HRSeq:                       "RSeq",
	HServer:                     "Server",
	HSessionExpires:             "Session-Expires",
	HSessionID:                  "Session-ID",
	HSIPETag:                    "SIP-ETag",
	HSIPIfMatch:                 "SIP-If-Match",
	HSubject:                    "Subject",
	HSuppressIfMatch:            "Suppress-If-Match",
	HTargetDialog:               "Target-Dialog",
	HTimestamp:                  "Timestamp",
	HTriggerConsent:             "Trigger-Consent",
	HUserAgent:                  "User-Agent",
	HUsertoUser:                 "User-to-User",
	HWarning:                    "Warning",
	HAdditionalIdentity:         "Additional-Identity",
	HAttestationInfo:            "Attestation-Info",
	HOriginationId:              "Origination-Id",
	HServiceInteractInfo:        "Service-Interact-Info",
	HDiversion:                  "Diversion",
	HPChargeInfo:                "P-Charge-Info",
	HRemotePartyID:              "Remote-Party-ID",
}

// compactIDs are the one-letter names (RFC 3261 §7.3.3 and the IANA registry).
var compactIDs = [26]ID{
	'a' - 'a': HAcceptContact,
	'b' - 'a': HReferredBy,
	'c' - 'a': HContentType,
	'd' - 'a': HRequestDisposition,
	'e' - 'a': HContentEncoding,
	'f' - 'a': HFrom,
	'i' - 'a': HCallID,
	'j' - 'a': HRejectContact,
	'k' - 'a': HSupported,
	'l' - 'a': HContentLength,
	'm' - 'a': HContact,
	'n' - 'a': HIdentityInfo,
	'o' - 'a': HEvent,
	'r' - 'a': HReferTo,
	's' - 'a': HSubject,
	't' - 'a': HTo,
	'u' - 'a': HAllowEvents,
	'v' - 'a': HVia,
	'x' - 'a': HSessionExpires,
	'y' - 'a': HIdentity,
}

// String returns the long form of the name in its usual spelling.
func (id ID) String() string {
	switch {
	case id == Other:
		return "other header"
	case id < idCount:
		return idNames[id]
	}
	return "ID(" + strconv.Itoa(int(id)) + ")"
}
