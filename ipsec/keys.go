package ipsec

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Key is CK or IK of an AKA run, 16 octets. It is never printed.
type Key [16]byte

// Format writes no octet of the key, whatever the verb.
func (Key) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[key]")) }

// MarshalJSON writes no octet of the key.
func (Key) MarshalJSON() ([]byte, error) { return []byte(`"[key]"`), nil }

// Material is what the transforms of a set are keyed with, the same for its four
// associations (TS 33.203 Annex I). It is never printed.
type Material struct {
	// Integrity is 16 octets for hmac-md5-96 and aes-gmac, 20 for hmac-sha-1-96,
	// nil without.
	Integrity []byte
	// Encryption is 16 octets for aes-cbc and aes-gcm, 24 for des-ede3-cbc, nil
	// without.
	Encryption []byte
	// Salt is for aes-gmac and aes-gcm.
	Salt [4]byte
}

// Format writes no octet of the keys, whatever the verb.
func (Material) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[keys]")) }

// MarshalJSON writes no octet of the keys.
func (Material) MarshalJSON() ([]byte, error) { return []byte(`"[keys]"`), nil }

// Expand makes the keys for a pair from CK and IK (TS 33.203 Annex I).
func Expand(p Pair, ck, ik Key) Material {
	var m Material
	switch p.Alg {
	case HMACMD5:
		m.Integrity = ik[:]
	case HMACSHA1: // IK and 32 zero bits
		m.Integrity = append(ik[:], 0, 0, 0, 0)
	case AESGMAC:
		m.Integrity = ik[:]
		m.Salt = salt(ck, ik, 0x58, "AES_GMAC_SALT")
	}
	switch p.EAlg {
	case DESEDE3CBC: // CK1, CK2, CK1
		m.Encryption = append(ck[:], ck[:8]...)
		for i, b := range m.Encryption {
			m.Encryption[i] = oddParity(b)
		}
	case AESCBC:
		m.Encryption = ck[:]
	case AESGCM:
		m.Encryption = ck[:]
		m.Salt = salt(ck, ik, 0x59, "AES_GCM_SALT")
	}
	return m
}

// salt is the last 32 bits of the key derivation function of TS 33.220 Annex B.2,
// keyed with CK and IK, over FC, P0 and L0.
func salt(ck, ik Key, fc byte, p0 string) (s [4]byte) {
	h := hmac.New(sha256.New, append(ck[:], ik[:]...))
	msg := append([]byte{fc}, p0...)
	h.Write(binary.BigEndian.AppendUint16(msg, uint16(len(p0))))
	copy(s[:], h.Sum(nil)[sha256.Size-4:])
	return s
}

// oddParity makes the lowest bit of a DES key octet what FIPS 46-3 wants.
func oddParity(b byte) byte {
	b &^= 1
	return b | byte(1^bits.OnesCount8(b)&1)
}
