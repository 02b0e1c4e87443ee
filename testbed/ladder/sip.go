package ladder

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
)

// message is what an arrow shows.
type message struct {
	label  string
	text   string // what it does
	clause string
	cause  string // for failures: what the sender says of the reason
	failed bool
	key    string // equal for a retransmission, empty when none can be told
}

// describeSIP says what a SIP message from one node to another does. Phones'
// node names begin with "ue:".
func describeSIP(raw []byte, from, to string) message {
	m, err := sip.Parse(string(raw))
	if err != nil {
		return message{label: "?", text: fmt.Sprintf("%d octets that are not SIP: %v", len(raw), err), failed: true}
	}
	// Who talks to a P-CSCF and tells no events is a phone.
	if from == "pcscf" && isAddress(to) {
		to = phonePrefix + to
	} else if to == "pcscf" && isAddress(from) {
		from = phonePrefix + from
	}
	var out message
	if m.IsRequest() {
		out = describeRequest(m, from, to)
		out.label = m.Method()
		if hasSDP(m) {
			out.label += " (SDP)"
		}
	} else {
		out = describeResponse(m, from, to)
		out.label = fmt.Sprintf("%d %s", m.Status(), m.Method())
		if m.Status() >= 400 && m.Status() != 401 && m.Status() != 407 {
			out.failed = true
			out.cause = cause(m)
		}
	}
	if via, err := m.TopVia(); err == nil {
		cs, _ := m.CSeq()
		out.key = fmt.Sprintf("%s %s %d %d %s", via.Branch, out.label, cs.Seq, len(raw), m.ToTag())
	}
	return out
}

// phonePrefix begins the names of phones' nodes.
const phonePrefix = "ue:"

func isPhone(node string) bool { return strings.HasPrefix(node, phonePrefix) }

func isAddress(node string) bool {
	_, err := netip.ParseAddrPort(node)
	return err == nil
}

func describeRequest(m *sip.Message, from, to string) message {
	inDialog := m.ToTag() != ""
	switch method := m.Method(); method {
	case "REGISTER":
		return describeRegister(m, from, to)
	case "INVITE":
		if inDialog {
			return message{text: "changes the session: a new offer within the dialog", clause: "RFC 3261 14"}
		}
		return describeInitial(m, from, to, "asks "+short(m.RequestURI())+" for a call")
	case "MESSAGE":
		return describeInitial(m, from, to, "carries a text for "+short(m.RequestURI()))
	case "ACK":
		return message{text: "confirms the final response to the INVITE", clause: "RFC 3261 13.2.2.4"}
	case "PRACK":
		return message{text: "confirms that the provisional response has arrived", clause: "RFC 3262 4"}
	case "UPDATE":
		if reserved(m.Body()) {
			return message{text: "tells that its resources are reserved", clause: "RFC 3312 5, TS 24.229 5.1.3"}
		}
		return message{text: "changes the session or refreshes it", clause: "RFC 3311 5"}
	case "BYE":
		return message{text: "ends the call", clause: "RFC 3261 15"}
	case "CANCEL":
		return message{text: "the caller gives up before an answer", clause: "RFC 3261 9"}
	case "SUBSCRIBE":
		return message{text: "wants to be told of changes: event " + m.Get(sip.HEvent), clause: "TS 24.229 5.1.1.3, RFC 3680"}
	case "NOTIFY":
		return message{text: "tells the state of event " + m.Get(sip.HEvent) + ": " + m.Get(sip.HSubscriptionState), clause: "TS 24.229 5.4.2.1.2, RFC 3680"}
	case "OPTIONS":
		return message{text: "asks what the other side can do", clause: "RFC 3261 11"}
	default:
		if inDialog {
			return message{text: "within the dialog"}
		}
		return describeInitial(m, from, to, "a request of its own")
	}
}

func describeRegister(m *sip.Message, from, to string) message {
	cred, err := sip.ParseCredentials(m.Get(sip.HAuthorization))
	who := short(addressOf(m, sip.HTo))
	leave := m.Get(sip.HExpires) == "0"
	switch {
	case !isPhone(from) && to == "icscf":
		return message{text: "Path, visited network and charging identifier added; says whether IPsec protects it", clause: "TS 24.229 5.2.2"}
	case from == "icscf":
		return message{text: "to the S-CSCF that is assigned or chosen", clause: "TS 24.229 5.3.1.2"}
	case !isPhone(from):
		return message{text: "tells the application server that " + who + " is registered (or no longer)", clause: "TS 24.229 5.4.1.7"}
	case err == nil && cred.AUTS != "":
		return message{text: "the SIM refuses the sequence number and sends AUTS: resynchronise", clause: "TS 33.102 6.3.5, RFC 3310 3.4"}
	case err == nil && cred.Nonce != "" && cred.Response == "":
		return message{text: "the SIM refuses the challenge: MAC failure, K or OPc differ from the HSS", clause: "TS 33.203 6.1.2.2", failed: true}
	case leave:
		return message{text: who + " wants to leave", clause: "TS 24.229 5.1.1.6"}
	case err == nil && cred.Response != "":
		return message{text: "answers the challenge: proves that the SIM holds K", clause: "TS 24.229 5.1.1.5.1, RFC 3310"}
	default:
		return message{text: who + " asks to register; no challenge yet", clause: "TS 24.229 5.1.1.2"}
	}
}

