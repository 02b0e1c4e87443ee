package diameter

import (
	"net/netip"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// An AVP is go-diameter's: code, flags, vendor and a typed value. Its String
// method prints the value, keys too: never log it.
type AVP = diam.AVP

// Find returns the first AVP with this code and vendor, nil if there is none.
// go-diameter's FindAVP looks at the code alone.
func Find(avps []*AVP, code, vendor uint32) *AVP {
	for _, a := range avps {
		if a.Code == code && a.VendorID == vendor {
			return a
		}
	}
	return nil
}

// Text returns the value of an AVP of any string type, "" for nil and for
// other types.
func Text(a *AVP) string {
	if a == nil {
		return ""
	}
	switch v := a.Data.(type) {
	case datatype.UTF8String:
		return string(v)
	case datatype.OctetString:
		return string(v)
	case datatype.DiameterIdentity:
		return string(v)
	case datatype.DiameterURI:
		return string(v)
	}
	return ""
}

// Octets returns a copy of the value of an AVP of a string type, nil for nil
// and for other types.
func Octets(a *AVP) []byte {
	if a == nil {
		return nil
	}
	if u, ok := a.Data.(datatype.Unknown); ok {
		return append([]byte{}, u...)
	}
	if s, ok := a.Data.(datatype.OctetString); ok {
		return []byte(s)
	}
	if s := Text(a); s != "" {
		return []byte(s)
	}
	return nil
}

// Uint32 returns the value of an Unsigned32 AVP; false for nil and other types.
func Uint32(a *AVP) (uint32, bool) {
	if a == nil {
		return 0, false
	}
	v, ok := a.Data.(datatype.Unsigned32)
	return uint32(v), ok
}

// Uint64 returns the value of an Unsigned64 AVP; false for nil and other types.
func Uint64(a *AVP) (uint64, bool) {
	if a == nil {
		return 0, false
	}
	v, ok := a.Data.(datatype.Unsigned64)
	return uint64(v), ok
}

// Enumerated returns the value of an Enumerated AVP; false for nil and other types.
func Enumerated(a *AVP) (int32, bool) {
	if a == nil {
		return 0, false
	}
	v, ok := a.Data.(datatype.Enumerated)
	return int32(v), ok
}

// Time returns the value of a Time AVP; false for nil and other types.
func Time(a *AVP) (time.Time, bool) {
	if a == nil {
		return time.Time{}, false
	}
	v, ok := a.Data.(datatype.Time)
	return time.Time(v), ok
}

// Addr returns the value of an Address AVP that holds an IP address; false for
// nil, other types and other address families.
func Addr(a *AVP) (netip.Addr, bool) {
	if a == nil {
		return netip.Addr{}, false
	}
	v, ok := a.Data.(datatype.Address)
	if !ok {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(v)
	return ip.Unmap(), ok
}

// Group returns the members of a Grouped AVP, nil for nil and other types.
func Group(a *AVP) []*AVP {
	if a == nil {
		return nil
	}
	if g, ok := a.Data.(*diam.GroupedAVP); ok {
		return g.AVP
	}
	return nil
}

// NewGroup is the value of a Grouped AVP with these members.
func NewGroup(members ...*AVP) datatype.Type { return &diam.GroupedAVP{AVP: members} }

// newAVP makes an AVP of the base protocol with the flags of RFC 6733 4.5.
func newAVP(code uint32, data datatype.Type) *AVP {
	var flags uint8 = avp.Mbit
	switch code {
	case avp.ErrorMessage, avp.ErrorReportingHost, avp.ProductName, avp.FirmwareRevision:
		flags = 0
	}
	return diam.NewAVP(code, flags, 0, data)
}
