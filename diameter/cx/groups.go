package cx

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"

	"github.com/gocscf/gocscf/diameter"
)

// A Secret is a key or a response. However it is printed or marshalled, only its
// length shows.
type Secret []byte

// String gives the length.
func (s Secret) String() string { return fmt.Sprintf("[%d octets]", len(s)) }

// GoString gives the length.
func (s Secret) GoString() string { return s.String() }

// Format gives the length for every verb, %x and %s too.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalJSON gives the length.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

var (
	avpServerName               = def("Server-Name")
	avpMandatoryCapability      = def("Mandatory-Capability")
	avpOptionalCapability       = def("Optional-Capability")
	avpSIPItemNumber            = def("SIP-Item-Number")
	avpSIPAuthenticationScheme  = def("SIP-Authentication-Scheme")
	avpSIPAuthenticate          = def("SIP-Authenticate")
	avpSIPAuthorization         = def("SIP-Authorization")
	avpSIPAuthenticationContext = def("SIP-Authentication-Context")
	avpConfidentialityKey       = def("Confidentiality-Key")
	avpIntegrityKey             = def("Integrity-Key")
	avpSIPDigestAuthenticate    = def("SIP-Digest-Authenticate")
	avpFramedIPAddress          = def("Framed-IP-Address")
	avpFramedIPv6Prefix         = def("Framed-IPv6-Prefix")
	avpFramedInterfaceID        = def("Framed-Interface-Id")
	avpLineIdentifier           = def("Line-Identifier")
	avpDigestRealm              = def("Digest-Realm")
	avpDigestAlgorithm          = def("Digest-Algorithm")
	avpDigestQoP                = def("Digest-QoP")
	avpDigestHA1                = def("Digest-HA1")
	avpAlternateDigestAlgorithm = def("Alternate-Digest-Algorithm")
	avpAlternateDigestHA1       = def("Alternate-Digest-HA1")
	avpReasonCode               = def("Reason-Code")
	avpReasonInfo               = def("Reason-Info")
	avpPrimaryEventCharging     = def("Primary-Event-Charging-Function-Name")
	avpSecondaryEventCharging   = def("Secondary-Event-Charging-Function-Name")
	avpPrimaryCollection        = def("Primary-Charging-Collection-Function-Name")
	avpSecondaryCollection      = def("Secondary-Charging-Collection-Function-Name")
	avpFeatureListID            = def("Feature-List-ID")
	avpFeatureList              = def("Feature-List")
	avpPath                     = def("Path")
	avpContact                  = def("Contact")
	avpInitialCSeq              = def("Initial-CSeq-Sequence-Number")
	avpCallID                   = def("Call-ID-SIP-Header")
	avpFrom                     = def("From-SIP-Header")
	avpTo                       = def("To-SIP-Header")
	avpRecordRoute              = def("Record-Route")
	avpSubscriptionInfo         = def("Subscription-Info")
	avpPCSCFSubscriptionInfo    = def("P-CSCF-Subscription-Info")
	avpRestorationInfo          = def("Restoration-Info")
	avpRegistrationTimeOut      = def("Registration-Time-Out")
	avpPublicIdentity           = def("Public-Identity")
	avpWebRTCAuthentication     = def("WebRTC-Authentication-Function-Name")
	avpWebRTCWebServer          = def("WebRTC-Web-Server-Function-Name")
	avpPCSCFFQDN                = def("PCSCF-FQDN")
	avpPCSCFIPAddress           = def("PCSCF-IP-Address")
	avpSupportedFeatures        = def("Supported-Features")
)

// ServerCapabilities is what an S-CSCF must and should have, and the names that
// the operator prefers (TS 29.229 6.3.4).
type ServerCapabilities struct {
	Mandatory   []uint32
	Optional    []uint32
	ServerNames []string // SIP URIs, see ServerURI
}

func (g *ServerCapabilities) fields(c *coder) {
	c.numbers(avpMandatoryCapability, &g.Mandatory)
	c.numbers(avpOptionalCapability, &g.Optional)
	c.texts(avpServerName, &g.ServerNames)
}

// ServerURI returns a Server-Name as a SIP URI: some HSSes leave the scheme out.
// It does not check the rest. Names are compared as SIP URIs, never as strings.
func ServerURI(name string) string {
	name = strings.TrimSpace(name)
	scheme, _, ok := strings.Cut(name, ":")
	if name == "" || ok && (strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips")) {
		return name
	}
	return "sip:" + name
}