// describeInitial says where an initial request is on its way.
func describeInitial(m *sip.Message, from, to, what string) message {
	switch {
	case isPhone(from):
		return message{text: what + "; route: P-CSCF, then the Service-Route", clause: "TS 24.229 5.1.2A.1.1"}
	case from == "pcscf" && to == "scscf":
		return message{text: "identity asserted; along the Service-Route: originating", clause: "TS 24.229 5.2.6.3"}
	case from == "scscf" && to == "icscf":
		return message{text: "originating services done; to the called side's home: where is it registered?", clause: "TS 24.229 5.4.3.2"}
	case from == "icscf":
		return message{text: "to the S-CSCF that the HSS named: terminating", clause: "TS 24.229 5.3.2.1"}
	case from == "scscf" && to == "pcscf":
		return message{text: "along the stored Path to the registered contact", clause: "TS 24.229 5.4.3.3"}
	case from == "scscf":
		return message{text: "a filter criterion matched: to its application server, with the way back in Route", clause: "TS 24.229 5.4.3.4"}
	case to == "scscf":
		return message{text: "back from the application server by the original dialog identifier", clause: "TS 24.229 5.4.3.4"}
	case from == "pcscf" && isPhone(to):
		return message{text: "to the phone, without what it must not see", clause: "TS 24.229 5.2.6.4"}
	default:
		return message{text: what}
	}
}

func describeResponse(m *sip.Message, from, to string) message {
	code := m.Status()
	switch method := m.Method(); {
	case code == 100:
		return message{text: "working on it", clause: "RFC 3261 17.2.1"}
	case method == "REGISTER" && code == 401:
		return describeChallenge(m, to)
	case method == "REGISTER" && code == 200:
		if !m.Has(sip.HContact) {
			return message{text: "done: no contact is registered any more", clause: "TS 24.229 5.4.1.4"}
		}
		if isPhone(to) {
			return message{text: "registered: Service-Route and identities come along", clause: "TS 24.229 5.4.1.2.2F"}
		}
		return message{text: "accepted", clause: "TS 24.229 5.4.1.2.2F"}
	case code == 183:
		return message{text: "session progress: answer to the offer, preconditions not met yet", clause: "RFC 3312 5, TS 24.229 5.1.4"}
	case code == 180:
		return message{text: "the phone rings", clause: "RFC 3261 13.3.1.1"}
	case code/100 == 2 && method == "INVITE":
		return message{text: "the call is accepted", clause: "RFC 3261 13.3.1.4"}
	case code/100 == 2:
		return message{text: method + " done", clause: doneBy[method]}
	case code == 487:
		return message{text: "ended by the CANCEL", clause: "RFC 3261 9.2"}
	default:
		return message{text: m.Reason(), clause: fmt.Sprintf("RFC 3261 21.%d", code/100)}
	}
}

// doneBy are the clauses on what a 2xx to a method means.
var doneBy = map[string]string{
	"PRACK": "RFC 3262 3", "UPDATE": "RFC 3311 5", "BYE": "RFC 3261 15.1.2", "CANCEL": "RFC 3261 9.2", "OPTIONS": "RFC 3261 11.2",
	"SUBSCRIBE": "RFC 6665 4.2", "NOTIFY": "RFC 6665 4.1.3", "MESSAGE": "RFC 3428 7", "REFER": "RFC 3515 2.4.4",
	"PUBLISH": "RFC 3903 6", "INFO": "RFC 6086 4.2.2", "REGISTER": "RFC 3261 10.3",
}

// reserved reports whether an SDP says that its sender has its resources: the
// current status of the local segment is not none (RFC 3312 5).
func reserved(sdp string) bool {
	for line := range strings.Lines(sdp) {
		status, ok := strings.CutPrefix(strings.TrimSpace(line), "a=curr:qos local ")
		if ok && status != "none" {
			return true
		}
	}
	return false
}

func describeChallenge(m *sip.Message, to string) message {
	ch, err := sip.ParseChallenge(m.Get(sip.HWWWAuthenticate))
	switch {
	case err != nil:
		return message{text: "a challenge that cannot be read: " + err.Error(), failed: true}
	case ch.CK != "" || ch.IK != "":
		if isPhone(to) {
			return message{text: "CK and IK reach the phone: they must stay in the P-CSCF", clause: "TS 24.229 5.2.2.2", failed: true}
		}
		return message{text: "challenge: RAND and AUTN, with CK and IK for the P-CSCF", clause: "TS 24.229 5.4.1.2.1A"}
	default:
		return message{text: "challenge: RAND and AUTN; CK and IK taken out", clause: "TS 24.229 5.2.2"}
	}
}

// cause returns what the sender of a failure says about it.
func cause(m *sip.Message) string {
	if w := m.Get(sip.HWarning); w != "" {
		if i := strings.IndexByte(w, '"'); i >= 0 {
			w = sip.Unquote(w[i:])
		}
		return w
	}
	if r := m.Get(sip.HReason); r != "" {
		return r
	}
	if m.Reason() != sip.StatusText(m.Status()) {
		return m.Reason()
	}
	return ""
}

func hasSDP(m *sip.Message) bool {
	return m.Body() != "" && strings.HasPrefix(strings.ToLower(m.Get(sip.HContentType)), "application/sdp")
}

func addressOf(m *sip.Message, id sip.ID) string {
	a, err := sip.ParseNameAddr(m.Get(id))
	if err != nil {
		return m.Get(id)
	}
	return a.URI
}

// short leaves out of a URI what does not tell people apart.
func short(uri string) string {
	if i := strings.IndexAny(uri, ";?"); i >= 0 {
		uri = uri[:i]
	}
	if i := strings.IndexByte(uri, '@'); i >= 0 && len(uri) > 40 {
		uri = uri[:i]
	}
	return uri
}
