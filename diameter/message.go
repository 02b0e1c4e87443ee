package diameter

import (
	"fmt"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
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
type Message struct {
	Flags       uint8
	Command     uint32
	Application uint32
	HopByHop    uint32 // set by the node that sends
	EndToEnd    uint32 // set by the node that sends, kept over retransmissions
	AVPs        []*AVP
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
func (m *Message) Find(code, vendor uint32) *AVP { return Find(m.AVPs, code, vendor) }

// Text returns the value of the first AVP of a string type with this code and
// vendor, "" if there is none.
func (m *Message) Text(code, vendor uint32) string { return Text(m.Find(code, vendor)) }

// SessionID returns the Session-Id, "" if there is none.
func (m *Message) SessionID() string { return m.Text(avp.SessionID, 0) }

// OriginHost returns the Origin-Host, "" if there is none.
func (m *Message) OriginHost() string { return m.Text(avp.OriginHost, 0) }

// OriginRealm returns the Origin-Realm, "" if there is none.
func (m *Message) OriginRealm() string { return m.Text(avp.OriginRealm, 0) }

// Len returns the length of the encoded message in octets.
func (m *Message) Len() int {
	n := HeaderLen
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
