package aka

import (
	"crypto/subtle"
	"encoding/hex"
)

// AUTN authenticates the network to the USIM: SQN ⊕ AK (6 octets), AMF (2),
// MAC-A (8) (TS 33.102 6.3.2).
type AUTN [16]byte

// AMF gives the authentication management field, which AUTN carries in clear.
func (a AUTN) AMF() AMF { return AMF(a[6])<<8 | AMF(a[7]) }

// MAC gives MAC-A.
func (a AUTN) MAC() [8]byte { return [8]byte(a[8:]) }

// String gives 32 hexadecimal digits.
func (a AUTN) String() string { return hex.EncodeToString(a[:]) }

// ParseAUTN reads 32 hexadecimal digits.
func ParseAUTN(s string) (AUTN, error) {
	var a AUTN
	return a, parseHex("AUTN", s, a[:])
}

// buildAUTN assembles an AUTN. mac must have 8 octets.
func buildAUTN(sqn SQN, ak AK, amf AMF, mac []byte) (a AUTN) {
	s := sqn.Bytes()
	subtle.XORBytes(a[:6], s[:], ak[:])
	a[6], a[7] = byte(amf>>8), byte(amf)
	copy(a[8:], mac)
	return a
}

// Vector is the authentication vector that an HSS hands to an S-CSCF in a MAA
// (TS 33.102 6.3.2, TS 29.228 6.3).
type Vector struct {
	RAND RAND
	AUTN AUTN
	XRES Secret // 4 to 32 octets
	CK   Secret // 16 octets, or 32 with TUAK so configured
	IK   Secret // 16 octets, or 32 with TUAK so configured
}

// NewVector computes the vector for a challenge. The caller sees to it that rand
// is not used twice and sqn increases: see NewRAND and SQNProfile. It fails with
// ErrSQNRange, or ErrMACLength for an algorithm whose MAC has not 64 bits.
func NewVector(alg Algorithm, rand RAND, sqn SQN, amf AMF) (Vector, error) {
	if sqn > maxSQN {
		return Vector{}, ErrSQNRange
	}
	mac := alg.F1(rand, sqn, amf)
	if len(mac) != 8 {
		return Vector{}, ErrMACLength
	}
	res, ck, ik, ak := alg.F2345(rand)
	return Vector{RAND: rand, AUTN: buildAUTN(sqn, ak, amf, mac), XRES: res, CK: ck, IK: ik}, nil
}

// Nonce gives the digest nonce that carries the vector's challenge; serverData,
// which may be nil, follows AUTN (RFC 3310 3.2).
func (v Vector) Nonce(serverData []byte) Nonce {
	return Nonce{RAND: v.RAND, AUTN: v.AUTN, ServerData: serverData}
}

// AUTS is the USIM's answer to a sequence number it does not accept: SQN_MS ⊕ AK*
// (6 octets), MAC-S (8) (TS 33.102 6.3.3).
type AUTS [14]byte

// String gives 28 hexadecimal digits; the auts directive takes Base64.
func (a AUTS) String() string { return hex.EncodeToString(a[:]) }

// amfResync is AMF*, the value that enters MAC-S instead of the AMF so that AUTS
// need not carry it (TS 33.102 6.3.3).
const amfResync AMF = 0

// newAUTS builds the AUTS of a USIM.
func newAUTS(alg Algorithm, rand RAND, sqnMS SQN) (a AUTS) {
	ak := alg.F5Star(rand)
	s := sqnMS.Bytes()
	subtle.XORBytes(a[:6], s[:], ak[:])
	copy(a[6:], alg.F1Star(rand, sqnMS, amfResync))
	return a
}

// VerifyAUTS gives the SQN_MS that a USIM sent in answer to rand, for
// SQNProfile.Resynchronise. It fails with ErrAUTSFailure if MAC-S does not verify,
// or ErrMACLength. The HSS must have challenged with this rand itself.
func VerifyAUTS(alg Algorithm, rand RAND, auts AUTS) (SQN, error) {
	ak := alg.F5Star(rand)
	var s [6]byte
	subtle.XORBytes(s[:], auts[:6], ak[:])
	sqnMS := sqnFromBytes(s)
	mac := alg.F1Star(rand, sqnMS, amfResync)
	if len(mac) != 8 {
		return 0, ErrMACLength
	}
	if subtle.ConstantTimeCompare(mac, auts[6:]) != 1 {
		return 0, ErrAUTSFailure
	}
	return sqnMS, nil
}
