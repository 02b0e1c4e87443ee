package trace

import (
	"bytes"
	"encoding/binary"
)

// RedactSIP returns raw, or a copy of it in which the values of the ck and ik
// parameters (TS 24.229 7.2A.1: the keys on their way from S-CSCF to P-CSCF)
// are overwritten by x. Lengths and all other octets stay.
func RedactSIP(raw []byte) []byte {
	out := raw
	for _, name := range [...]string{"ck=", "ik="} {
		for from := 0; ; {
			i := indexParam(raw[from:], name)
			if i < 0 {
				break
			}
			from += i + len(name)
			if &out[0] == &raw[0] {
				out = bytes.Clone(raw)
			}
			from = blankValue(out, from)
		}
	}
	return out
}

// indexParam finds name, in any case, where a parameter can begin.
func indexParam(b []byte, name string) int {
	for i := 1; i+len(name) <= len(b); i++ {
		if b[i]|0x20 != name[0] || !bytes.EqualFold(b[i:i+len(name)], []byte(name)) {
			continue
		}
		switch b[i-1] {
		case ',', ' ', '\t', ';', '\n':
			return i
		}
	}
	return -1
}

// blankValue overwrites the token or quoted string at i and returns where it ends.
func blankValue(b []byte, i int) int {
	if i < len(b) && b[i] == '"' {
		for i++; i < len(b) && b[i] != '"' && b[i] != '\r' && b[i] != '\n'; i++ {
			b[i] = 'x'
		}
		return i
	}
	for ; i < len(b) && !bytes.ContainsRune([]byte(", \t;\r\n"), rune(b[i])); i++ {
		b[i] = 'x'
	}
	return i
}

// AVP codes of TS 29.229 whose data must not be shown: SIP-Authorization (XRES
// in an answer), Confidentiality-Key and Integrity-Key; and the group in which
// they stand, SIP-Auth-Data-Item.
const (
	avpSIPAuthorization   = 610
	avpSIPAuthDataItem    = 612
	avpConfidentialityKey = 625
	avpIntegrityKey       = 626

	diameterHeader = 20 // RFC 6733 3
)

// RedactDiameter returns a copy of raw, one Diameter message, in which the data
// of XRES, CK and IK is zero. What cannot be walked as AVPs is zeroed from there
// on, so that nothing leaks through a malformed message.
func RedactDiameter(raw []byte) []byte {
	out := bytes.Clone(raw)
	if len(out) > diameterHeader {
		redactAVPs(out[diameterHeader:], 0)
	}
	return out
}

func redactAVPs(b []byte, depth int) {
	for len(b) > 0 {
		if len(b) < 8 || depth > 4 {
			clear(b)
			return
		}
		code := binary.BigEndian.Uint32(b)
		size := int(binary.BigEndian.Uint32(b[4:]) & 0xffffff)
		head := 8
		if b[4]&0x80 != 0 {
			head = 12
		}
		if size < head || size > len(b) {
			clear(b)
			return
		}
		switch code {
		case avpSIPAuthorization, avpConfidentialityKey, avpIntegrityKey:
			clear(b[head:size])
		case avpSIPAuthDataItem:
			redactAVPs(b[head:size], depth+1)
		}
		b = b[min((size+3)&^3, len(b)):]
	}
}
