package aka

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strconv"
	"strings"
)

// DigestAlgorithm is the algorithm directive of a challenge.
type DigestAlgorithm uint8

const (
	// AKAv1MD5 is AKAv1-MD5: the password is RES (RFC 3310). The zero value,
	// because it is what every phone supports.
	AKAv1MD5 DigestAlgorithm = iota
	// AKAv2MD5 is AKAv2-MD5: the password depends on CK and IK too (RFC 4169).
	AKAv2MD5
	// AKAv2SHA256 is AKAv2-SHA-256, the same with SHA-256 in the digest and in the
	// password's HMAC (RFC 4169 with the hash of RFC 7616 and RFC 8760).
	AKAv2SHA256
)

var digestNames = [...]string{AKAv1MD5: "AKAv1-MD5", AKAv2MD5: "AKAv2-MD5", AKAv2SHA256: "AKAv2-SHA-256"}

// ParseDigestAlgorithm reads an algorithm directive, in either case. An unknown
// one is an *UnsupportedDigestError.
func ParseDigestAlgorithm(s string) (DigestAlgorithm, error) {
	for a, name := range digestNames {
		if strings.EqualFold(s, name) {
			return DigestAlgorithm(a), nil
		}
	}
	return 0, &UnsupportedDigestError{s}
}

// String gives the directive's value, such as AKAv1-MD5.
func (a DigestAlgorithm) String() string {
	if !a.valid() {
		return "DigestAlgorithm(" + strconv.Itoa(int(a)) + ")"
	}
	return digestNames[a]
}

func (a DigestAlgorithm) valid() bool { return int(a) < len(digestNames) }

// Password gives the digest password: the octets of RES for AKAv1; for AKAv2
// base64(HMAC(RES‖IK‖CK, "http-digest-akav2-password")), 24 characters with
// HMAC-MD5 and 44 with HMAC-SHA-256 (RFC 4169 3). The UE passes RES, the S-CSCF
// XRES. For AKAv1 the result shares the octets of res.
func (a DigestAlgorithm) Password(res, ck, ik Secret) Secret {
	var h func() hash.Hash
	switch a {
	case AKAv2MD5:
		h = md5.New
	case AKAv2SHA256:
		h = sha256.New
	default:
		return res
	}
	key := make([]byte, 0, res.Len()+ik.Len()+ck.Len())
	key = append(append(append(key, res.Bytes()...), ik.Bytes()...), ck.Bytes()...)
	defer clear(key)
	prf := hmac.New(h, key)
	prf.Write([]byte("http-digest-akav2-password"))
	return ownSecret(base64.StdEncoding.AppendEncode(nil, prf.Sum(nil)))
}
