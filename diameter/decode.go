package diameter

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// Bounds on what one message may make us hold. The length of a message is
// bounded by Config.MaxMessage.
const (
	maxDepth     = 8    // groups inside groups; Cx nests four deep
	maxAVPs      = 4096 // of one message, members of groups included
	maxFailedAVP = 4096 // octets of an offending AVP that Failed-AVP repeats
)

// minLength is the least length of a value of the type in octets.
func minLength(t datatype.TypeID) int {
	switch t {
	case datatype.Unsigned32Type, datatype.Integer32Type, datatype.EnumeratedType,
		datatype.Float32Type, datatype.TimeType, datatype.IPv4Type:
		return 4
	case datatype.Unsigned64Type, datatype.Integer64Type, datatype.Float64Type:
		return 8
	case datatype.AddressType:
		return 6 // address family and an IPv4 address
	case datatype.IPv6Type:
		return 16
	}
	return 0
}

// fixedLength reports whether values of the type have exactly minLength octets.
func fixedLength(t datatype.TypeID) bool {
	return minLength(t) > 0 && t != datatype.AddressType
}

// decodeHeader reads the header of a frame that holds at least HeaderLen octets
// and checks what can be checked without a dictionary. The message is returned
// with an error too: its identifiers are needed to answer.
func decodeHeader(frame []byte) (*Message, *AVPError) {
	var h diam.Header
	if err := h.DecodeFromBytes(frame); err != nil {
		return &Message{}, &AVPError{Code: InvalidMessageLength, Reason: err.Error()}
	}
	m := &Message{
		Flags: h.CommandFlags, Command: h.CommandCode, Application: h.ApplicationID,
		HopByHop: h.HopByHopID, EndToEnd: h.EndToEndID,
	}
	switch {
	case h.Version != 1:
		return m, &AVPError{Code: UnsupportedVersion, Reason: fmt.Sprintf("version %d, this node speaks version 1", h.Version)}
	case int(h.MessageLength) != len(frame) || len(frame)%4 != 0:
		return m, &AVPError{Code: InvalidMessageLength, Reason: fmt.Sprintf("message length %d is not a multiple of 4", h.MessageLength)}
	case m.IsRequest() && m.Flags&FlagError != 0:
		return m, &AVPError{Code: InvalidHdrBits, Reason: "a request carries the E bit"}
	}
	return m, nil
}

// Decode reads one whole message. It never panics and never holds more than a
// small multiple of the frame. For a request every fault of RFC 6733 7.1 that
// can be seen without application knowledge is an error; in an answer only what
// cannot be read is, because an answer cannot be answered. The message is
// returned with an error too, with the AVPs before the fault.
//
// The frame is not referred to afterwards.
func (d *Dictionary) Decode(frame []byte) (*Message, *AVPError) {
	if len(frame) < HeaderLen {
		return &Message{}, &AVPError{Code: InvalidMessageLength, Reason: "shorter than a header"}
	}
	m, err := decodeHeader(frame)
	if err != nil {
		return m, err
	}
	err = d.decodeBody(m, frame[HeaderLen:])
	return m, err
}

func (d *Dictionary) decodeBody(m *Message, body []byte) (fault *AVPError) {
	// The structure is checked before go-diameter's codec sees a value, so this
	// is a second line: a fault of the codec costs one message, not the process.
	defer func() {
		if r := recover(); r != nil {
			fault = &AVPError{Code: UnableToComply, Reason: fmt.Sprintf("decoding failed: %v", r)}
		}
	}()
	if c := (checker{t: d.table(m.Application), strict: m.IsRequest()}); m.Application != 0 && c.run(body, 0) {
		m.body, m.dict = Run(body), d
		return nil
	}
	w := walker{d: d, app: m.Application, strict: m.IsRequest()}
	m.AVPs, fault = w.walk(body, 0)
	return fault
}

// A walker checks and decodes the AVPs of one message.
type walker struct {
	d      *Dictionary
	app    uint32
	strict bool // a request: unknown mandatory AVPs and bad values are faults
	opaque bool // inside Failed-AVP, where broken AVPs are to be expected
	count  int
}

// walk decodes a run of AVPs: the body of a message or of a group.
func (w *walker) walk(b []byte, depth int) ([]*AVP, *AVPError) {
	var out []*AVP
	if depth == 0 {
		out = make([]*AVP, 0, 16)
	}
	for len(b) > 0 {
		if w.count++; w.count > maxAVPs {
			return out, &AVPError{Code: UnableToComply, Reason: fmt.Sprintf("more than %d AVPs", maxAVPs)}
		}
		a, n, err := w.one(b, depth)
		if err != nil {
			return out, err
		}
		out = append(out, a)
		b = b[n:]
	}
	return out, nil
}

