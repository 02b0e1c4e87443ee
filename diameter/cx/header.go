package cx

import (
	"slices"

	"github.com/gocscf/gocscf/diameter"
)

// RequestHeader is what every Cx request holds beside its own AVPs. The
// application and Auth-Session-State are not in it: they never vary.
type RequestHeader struct {
	SessionID         string // made by the node when empty
	OriginHost        string // of the sender; set by the node
	OriginRealm       string // of the sender; set by the node
	DestinationHost   string // see Client for when it is filled in
	DestinationRealm  string // the client's realm when empty
	SupportedFeatures []SupportedFeatures
}

// AnswerHeader is what every Cx answer holds beside its own AVPs.
type AnswerHeader struct {
	SessionID         string // of the request; set by the server
	OriginHost        string // of the sender; set by the node
	OriginRealm       string // of the sender; set by the node
	Result            diameter.Result
	ErrorMessage      string
	FailedAVP         []*diameter.AVP
	RedirectHosts     []string // with DIAMETER_REDIRECT_INDICATION
	SupportedFeatures []SupportedFeatures
	// More is set by a client that is about to pass on other answers, which came with
	// this one.
	More bool
}

// More returns the answer's AnswerHeader.More.
func More(a Answer) bool { return a.header().More }

// Request is one of *UAR, *SAR, *LIR, *MAR, *RTR, *PPR.
type Request interface {
	fielder
	command() uint32
	header() *RequestHeader
	// identities are the private and public identity that the request is about.
	identities() (impi, impu string)
}

// Answer is one of *UAA, *SAA, *LIA, *MAA, *RTA, *PPA.
type Answer interface {
	fielder
	header() *AnswerHeader
}

func (h *RequestHeader) header() *RequestHeader { return h }
func (h *AnswerHeader) header() *AnswerHeader   { return h }

// EncodeRequest makes the message for a request that the node sends.
func EncodeRequest(n *diameter.Node, q Request) *diameter.Message {
	h := q.header()
	return encodeRequest(n, q, h.DestinationHost, h.DestinationRealm)
}

func encodeRequest(n *diameter.Node, q Request, host, realm string) *diameter.Message {
	h := q.header()
	m := diameter.NewRequest(Application, q.command())
	c := newEncoder()
	defer c.free()
	c.b = n.AppendRequest(c.b, Application, h.SessionID)
	c.text(avpDestinationHost, &host)
	c.text(avpDestinationRealm, &realm)
	q.fields(c)
	c.features(&h.SupportedFeatures)
	m.SetEncoded(dictionary, c.b)
	return m
}

// DecodeRequest reads a request into q. What the dictionary demands and the
// request lacks is returned as the fault to answer: DIAMETER_MISSING_AVP with an
// example in Failed-AVP, or DIAMETER_AVP_OCCURS_TOO_MANY_TIMES. q is filled with
// what there is in either case, for those who mimic a more tolerant HSS.
func DecodeRequest(m *diameter.Message, q Request) *diameter.AVPError {
	h := q.header()
	c := newDecoder(m.Encoded())
	defer c.free()
	c.text(avpSessionID, &h.SessionID)
	c.text(avpOriginHost, &h.OriginHost)
	c.text(avpOriginRealm, &h.OriginRealm)
	c.text(avpDestinationHost, &h.DestinationHost)
	c.text(avpDestinationRealm, &h.DestinationRealm)
	c.features(&h.SupportedFeatures)
	q.fields(c)
	return dictionary.Check(m)
}

// EncodeAnswer makes the message that answers a request. It holds exactly one of
// Result-Code and Experimental-Result (TS 29.229 6.2). A zero Result, which is a
// mistake of the caller, goes out as DIAMETER_UNABLE_TO_COMPLY.
func EncodeAnswer(r *diameter.Request, a Answer) *diameter.Message {
	h := a.header()
	res := sendable(h.Result)
	c := newEncoder()
	defer c.free()
	var m *diameter.Message
	m, c.b = r.AppendAnswer(c.b, res)
	c.text(avpErrorMessage, &h.ErrorMessage)
	if len(h.FailedAVP) > 0 {
		c.b = diameter.AppendValue(c.b, avpFailed, diameter.NewGroup(h.FailedAVP...))
	}
	c.texts(avpRedirectHost, &h.RedirectHosts)
	c.features(&h.SupportedFeatures)
	a.fields(c)
	m.SetEncoded(dictionary, c.b)
	return m
}

// DecodeAnswer reads an answer into a, whatever it lacks. SERVER_SELECTION,
// which old HSSes send, reads as FIRST_REGISTRATION.
func DecodeAnswer(m *diameter.Message, a Answer) {
	h := a.header()
	c := newDecoder(m.Encoded())
	defer c.free()
	c.text(avpSessionID, &h.SessionID)
	c.text(avpOriginHost, &h.OriginHost)
	c.text(avpOriginRealm, &h.OriginRealm)
	c.text(avpErrorMessage, &h.ErrorMessage)
	h.FailedAVP = diameter.Group(m.Find(avpFailed.Code, avpFailed.Vendor))
	c.texts(avpRedirectHost, &h.RedirectHosts)
	c.features(&h.SupportedFeatures)
	res, _ := m.Result()
	h.Result = received(res)
	a.fields(c)
}

// inOrder sorts items by their number where every one has a number, and leaves
// them as they came otherwise.
func inOrder(items []AuthDataItem) {
	for i := range items {
		if items[i].ItemNumber == 0 {
			return
		}
	}
	slices.SortStableFunc(items, func(a, b AuthDataItem) int { return int(int64(a.ItemNumber) - int64(b.ItemNumber)) })
}
