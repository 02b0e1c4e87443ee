package cx

var (
	avpVisitedNetworkIdentifier       = def("Visited-Network-Identifier")
	avpUserAuthorizationType          = def("User-Authorization-Type")
	avpUARFlags                       = def("UAR-Flags")
	avpServerCapabilities             = def("Server-Capabilities")
	avpWildcardedPublicIdentity       = def("Wildcarded-Public-Identity")
	avpServerAssignmentType           = def("Server-Assignment-Type")
	avpUserDataAlreadyAvailable       = def("User-Data-Already-Available")
	avpSCSCFRestorationInfo           = def("SCSCF-Restoration-Info")
	avpMultipleRegistrationIndication = def("Multiple-Registration-Indication")
	avpSessionPriority                = def("Session-Priority")
	avpSARFlags                       = def("SAR-Flags")
	avpFailedPCSCF                    = def("Failed-PCSCF")
	avpUserData                       = def("User-Data")
	avpChargingInformation            = def("Charging-Information")
	avpAssociatedIdentities           = def("Associated-Identities")
	avpAssociatedRegisteredGroups     = def("Associated-Registered-Groups")
	avpLooseRouteIndication           = def("Loose-Route-Indication")
	avpPriviledgedSenderIndication    = def("Priviledged-Sender-Indication")
	avpAllowedWebRTC                  = def("Allowed-WAF-WWSF-Identities")
	avpOriginatingRequest             = def("Originating-Request")
	avpLIAFlags                       = def("LIA-Flags")
	avpSIPNumberAuthItems             = def("SIP-Number-Auth-Items")
	avpSIPAuthDataItem                = def("SIP-Auth-Data-Item")
	avpDeregistrationReason           = def("Deregistration-Reason")
	avpRTRFlags                       = def("RTR-Flags")
	avpEmergencyRegistration          = def("Identity-with-Emergency-Registration")
)

// UAR is User-Authorization-Request (TS 29.229 6.1.1).
type UAR struct {
	RequestHeader
	UserName         string // IMPI
	PublicIdentity   string // IMPU, with its scheme
	VisitedNetworkID string
	Type             UserAuthorizationType
	Flags            uint32 // UAREmergencyRegistration
}

func (*UAR) command() uint32                { return UserAuthorization }
func (q *UAR) identities() (string, string) { return q.UserName, q.PublicIdentity }

func (q *UAR) fields(c *coder) {
	c.text(avpUserName, &q.UserName)
	c.text(avpPublicIdentity, &q.PublicIdentity)
	c.text(avpVisitedNetworkIdentifier, &q.VisitedNetworkID)
	enum(c, avpUserAuthorizationType, &q.Type)
	c.number(avpUARFlags, &q.Flags)
}

// UAA is User-Authorization-Answer (TS 29.229 6.1.2). A success may come with
// ServerName, with Capabilities, or with neither: the I-CSCF then chooses.
type UAA struct {
	AnswerHeader
	ServerName   string // as sent, see ServerURI
	Capabilities *ServerCapabilities
}

func (a *UAA) fields(c *coder) {
	c.text(avpServerName, &a.ServerName)
	group(c, avpServerCapabilities, &a.Capabilities)
}

// SAR is Server-Assignment-Request (TS 29.229 6.1.3).
type SAR struct {
	RequestHeader
	UserName                 string   // IMPI; absent for some services of unregistered users
	PublicIdentities         []string // more than one only when de-registering
	WildcardedPublicIdentity string
	ServerName               string // the S-CSCF's own SIP URI
	Type                     ServerAssignmentType
	UserDataAlreadyAvailable UserDataAlreadyAvailable
	Restoration              *SCSCFRestorationInfo
	MultipleRegistration     MultipleRegistrationIndication
	SessionPriority          *SessionPriority
	Flags                    uint32 // SARPCSCFRestoration
	FailedPCSCF              *FailedPCSCF
}

func (*SAR) command() uint32 { return ServerAssignment }

func (q *SAR) identities() (string, string) {
	if len(q.PublicIdentities) > 0 {
		return q.UserName, q.PublicIdentities[0]
	}
	return q.UserName, ""
}

