package diameter

import (
	"encoding/binary"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// The functions below append one AVP each to octets that become a message's (see
// [Message.SetEncoded]). They write what go-diameter's AVP.SerializeTo does, without
// an object for each AVP and each value; TestEncodingIsGoDiameters holds them to it.

// appendHeader appends code, flags, length and vendor of an AVP (RFC 6733 4.1) whose
// value has n octets.
func appendHeader(b []byte, def *Definition, flags uint8, n int) []byte {
	header := 8
	if def.Vendor != 0 {
		header, flags = 12, flags|avp.Vbit
	}
	b = binary.BigEndian.AppendUint32(b, def.Code)
	b = binary.BigEndian.AppendUint32(b, uint32(flags)<<24|uint32(header+n)&0xffffff)
	if def.Vendor != 0 {
		b = binary.BigEndian.AppendUint32(b, def.Vendor)
	}
	return b
}

// flags are what the definition asks for, without the V bit.
func (def *Definition) flags() uint8 {
	if def.Mandatory {
		return avp.Mbit
	}
	return 0
}

var zeros [4]byte

func pad(b []byte, n int) []byte { return append(b, zeros[:-n&3]...) }

// AppendString appends an AVP of any string type.
func AppendString[S string | []byte](b []byte, def *Definition, value S) []byte {
	b = appendHeader(b, def, def.flags(), len(value))
	return pad(append(b, value...), len(value))
}

// AppendUint32 appends an Unsigned32 or, converted, an Enumerated AVP.
func AppendUint32(b []byte, def *Definition, v uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(b, def, def.flags(), 4), v)
}

// AppendUint64 appends an Unsigned64 AVP.
func AppendUint64(b []byte, def *Definition, v uint64) []byte {
	return binary.BigEndian.AppendUint64(appendHeader(b, def, def.flags(), 8), v)
}

// AppendValue appends an AVP with a value of go-diameter's.
func AppendValue(b []byte, def *Definition, v datatype.Type) []byte {
	return appendAVP(b, def.New(v))
}

// AppendGroup appends the header of a Grouped AVP, with the M bit also when
// mandatory says so. The members follow; then EndGroup must be called with what
// len(b) was before.
func AppendGroup(b []byte, def *Definition, mandatory bool) []byte {
	flags := def.flags()
	if mandatory {
		flags |= avp.Mbit
	}
	return appendHeader(b, def, flags, 0)
}

// EndGroup sets the length of the group that begins at b[at].
func EndGroup(b []byte, at int) []byte {
	binary.BigEndian.PutUint32(b[at+4:], uint32(b[at+4])<<24|uint32(len(b)-at)&0xffffff)
	return pad(b, len(b)-at)
}

// appendAVP appends an AVP of go-diameter's.
func appendAVP(b []byte, a *diam.AVP) []byte {
	start, n := len(b), a.Len()
	b = append(b, make([]byte, n)...)
	// SerializeTo fails only on an AVP without data, on which Len would have
	// panicked already.
	_ = a.SerializeTo(b[start:])
	return b
}

// appendRaw appends an AVP as it was received.
func appendRaw(b []byte, r Raw) []byte {
	header := 8
	if r.Flags&avp.Vbit != 0 {
		header = 12
	}
	b = binary.BigEndian.AppendUint32(b, r.Code)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Flags)<<24|uint32(header+len(r.Value))&0xffffff)
	if header == 12 {
		b = binary.BigEndian.AppendUint32(b, r.Vendor)
	}
	return pad(append(b, r.Value...), len(r.Value))
}