// Authentication schemes of SIP-Authentication-Scheme (TS 29.228 6.3, TS 29.229
// 6.3.9). Peers write them in any case: compare with AuthDataItem.SchemeIs.
const (
	SchemeAKAv1     = "Digest-AKAv1-MD5"
	SchemeAKAv2     = "Digest-AKAv2-SHA-256"
	SchemeSIPDigest = "SIP Digest"
	SchemeUnknown   = "Unknown"
)

// AuthDataItem is one SIP-Auth-Data-Item (TS 29.229 6.3.13).
type AuthDataItem struct {
	ItemNumber uint32 // order among several; 0 where the HSS sends none or 0
	Scheme     string
	// Authenticate holds RAND‖AUTN, 32 octets, in an answer, and in an answer of
	// a digest scheme whatever that scheme asks for.
	Authenticate []byte
	// Authorization holds XRES in an answer, and RAND‖AUTS, 30 octets, in a
	// request for resynchronisation.
	Authorization      Secret
	Context            []byte
	ConfidentialityKey Secret // CK, 16 octets
	IntegrityKey       Secret // IK, 16 octets
	Digest             *DigestAuthenticate
	FramedIPAddress    []byte // 4 octets
	FramedIPv6Prefix   []byte // reserved octet, length, prefix (RFC 3162 2.3)
	FramedInterfaceID  uint64
	LineIdentifiers    [][]byte
}

// SchemeIs compares the scheme without regard to case.
func (g *AuthDataItem) SchemeIs(scheme string) bool { return strings.EqualFold(g.Scheme, scheme) }

func (g *AuthDataItem) fields(c *coder) {
	c.number(avpSIPItemNumber, &g.ItemNumber)
	c.text(avpSIPAuthenticationScheme, &g.Scheme)
	c.octets(avpSIPAuthenticate, &g.Authenticate)
	c.octets(avpSIPAuthorization, (*[]byte)(&g.Authorization))
	c.octets(avpSIPAuthenticationContext, &g.Context)
	c.octets(avpConfidentialityKey, (*[]byte)(&g.ConfidentialityKey))
	c.octets(avpIntegrityKey, (*[]byte)(&g.IntegrityKey))
	group(c, avpSIPDigestAuthenticate, &g.Digest)
	c.octets(avpFramedIPAddress, &g.FramedIPAddress)
	c.octets(avpFramedIPv6Prefix, &g.FramedIPv6Prefix)
	c.number64(avpFramedInterfaceID, &g.FramedInterfaceID)
	c.octetss(avpLineIdentifier, &g.LineIdentifiers)
}

// DigestAuthenticate is SIP-Digest-Authenticate (TS 29.229 6.3.36).
type DigestAuthenticate struct {
	Realm, Algorithm, QoP string
	HA1                   Secret // as the HSS writes it, 32 hexadecimal digits
	AlternateAlgorithm    string
	AlternateHA1          Secret
}

func (g *DigestAuthenticate) fields(c *coder) {
	c.text(avpDigestRealm, &g.Realm)
	c.text(avpDigestAlgorithm, &g.Algorithm)
	c.text(avpDigestQoP, &g.QoP)
	c.octets(avpDigestHA1, (*[]byte)(&g.HA1))
	c.text(avpAlternateDigestAlgorithm, &g.AlternateAlgorithm)
	c.octets(avpAlternateDigestHA1, (*[]byte)(&g.AlternateHA1))
}

// DeregistrationReason is TS 29.229 6.3.16.
type DeregistrationReason struct {
	Code ReasonCode
	Info string // for the user, may be empty
}

func (g *DeregistrationReason) fields(c *coder) {
	enumAlways(c, avpReasonCode, &g.Code)
	c.text(avpReasonInfo, &g.Info)
}

// ChargingInformation names the charging functions (TS 29.229 6.3.19). They
// should be Diameter URIs; HSSes send bare names too.
type ChargingInformation struct {
	PrimaryEvent, SecondaryEvent           string
	PrimaryCollection, SecondaryCollection string
}

func (g *ChargingInformation) fields(c *coder) {
	c.text(avpPrimaryEventCharging, &g.PrimaryEvent)
	c.text(avpSecondaryEventCharging, &g.SecondaryEvent)
	c.text(avpPrimaryCollection, &g.PrimaryCollection)
	c.text(avpSecondaryCollection, &g.SecondaryCollection)
}

