// Package reginfo builds and reads registration information documents (RFC
// 3680 clause 5), which tell a phone, its P-CSCF and application servers who is
// registered where: with the GRUUs of RFC 5628 and the wildcarded identities of
// TS 24.229 7.10.2.
package reginfo

// ContentType is the media type of the documents.
const ContentType = "application/reginfo+xml"

// EventPackage is the value of Event in their SUBSCRIBE and NOTIFY.
const EventPackage = "reg"

// Document is a reginfo document.
type Document struct {
	// Version is 0 in the first NOTIFY of a subscription and grows by one with
	// each (RFC 3680 5.2).
	Version uint32
	// Partial is false when the document has every registration of the
	// subscription, true when it has only those that changed.
	Partial       bool
	Registrations []Registration
}

// Registration is the state of one public identity.
type Registration struct {
	AOR string // address of record: the public identity
	// ID names the registration in later documents of the same subscription.
	ID    string
	State State
	// WildcardedIdentity is set when AOR is any of the identities that it
	// stands for (TS 24.229 7.10.2.1).
	WildcardedIdentity string
	Contacts           []Contact
}

// State is the state of a registration or contact (RFC 3680 3.4 and 3.5).
type State uint8

// A contact is only Active or Terminated.
const (
	Init State = iota
	Active
	Terminated
)

var states = [...]string{"init", "active", "terminated"}

func (s State) String() string {
	if int(s) < len(states) {
		return states[s]
	}
	return "unknown"
}

// Event is what brought a contact into its state.
type Event uint8

// The events of RFC 3680 5.3. Beside each, when TS 24.229 5.4 has the S-CSCF
// use it.
const (
	Registered   Event = iota + 1 // by a REGISTER of this identity
	Created                       // implicitly, by the registration of another one of its set
	Refreshed                     // a re-REGISTER
	Shortened                     // the network wants the phone to re-authenticate
	Expired                       // the phone did not come back in time
	Deactivated                   // by the network; the phone shall register anew
	Probation                     // by the network; the phone may register after Retry-After
	Unregistered                  // a REGISTER with Expires 0, or for one contact
	Rejected                      // by the network; the phone shall not register again
)

var events = [...]string{"", "registered", "created", "refreshed", "shortened", "expired",
	"deactivated", "probation", "unregistered", "rejected"}

func (e Event) String() string {
	if e == 0 || int(e) >= len(events) {
		return "unknown"
	}
	return events[e]
}

// State returns the state that a contact is in after the event.
func (e Event) State() State {
	if e >= Expired {
		return Terminated
	}
	return Active
}

// Contact is one binding.
type Contact struct {
	ID    string // unique within the registration, kept over documents
	State State
	Event Event
	URI   string
	// Expires is in seconds; 0 is absent, which a shortened contact cannot be.
	Expires uint32
	// RetryAfter is in seconds, for Probation; 0 is absent.
	RetryAfter uint32
	// DurationRegistered is in seconds; 0 is absent.
	DurationRegistered uint32
	Q                  string // "0.5"; empty is absent
	CallID             string
	CSeq               uint32 // 0 is absent
	DisplayName        string
	// UnknownParams are the Contact parameters beyond expires and q, such as
	// +sip.instance and feature tags, unquoted by nobody.
	UnknownParams []Param
	PubGRUU       string
	TempGRUU      string
	// TempGRUUFirstCSeq is the CSeq of the REGISTER that got the first still
	// valid temporary GRUU (RFC 5628 5.2).
	TempGRUUFirstCSeq uint32
}

// Param is a Contact parameter with its value as in the Contact, or empty.
type Param struct{ Name, Value string }
