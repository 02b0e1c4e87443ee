package aka

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
)

// Algorithm is one set of the functions f1 to f5* of TS 33.102 6.3, bound to the
// key of one subscriber. *Milenage, *TUAK and *XOR implement it; they are safe
// for concurrent use.
type Algorithm interface {
	// F1 gives MAC-A: 8 octets, for TUAK as configured 8, 16 or 32.
	F1(rand RAND, sqn SQN, amf AMF) []byte
	// F1Star gives MAC-S, as long as MAC-A. For AUTS amf is 0000.
	F1Star(rand RAND, sqn SQN, amf AMF) []byte
	// F2345 gives RES, CK, IK and AK: 8, 16, 16 and 6 octets with Milenage. RES
	// is 4 to 32 octets with TUAK and 16 with XOR; CK and IK are 16 or 32 with TUAK.
	F2345(rand RAND) (res, ck, ik Secret, ak AK)
	// F5Star gives the AK that hides SQN_MS in AUTS.
	F5Star(rand RAND) AK
}

// RAND is the random challenge, 128 bits.
type RAND [16]byte

// NewRAND draws a RAND from the system's random source.
func NewRAND() RAND {
	var r RAND
	// crypto/rand.Read never fails: it ends the program if there is no randomness.
	_, _ = rand.Read(r[:])
	return r
}

// ParseRAND reads 32 hexadecimal digits.
func ParseRAND(s string) (RAND, error) {
	var r RAND
	return r, parseHex("RAND", s, r[:])
}

// String gives 32 hexadecimal digits.
func (r RAND) String() string { return hex.EncodeToString(r[:]) }

// AK is the anonymity key, 48 bits. It hides SQN from who listens.
type AK [6]byte

// AMF is the authentication management field, 16 bits (TS 33.102 Annex F).
type AMF uint16

// AMFSeparation is the separation bit, bit 0 of the AMF (TS 33.102 Annex H). IMS
// does not use it; EPS demands it, so vectors made with it serve both.
const AMFSeparation AMF = 0x8000

// ParseAMF reads 4 hexadecimal digits.
func ParseAMF(s string) (AMF, error) {
	var b [2]byte
	if err := parseHex("AMF", s, b[:]); err != nil {
		return 0, err
	}
	return AMF(b[0])<<8 | AMF(b[1]), nil
}

// String gives 4 hexadecimal digits.
func (a AMF) String() string { return fmt.Sprintf("%04x", uint16(a)) }

// SQN is a sequence number: 48 bits, SEQ followed by IND (TS 33.102 Annex C).
type SQN uint64

const maxSQN SQN = 1<<48 - 1

// ParseSQN reads 12 hexadecimal digits.
func ParseSQN(s string) (SQN, error) {
	var b [6]byte
	if err := parseHex("SQN", s, b[:]); err != nil {
		return 0, err
	}
	return sqnFromBytes(b), nil
}

// String gives 12 hexadecimal digits.
func (s SQN) String() string { return fmt.Sprintf("%012x", uint64(s)) }

// Bytes gives the 6 octets, most significant first. Bits above the 48th are lost.
func (s SQN) Bytes() [6]byte {
	return [6]byte{byte(s >> 40), byte(s >> 32), byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)}
}

func sqnFromBytes(b [6]byte) SQN {
	return SQN(b[0])<<40 | SQN(b[1])<<32 | SQN(b[2])<<24 | SQN(b[3])<<16 | SQN(b[4])<<8 | SQN(b[5])
}

func parseHex(field, s string, into []byte) error {
	if len(s) != 2*len(into) {
		return &ParseError{Field: field, Problem: strconv.Itoa(len(s)) + " characters, " +
			strconv.Itoa(2*len(into)) + " hexadecimal digits are needed"}
	}
	if _, err := hex.Decode(into, []byte(s)); err != nil {
		return &ParseError{Field: field, Problem: hexProblem(s, err)}
	}
	return nil
}