func (q *SAR) fields(c *coder) {
	c.text(avpUserName, &q.UserName)
	c.texts(avpPublicIdentity, &q.PublicIdentities)
	c.text(avpWildcardedPublicIdentity, &q.WildcardedPublicIdentity)
	c.text(avpServerName, &q.ServerName)
	enumAlways(c, avpServerAssignmentType, &q.Type)
	enumAlways(c, avpUserDataAlreadyAvailable, &q.UserDataAlreadyAvailable)
	group(c, avpSCSCFRestorationInfo, &q.Restoration)
	enum(c, avpMultipleRegistrationIndication, &q.MultipleRegistration)
	enumOptional(c, avpSessionPriority, &q.SessionPriority)
	c.number(avpSARFlags, &q.Flags)
	group(c, avpFailedPCSCF, &q.FailedPCSCF)
}

// SAA is Server-Assignment-Answer (TS 29.229 6.1.4).
type SAA struct {
	AnswerHeader
	UserName                 string
	UserData                 string // the profile, XML (TS 29.228 Annex B and E)
	Charging                 *ChargingInformation
	AssociatedIdentities     *Identities // the IMPIs of the subscription
	AssociatedGroups         *Identities // Associated-Registered-Groups
	LooseRoute               LooseRouteIndication
	Restorations             []SCSCFRestorationInfo
	ServerName               string // with IDENTITY_ALREADY_REGISTERED: who serves the user
	WildcardedPublicIdentity string
	PriviledgedSender        PriviledgedSenderIndication
	AllowedWebRTC            *AllowedWebRTC
}

func (a *SAA) fields(c *coder) {
	c.text(avpUserName, &a.UserName)
	c.text(avpUserData, &a.UserData)
	group(c, avpChargingInformation, &a.Charging)
	group(c, avpAssociatedIdentities, &a.AssociatedIdentities)
	enum(c, avpLooseRouteIndication, &a.LooseRoute)
	groups(c, avpSCSCFRestorationInfo, &a.Restorations)
	group(c, avpAssociatedRegisteredGroups, &a.AssociatedGroups)
	c.text(avpServerName, &a.ServerName)
	c.text(avpWildcardedPublicIdentity, &a.WildcardedPublicIdentity)
	enum(c, avpPriviledgedSenderIndication, &a.PriviledgedSender)
	group(c, avpAllowedWebRTC, &a.AllowedWebRTC)
}

// LIR is Location-Info-Request (TS 29.229 6.1.5).
type LIR struct {
	RequestHeader
	PublicIdentity string
	// Originating tells that Originating-Request is present. Its one value is
	// ORIGINATING (0); some HSSes look for 1, so its presence is what counts.
	Originating     bool
	Type            *UserAuthorizationType // RegistrationAndCapabilities, or absent
	SessionPriority *SessionPriority
}

func (*LIR) command() uint32                { return LocationInfo }
func (q *LIR) identities() (string, string) { return "", q.PublicIdentity }

func (q *LIR) fields(c *coder) {
	var originating *originatingRequest
	if q.Originating {
		originating = new(originatingRequest)
	}
	enumOptional(c, avpOriginatingRequest, &originating)
	q.Originating = originating != nil
	c.text(avpPublicIdentity, &q.PublicIdentity)
	enumOptional(c, avpUserAuthorizationType, &q.Type)
	enumOptional(c, avpSessionPriority, &q.SessionPriority)
}

// originatingRequest is Originating-Request (TS 29.229 6.3.34): ORIGINATING is 0.
type originatingRequest int32

// LIA is Location-Info-Answer (TS 29.229 6.1.6).
type LIA struct {
	AnswerHeader
	ServerName               string // as sent, see ServerURI
	Capabilities             *ServerCapabilities
	WildcardedPublicIdentity string
	Flags                    uint32 // LIAPSIDirectRouting
}

func (a *LIA) fields(c *coder) {
	c.text(avpServerName, &a.ServerName)
	group(c, avpServerCapabilities, &a.Capabilities)
	c.text(avpWildcardedPublicIdentity, &a.WildcardedPublicIdentity)
	c.number(avpLIAFlags, &a.Flags)
}