// SupportedFeatures is one list of features (TS 29.229 6.3.29).
type SupportedFeatures struct {
	Vendor uint32
	ListID uint32
	List   uint32 // bit mask
	// Required is the M bit of the AVP: the receiver must support every feature
	// in the list or refuse the request (TS 29.229 7.2.1).
	Required bool
}

func (g *SupportedFeatures) fields(c *coder) {
	c.numberAlways(avpVendorID, &g.Vendor)
	c.numberAlways(avpFeatureListID, &g.ListID)
	c.numberAlways(avpFeatureList, &g.List)
}

func (c *coder) features(p *[]SupportedFeatures) {
	if !c.decoding {
		for i := range *p {
			f := &(*p)[i]
			c.encodeGroup(avpSupportedFeatures, f, f.Required)
		}
		return
	}
	*p = nil
	c.each(avpSupportedFeatures, func(a diameter.Raw) {
		f := SupportedFeatures{Required: a.Flags&avp.Mbit != 0}
		c.decodeGroup(a, &f)
		*p = append(*p, f)
	})
}

// Identities is a list of private identities: Associated-Identities (TS 29.229
// 6.3.33) and Associated-Registered-Groups.
type Identities struct {
	UserNames []string
}

func (g *Identities) fields(c *coder) { c.texts(avpUserName, &g.UserNames) }

// SCSCFRestorationInfo is what an S-CSCF leaves at the HSS to be restored
// (TS 29.229 6.3.46, TS 23.380).
type SCSCFRestorationInfo struct {
	UserName            string
	Restorations        []RestorationInfo
	RegistrationTimeOut time.Time // whole seconds
	Scheme              string
}

func (g *SCSCFRestorationInfo) fields(c *coder) {
	c.text(avpUserName, &g.UserName)
	groups(c, avpRestorationInfo, &g.Restorations)
	c.time(avpRegistrationTimeOut, &g.RegistrationTimeOut)
	c.text(avpSIPAuthenticationScheme, &g.Scheme)
}

// RestorationInfo is one registered contact (TS 29.229 6.3.52). Header values
// are as they stood in the REGISTER.
type RestorationInfo struct {
	Path, Contact     string
	InitialCSeq       uint32
	CallID            string
	Subscription      *SubscriptionInfo
	PCSCFSubscription *SubscriptionInfo // without RecordRoute
}

func (g *RestorationInfo) fields(c *coder) {
	c.text(avpPath, &g.Path)
	c.text(avpContact, &g.Contact)
	c.number(avpInitialCSeq, &g.InitialCSeq)
	c.text(avpCallID, &g.CallID)
	group(c, avpSubscriptionInfo, &g.Subscription)
	group(c, avpPCSCFSubscriptionInfo, &g.PCSCFSubscription)
}

// SubscriptionInfo is a subscription to the reg event (TS 29.229 6.3.47).
type SubscriptionInfo struct {
	CallID, From, To, RecordRoute, Contact string
}

func (g *SubscriptionInfo) fields(c *coder) {
	c.text(avpCallID, &g.CallID)
	c.text(avpFrom, &g.From)
	c.text(avpTo, &g.To)
	c.text(avpRecordRoute, &g.RecordRoute)
	c.text(avpContact, &g.Contact)
}

// EmergencyRegistration is Identity-with-Emergency-Registration: a pair that
// stays registered in spite of an RTR (TS 29.229 6.3.57).
type EmergencyRegistration struct {
	UserName, PublicIdentity string
}

func (g *EmergencyRegistration) fields(c *coder) {
	c.text(avpUserName, &g.UserName)
	c.text(avpPublicIdentity, &g.PublicIdentity)
}

// AllowedWebRTC is Allowed-WAF-WWSF-Identities (TS 29.229 6.3.64).
type AllowedWebRTC struct {
	AuthenticationFunctions, WebServerFunctions []string
}

func (g *AllowedWebRTC) fields(c *coder) {
	c.texts(avpWebRTCAuthentication, &g.AuthenticationFunctions)
	c.texts(avpWebRTCWebServer, &g.WebServerFunctions)
}

// FailedPCSCF names the P-CSCF of a P-CSCF restoration (TS 23.380).
type FailedPCSCF struct {
	FQDN string
	IPs  []netip.Addr
}

func (g *FailedPCSCF) fields(c *coder) {
	c.text(avpPCSCFFQDN, &g.FQDN)
	c.addrs(avpPCSCFIPAddress, &g.IPs)
}