// one decodes the AVP that b starts with and returns its length with padding.
func (w *walker) one(b []byte, depth int) (*AVP, int, *AVPError) {
	if len(b) < 8 {
		// Not even a header: there is nothing to show but what is there, filled up.
		var h [8]byte
		copy(h[:], b)
		return nil, 0, &AVPError{Code: InvalidAVPLength, AVP: diam.NewAVP(binary.BigEndian.Uint32(h[:4]), 0, 0, datatype.Unknown(nil)),
			Reason: fmt.Sprintf("%d octets are left where an AVP should start", len(b))}
	}
	code, flags := binary.BigEndian.Uint32(b), b[4]
	length := int(b[5])<<16 | int(b[6])<<8 | int(b[7])
	header := 8
	var vendor uint32
	if flags&avp.Vbit != 0 {
		header = 12
		if len(b) >= 12 {
			vendor = binary.BigEndian.Uint32(b[8:])
		}
	}
	def := w.d.Lookup(w.app, code, vendor)
	if length < header || length > len(b) {
		return nil, 0, badLength(def, code, flags, vendor, fmt.Sprintf(
			"%s says %d octets, %d are left", avpName(def, code, vendor), length, len(b)))
	}
	value := b[header:length]
	// The padding of the last member of a group is missing from some peers'
	// messages; the group's own padding makes up for it.
	next := min((length+3)&^3, len(b))

	if def == nil {
		if w.strict && flags&avp.Mbit != 0 && !w.opaque {
			return nil, 0, &AVPError{Code: AVPUnsupported, AVP: failed(code, flags, vendor, value),
				Reason: fmt.Sprintf("AVP %d of vendor %d is not known here and has the M bit", code, vendor)}
		}
		u := make(datatype.Unknown, len(value))
		copy(u, value)
		return diam.NewAVP(code, flags, vendor, u), next, nil
	}
	if w.strict && flags&^(avp.Vbit|avp.Mbit|avp.Pbit) != 0 && !w.opaque {
		return nil, 0, &AVPError{Code: InvalidAVPBits, AVP: failed(code, flags, vendor, value),
			Reason: fmt.Sprintf("%s has reserved flag bits set", def.Name)}
	}
	if def.Type == datatype.GroupedType {
		a, err := w.group(def, flags, value, depth)
		return a, next, err
	}
	if n := minLength(def.Type); len(value) < n && def.Type != datatype.AddressType || fixedLength(def.Type) && len(value) != n {
		if w.opaque {
			return opaqueAVP(code, flags, vendor, value), next, nil
		}
		return nil, 0, badLength(def, code, flags, vendor, fmt.Sprintf(
			"%s holds %d octets, its type has %d", def.Name, len(value), n))
	}
	data, err := datatype.Decode(def.Type, value)
	if err != nil || w.strict && !validValue(def.Type, value) {
		if w.opaque {
			return opaqueAVP(code, flags, vendor, value), next, nil
		}
		return nil, 0, &AVPError{Code: InvalidAVPValue, AVP: failed(code, flags, vendor, value),
			Reason: fmt.Sprintf("the value of %s is not of its type", def.Name)}
	}
	return diam.NewAVP(code, flags, vendor, data), next, nil
}

func (w *walker) group(def *Definition, flags uint8, value []byte, depth int) (*AVP, *AVPError) {
	self := diam.NewAVP(def.Code, flags, def.Vendor, datatype.Unknown(nil))
	if depth+1 > maxDepth {
		return nil, &AVPError{Code: InvalidAVPValue, AVP: self,
			Reason: fmt.Sprintf("groups nest deeper than %d at %s", maxDepth, def.Name)}
	}
	if def.Code == avp.FailedAVP && def.Vendor == 0 && !w.opaque {
		// Failed-AVP holds what was wrong with another message: a missing header
		// octet or a short value there is information, not a fault of this one.
		w.opaque = true
		defer func() { w.opaque = false }()
	}
	members, err := w.walk(value, depth+1)
	if err != nil {
		if w.opaque {
			return opaqueAVP(def.Code, flags, def.Vendor, value), nil
		}
		return nil, err.within(self)
	}
	return diam.NewAVP(def.Code, flags, def.Vendor, NewGroup(members...)), nil
}

func opaqueAVP(code uint32, flags uint8, vendor uint32, value []byte) *AVP {
	return diam.NewAVP(code, flags, vendor, datatype.Unknown(append([]byte{}, value...)))
}

// validValue holds values that go-diameter takes unseen against their type
// (RFC 6733 4.3).
func validValue(t datatype.TypeID, v []byte) bool {
	switch t {
	case datatype.UTF8StringType:
		return utf8.Valid(v)
	case datatype.DiameterIdentityType, datatype.DiameterURIType:
		for _, c := range v {
			if c <= ' ' || c > '~' {
				return false
			}
		}
		return len(v) > 0
	}
	return true
}

// failed is the offending AVP for Failed-AVP, whole if it is not too long.
func failed(code uint32, flags uint8, vendor uint32, value []byte) *AVP {
	if len(value) > maxFailedAVP {
		value = nil
	}
	return opaqueAVP(code, flags&(avp.Mbit|avp.Vbit|avp.Pbit), vendor, value)
}

// badLength is the fault of an AVP whose length cannot be: its header and a
// zero-filled value of the least length (RFC 6733 7.1.5).
func badLength(def *Definition, code uint32, flags uint8, vendor uint32, reason string) *AVPError {
	n := 0
	if def != nil {
		n = minLength(def.Type)
	}
	return &AVPError{Code: InvalidAVPLength, Reason: reason,
		AVP: diam.NewAVP(code, flags&(avp.Mbit|avp.Vbit|avp.Pbit), vendor, datatype.Unknown(make([]byte, n)))}
}

func avpName(def *Definition, code, vendor uint32) string {
	if def != nil {
		return def.Name
	}
	return fmt.Sprintf("AVP %d of vendor %d", code, vendor)
}