// MAR is Multimedia-Auth-Request (TS 29.229 6.1.7).
type MAR struct {
	RequestHeader
	UserName        string
	PublicIdentity  string
	NumberAuthItems uint32 // vectors wanted; 0 is sent as 1
	Item            AuthDataItem
	ServerName      string
}

func (*MAR) command() uint32                { return MultimediaAuth }
func (q *MAR) identities() (string, string) { return q.UserName, q.PublicIdentity }

func (q *MAR) fields(c *coder) {
	c.text(avpUserName, &q.UserName)
	c.text(avpPublicIdentity, &q.PublicIdentity)
	item := &q.Item
	group(c, avpSIPAuthDataItem, &item)
	if item != nil {
		q.Item = *item
	}
	n := q.NumberAuthItems
	if !c.decoding && n == 0 {
		n = 1
	}
	c.number(avpSIPNumberAuthItems, &n)
	if c.decoding {
		q.NumberAuthItems = n
	}
	c.text(avpServerName, &q.ServerName)
}

// MAA is Multimedia-Auth-Answer (TS 29.229 6.1.8).
type MAA struct {
	AnswerHeader
	UserName        string
	PublicIdentity  string
	NumberAuthItems uint32
	Items           []AuthDataItem // in the order to use them
}

func (a *MAA) fields(c *coder) {
	c.text(avpUserName, &a.UserName)
	c.text(avpPublicIdentity, &a.PublicIdentity)
	c.number(avpSIPNumberAuthItems, &a.NumberAuthItems)
	groups(c, avpSIPAuthDataItem, &a.Items)
	if c.decoding {
		inOrder(a.Items)
	}
}

// RTR is Registration-Termination-Request (TS 29.229 6.1.9).
type RTR struct {
	RequestHeader
	UserName             string
	AssociatedIdentities *Identities
	PublicIdentities     []string // none: every identity of UserName
	Reason               DeregistrationReason
	Flags                uint32 // RTRReferenceLocationChange
}

func (*RTR) command() uint32 { return RegistrationTermination }

func (q *RTR) identities() (string, string) {
	if len(q.PublicIdentities) > 0 {
		return q.UserName, q.PublicIdentities[0]
	}
	return q.UserName, ""
}

func (q *RTR) fields(c *coder) {
	c.text(avpUserName, &q.UserName)
	group(c, avpAssociatedIdentities, &q.AssociatedIdentities)
	c.texts(avpPublicIdentity, &q.PublicIdentities)
	reason := &q.Reason
	group(c, avpDeregistrationReason, &reason)
	if reason != nil {
		q.Reason = *reason
	}
	c.number(avpRTRFlags, &q.Flags)
}

// RTA is Registration-Termination-Answer (TS 29.229 6.1.10).
type RTA struct {
	AnswerHeader
	AssociatedIdentities *Identities
	Emergency            []EmergencyRegistration // pairs that stay registered
}

func (a *RTA) fields(c *coder) {
	group(c, avpAssociatedIdentities, &a.AssociatedIdentities)
	groups(c, avpEmergencyRegistration, &a.Emergency)
}

// PPR is Push-Profile-Request (TS 29.229 6.1.11).
type PPR struct {
	RequestHeader
	UserName      string
	UserData      string
	Charging      *ChargingInformation
	Item          *AuthDataItem
	AllowedWebRTC *AllowedWebRTC
}

func (*PPR) command() uint32                { return PushProfile }
func (q *PPR) identities() (string, string) { return q.UserName, "" }

func (q *PPR) fields(c *coder) {
	c.text(avpUserName, &q.UserName)
	c.text(avpUserData, &q.UserData)
	group(c, avpChargingInformation, &q.Charging)
	group(c, avpSIPAuthDataItem, &q.Item)
	group(c, avpAllowedWebRTC, &q.AllowedWebRTC)
}

// PPA is Push-Profile-Answer (TS 29.229 6.1.12).
type PPA struct {
	AnswerHeader
}

func (*PPA) fields(*coder) {}
