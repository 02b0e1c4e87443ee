package aka

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Values of Digest.QOP (RFC 2617 3.2.1, RFC 7616 3.3).
const (
	QOPNone    = ""         // no qop directive, as in RFC 2069
	QOPAuth    = "auth"     // nc and cnonce enter the response
	QOPAuthInt = "auth-int" // and so does the body
)

// Digest is what enters a digest response, as typed values: directives without
// their quotes, not unescaped.
type Digest struct {
	Algorithm DigestAlgorithm
	Method    string // of the request; empty for rspauth (RFC 2617 3.2.3)
	Username  string // the IMPI
	Realm     string
	Nonce     string // as sent, in base64
	URI       string // the uri directive, not the Request-URI
	QOP       string // as sent: QOPNone, QOPAuth or QOPAuthInt
	NC        string // as sent: 8 hexadecimal digits; with a qop
	CNonce    string // with a qop
	Body      []byte // with auth-int; its hash enters even if it is empty
}

// Response computes the response directive, in lower-case hexadecimal digits: 32
// with MD5, 64 with SHA-256. password is what Password gives, whose octets enter
// as they are, NULs too; or the empty Secret when the request carries auts
// (RFC 3310 3.4). It fails if the QOP is unknown, or nc or cnonce is missing.
func (d *Digest) Response(password Secret) (string, error) {
	if !d.Algorithm.valid() {
		return "", &UnsupportedDigestError{d.Algorithm.String()}
	}
	authInt := strings.EqualFold(d.QOP, QOPAuthInt)
	switch {
	case d.QOP == QOPNone:
	case !authInt && !strings.EqualFold(d.QOP, QOPAuth):
		return "", fmt.Errorf("aka: qop %.20q is neither auth nor auth-int", d.QOP)
	case d.NC == "":
		return "", errors.New("aka: a digest with qop needs nc, which is missing")
	case d.CNonce == "":
		return "", errors.New("aka: a digest with qop needs cnonce, which is missing")
	}

	// One buffer serves all three hashes; it has held the password, so it is
	// cleared. It must not grow, or a copy would stay behind.
	used := buffers.Get().(*[768]byte) // not of the stack, which the runtime copies
	defer buffers.Put(used)
	buf := used[:0]
	if n := 2*hex.EncodedLen(sha256.Size) + len(d.Username) + len(d.Realm) + password.Len() +
		len(d.Method) + len(d.URI) + len(d.Nonce) + len(d.NC) + len(d.CNonce) + len(d.QOP) + 8; n > cap(buf) {
		buf = make([]byte, 0, n)
	}
	defer func() { clear(buf[:cap(buf)]) }()

	buf = join(buf, d.Username, d.Realm)
	buf = append(append(buf, ':'), password.Bytes()...)
	ha1 := d.Algorithm.hash(buf)

	buf = join(buf[:0], d.Method, d.URI)
	if authInt {
		hb := d.Algorithm.hash(d.Body)
		buf = append(append(buf, ':'), hb.hex()...)
	}
	ha2 := d.Algorithm.hash(buf)

	buf = append(append(append(buf[:0], ha1.hex()...), ':'), d.Nonce...)
	if d.QOP != QOPNone {
		buf = join(append(buf, ':'), d.NC, d.CNonce, d.QOP)
	}
	buf = append(append(buf, ':'), ha2.hex()...)
	sum := d.Algorithm.hash(buf)
	return string(sum.hex()), nil
}

// buffers are for what is hashed. They are clear.
var buffers = sync.Pool{New: func() any { return new([768]byte) }}

// Verify compares a received response directive with the expected one, in
// constant time and either case. It fails with ErrResponseMismatch, or as
// Response does.
func (d *Digest) Verify(password Secret, response string) error {
	want, err := d.Response(password)
	if err != nil {
		return err
	}
	// The length is checked first so that a huge directive is not copied.
	if len(response) != len(want) ||
		subtle.ConstantTimeCompare([]byte(strings.ToLower(response)), []byte(want)) != 1 {
		return ErrResponseMismatch
	}
	return nil
}

func join(buf []byte, parts ...string) []byte {
	for i, p := range parts {
		if i > 0 {
			buf = append(buf, ':')
		}
		buf = append(buf, p...)
	}
	return buf
}

// digestSum is a hash in hexadecimal, of either length, without an allocation.
type digestSum struct {
	b [hexSHA256]byte
	n int
}

const hexSHA256 = 2 * sha256.Size

func (s *digestSum) hex() []byte { return s.b[:s.n] }

func (a DigestAlgorithm) hash(b []byte) (s digestSum) {
	if a == AKAv2SHA256 {
		sum := sha256.Sum256(b)
		s.n = hex.Encode(s.b[:], sum[:])
	} else {
		sum := md5.Sum(b)
		s.n = hex.Encode(s.b[:], sum[:])
	}
	return s
}
