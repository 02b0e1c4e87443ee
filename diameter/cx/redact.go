package cx

import (
	"encoding/binary"
	"slices"

	"github.com/gocscf/gocscf/diameter"
)

// secret names the AVPs whose values are blanked. SIP-Authorization is one
// although it is public in a request: some HSSes put K there in an answer.
func secret(code, vendor uint32) bool {
	if vendor == diameter.Vendor3GPP {
		return code == avpSIPAuthorization.Code || code == avpConfidentialityKey.Code ||
			code == avpIntegrityKey.Code || code == avpAlternateDigestHA1.Code
	}
	return vendor == 0 && code == avpDigestHA1.Code
}

func holdsSecrets(code, vendor uint32) bool {
	return vendor == diameter.Vendor3GPP && (code == avpSIPAuthDataItem.Code || code == avpSIPDigestAuthenticate.Code) ||
		vendor == 0 && code == avpFailed.Code
}

// Redact returns a message, as it was on the wire, with zeros for the values of
// keys and responses: SIP-Authorization, Confidentiality-Key, Integrity-Key and
// the HA1 values, wherever they stand. Lengths stay. raw itself is returned when
// there is nothing to hide and is never changed.
//
// A message of another application holds no such AVP, and one whose structure
// is broken is blanked from the break on.
func Redact(raw []byte) []byte {
	if len(raw) < diameter.HeaderLen {
		return raw
	}
	r := redactor{raw: raw, out: raw}
	r.walk(diameter.HeaderLen, len(raw), 0)
	return r.out
}

type redactor struct{ raw, out []byte }

func (r *redactor) blank(from, to int) {
	if from >= to {
		return
	}
	if &r.out[0] == &r.raw[0] {
		r.out = slices.Clone(r.raw)
	}
	clear(r.out[from:to])
}

func (r *redactor) walk(at, end, depth int) {
	for at < end {
		b := r.raw[at:end]
		if len(b) < 8 {
			r.blank(at, end)
			return
		}
		code := binary.BigEndian.Uint32(b)
		length := int(b[5])<<16 | int(b[6])<<8 | int(b[7])
		header, vendor := 8, uint32(0)
		if b[4]&0x80 != 0 {
			header = 12
			if len(b) >= 12 {
				vendor = binary.BigEndian.Uint32(b[8:])
			}
		}
		if length < header || length > len(b) {
			r.blank(at+8, end)
			return
		}
		switch {
		case secret(code, vendor):
			r.blank(at+header, at+length)
		case holdsSecrets(code, vendor) && depth < 8:
			r.walk(at+header, at+length, depth+1)
		}
		at = min(at+(length+3)&^3, end)
	}
}
