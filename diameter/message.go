package diameter

import (
	"fmt"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// Command codes of the base protocol (RFC 6733 3.1).
const (
	CapabilitiesExchange uint32 = 257
	DeviceWatchdog       uint32 = 280
	DisconnectPeer       uint32 = 282
)

// RelayApplication is advertised by agents that forward any application
// (RFC 6733 2.4).
const RelayApplication uint32 = 0xffffffff

// Vendor3GPP is the IANA enterprise number of 3GPP.
const Vendor3GPP uint32 = 10415

// Command flags of the header (RFC 6733 3).
const (
	FlagRequest       uint8 = diam.RequestFlag
	FlagProxiable     uint8 = diam.ProxiableFlag
	FlagError         uint8 = diam.ErrorFlag
	FlagRetransmitted uint8 = diam.RetransmittedFlag
)

// HeaderLen is the length of a message header in octets.
const HeaderLen = diam.HeaderLength

// A Message is a Diameter message: the header's fields and its AVPs in order.
// Once given to Do or Answer it must not be changed: a request may be sent again.
//
// The first of its AVPs may be held as they are on the wire, and are in messages
// that were received and in those that a node begins; AVPs holds those after them.
// All, Find and Text see both.
type Message struct {
	Flags       uint8
	Command     uint32
	Application uint32
	HopByHop    uint32 // set by the node that sends
	EndToEnd    uint32 // set by the node that sends, kept over retransmissions
	AVPs        []*AVP

	body Run // whole AVPs, before AVPs
	dict *Dictionary
	more bool // received, and others came with it
}

// NewRequest returns a proxiable request, the kind every application defines.
func NewRequest(application, command uint32) *Message {
	return &Message{Flags: FlagRequest | FlagProxiable, Application: application, Command: command}
}

// IsRequest reports whether the R bit is set.
func (m *Message) IsRequest() bool { return m.Flags&FlagRequest != 0 }

// IsRetransmitted reports whether the T bit is set.
func (m *Message) IsRetransmitted() bool { return m.Flags&FlagRetransmitted != 0 }

// Add appends AVPs.
func (m *Message) Add(avps ...*AVP) { m.AVPs = append(m.AVPs, avps...) }

// Find returns the first AVP with this code and vendor, nil if there is none.
func (m *Message) Find(code, vendor uint32) *AVP {
	if a, ok := m.body.Find(code, vendor); ok {
		return m.decoded(a)
	}
	return Find(m.AVPs, code, vendor)
}

// All returns every AVP, decoded where it was not.
func (m *Message) All() []*AVP {
	if m.body == "" {
		return m.AVPs
	}
	var out []*AVP
	for a, rest, ok := m.body.Next(); ok; a, rest, ok = rest.Next() {
		out = append(out, m.decoded(a))
	}
	return append(out, m.AVPs...)
}

// decoded makes go-diameter's AVP of one that was checked.
func (m *Message) decoded(r Raw) *AVP {
	w := walker{d: m.dict, app: m.Application}
	a, _, fault := w.one(appendRaw(nil, r), 0)
	if fault != nil { // what a caller has encoded and no dictionary knows
		return opaqueAVP(r.Code, r.Flags, r.Vendor, []byte(r.Value))
	}
	return a
}

// Encoded returns every AVP as it is on the wire.
func (m *Message) Encoded() Run {
	if len(m.AVPs) == 0 {
		return m.body
	}
	return Run(m.Append(nil)[HeaderLen:])
}

// SetEncoded makes b, whole AVPs appended one after the other, the message's first;
// d is what knows them. b is the caller's again afterwards.
func (m *Message) SetEncoded(d *Dictionary, b []byte) { m.body, m.dict = Run(b), d }

// Text returns the value of the first AVP of a string type with this code and
// vendor, "" if there is none.
func (m *Message) Text(code, vendor uint32) string {
	if a, ok := m.body.Find(code, vendor); ok {
		if def := m.dict.Lookup(m.Application, code, vendor); def != nil && isString(def.Type) {
			return a.Value
		}
		return ""
	}
	return Text(Find(m.AVPs, code, vendor))
}

func isString(t datatype.TypeID) bool {
	switch t {
	case datatype.UTF8StringType, datatype.OctetStringType, datatype.DiameterIdentityType, datatype.DiameterURIType:
		return true
	}
	return false
}

// has reports whether the message holds an AVP of the base protocol.
func (m *Message) has(code uint32) bool {
	_, ok := m.body.Find(code, 0)
	return ok || Find(m.AVPs, code, 0) != nil
}

// SessionID returns the Session-Id, "" if there is none.
func (m *Message) SessionID() string { return m.Text(avp.SessionID, 0) }

// OriginHost returns the Origin-Host, "" if there is none.
func (m *Message) OriginHost() string { return m.Text(avp.OriginHost, 0) }

// OriginRealm returns the Origin-Realm, "" if there is none.
func (m *Message) OriginRealm() string { return m.Text(avp.OriginRealm, 0) }

// Len returns the length of the encoded message in octets.
func (m *Message) Len() int {
	n := HeaderLen + len(m.body)
	for _, a := range m.AVPs {
		n += a.Len()
	}
	return n
}

// Append appends the encoded message to b.
func (m *Message) Append(b []byte) []byte { return m.appendAs(b, m.Flags, m.HopByHop) }

// appendAs encodes with other flags and another Hop-by-Hop identifier: one
// message may be under way on two connections, so it is never written to.
func (m *Message) appendAs(b []byte, flags uint8, hopByHop uint32) []byte {
	start, n := len(b), m.Len()
	if need := start + n; need <= cap(b) {
		b = b[:need]
	} else {
		b = append(b, make([]byte, n)...)
	}
	out := b[start:]
	h := diam.Header{
		Version: 1, MessageLength: uint32(n), CommandFlags: flags, CommandCode: m.Command,
		ApplicationID: m.Application, HopByHopID: hopByHop, EndToEndID: m.EndToEnd,
	}
	h.SerializeTo(out)
	out = out[HeaderLen:]
	out = out[copy(out, m.body):]
	for _, a := range m.AVPs {
		l := a.Len()
		// SerializeTo fails only on an AVP without data, on which Len would
		// have panicked already.
		_ = a.SerializeTo(out[:l])
		out = out[l:]
	}
	return b
}

// String names the message without any AVP value, so that it may be logged.
func (m *Message) String() string {
	kind := "answer"
	if m.IsRequest() {
		kind = "request"
	}
	return fmt.Sprintf("%s %d of application %d (hop-by-hop %#08x, end-to-end %#08x)",
		kind, m.Command, m.Application, m.HopByHop, m.EndToEnd)
}
