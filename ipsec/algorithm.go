package ipsec

import "strings"

// Integrity is an integrity algorithm: "alg" of TS 33.203 Annex H.
type Integrity uint8

// The integrity algorithms. With aes-gcm, which authenticates by itself, it is null.
const (
	NoIntegrity Integrity = iota // null
	HMACMD5                      // hmac-md5-96 (RFC 2403), deprecated since Rel-13, and what many phones choose
	HMACSHA1                     // hmac-sha-1-96 (RFC 2404)
	AESGMAC                      // aes-gmac (RFC 4543)
	integrityEnds
)

var integrityNames = [...]string{"null", "hmac-md5-96", "hmac-sha-1-96", "aes-gmac"}

func (i Integrity) String() string {
	if i < integrityEnds {
		return integrityNames[i]
	}
	return "?"
}

// Encryption is an encryption algorithm: "ealg" of TS 33.203 Annex H.
type Encryption uint8

// The encryption algorithms.
const (
	NoEncryption Encryption = iota // null (RFC 2410)
	DESEDE3CBC                     // des-ede3-cbc (RFC 2451), deprecated since Rel-12
	AESCBC                         // aes-cbc, 128 bits (RFC 3602)
	AESGCM                         // aes-gcm, 128 bits, 16 octets of ICV (RFC 4106)
	encryptionEnds
)

var encryptionNames = [...]string{"null", "des-ede3-cbc", "aes-cbc", "aes-gcm"}

func (e Encryption) String() string {
	if e < encryptionEnds {
		return encryptionNames[e]
	}
	return "?"
}

// Pair is what protects a set: an integrity and an encryption algorithm.
type Pair struct {
	Alg  Integrity
	EAlg Encryption
}

// Pairs are all that TS 33.203 Annex H can express and Annex I has keys for, the
// strongest first.
var Pairs = []Pair{
	{NoIntegrity, AESGCM}, {AESGMAC, NoEncryption},
	{HMACSHA1, AESCBC}, {HMACSHA1, NoEncryption}, {HMACSHA1, DESEDE3CBC},
	{HMACMD5, AESCBC}, {HMACMD5, NoEncryption}, {HMACMD5, DESEDE3CBC},
}

// ParsePair reads the values of alg and ealg, in any letter case; ealg "" is null.
// It reports false for what is no pair of [Pairs].
func ParsePair(alg, ealg string) (Pair, bool) {
	if ealg == "" {
		ealg = "null"
	}
	for _, p := range Pairs {
		if strings.EqualFold(alg, p.Alg.String()) && strings.EqualFold(ealg, p.EAlg.String()) {
			return p, true
		}
	}
	return Pair{}, false
}

// Valid reports whether p is one of [Pairs]. The zero Pair, no protection at all, is not.
func (p Pair) Valid() bool {
	for _, o := range Pairs {
		if o == p {
			return true
		}
	}
	return false
}

// String returns "hmac-sha-1-96/aes-cbc".
func (p Pair) String() string { return p.Alg.String() + "/" + p.EAlg.String() }
