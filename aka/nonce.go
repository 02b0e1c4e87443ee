package aka

import (
	"encoding/base64"
	"strconv"
)

// Nonce is what a digest nonce carries in AKA: RAND, AUTN and, if the server
// likes, data of its own (RFC 3310 3.2).
type Nonce struct {
	RAND       RAND
	AUTN       AUTN
	ServerData []byte
}

const (
	challengeOctets = len(RAND{}) + len(AUTN{})
	// maxNonce bounds what is decoded, in base64 characters. RFC 3310 has no
	// bound; servers append some tens of octets.
	maxNonce = 2048
)

// nonceBase64 is standard base64 with padding (RFC 4648 4), and with zero bits
// after the last octet, so that a nonce has one spelling.
var nonceBase64 = base64.StdEncoding.Strict()

// ParseNonce reads a nonce as it stands between its quotes. Fewer than 32 octets,
// bad base64 and more than 2048 characters are a *ParseError; a UE treats that as
// a failed challenge.
func ParseNonce(s string) (Nonce, error) {
	b, err := decodeBase64("nonce", s, maxNonce)
	if err != nil {
		return Nonce{}, err
	}
	return NonceFromOctets(b)
}

// NonceFromOctets reads RAND‖AUTN, 32 octets, and server data, which is what the
// SIP-Authenticate AVP carries (TS 29.229 6.3.10). Fewer octets, or more than fit
// into a nonce that ParseNonce takes, are a *ParseError.
func NonceFromOctets(b []byte) (Nonce, error) {
	if len(b) < challengeOctets || len(b) > maxNonce/4*3 {
		return Nonce{}, &ParseError{Field: "nonce", Problem: strconv.Itoa(len(b)) +
			" octets, RAND and AUTN need 32 and with server data may be 1536"}
	}
	n := Nonce{RAND: RAND(b[:16]), AUTN: AUTN(b[16:32])}
	if len(b) > challengeOctets {
		n.ServerData = append([]byte(nil), b[challengeOctets:]...)
	}
	return n, nil
}

// Octets gives RAND‖AUTN‖server data, 32 octets or more.
func (n Nonce) Octets() []byte {
	b := make([]byte, 0, challengeOctets+len(n.ServerData))
	b = append(b, n.RAND[:]...)
	b = append(b, n.AUTN[:]...)
	return append(b, n.ServerData...)
}

// String gives the nonce in base64, as it stands between the quotes of a
// WWW-Authenticate header: 44 characters without server data.
func (n Nonce) String() string { return nonceBase64.EncodeToString(n.Octets()) }

// ParseAUTS reads the auts directive as it stands between its quotes: 14 octets
// in base64, 20 characters (RFC 3310 3.4). Anything else is a *ParseError.
func ParseAUTS(s string) (AUTS, error) {
	// The bound leaves room to tell how many octets came instead of 14.
	b, err := decodeBase64("auts", s, 64)
	if err != nil {
		return AUTS{}, err
	}
	if len(b) != len(AUTS{}) {
		return AUTS{}, &ParseError{Field: "auts", Problem: strconv.Itoa(len(b)) + " octets, AUTS has 14"}
	}
	return AUTS(b), nil
}

// Base64 gives the value of the auts directive, 20 characters.
func (a AUTS) Base64() string { return nonceBase64.EncodeToString(a[:]) }

// ResyncOctets gives RAND‖AUTS, 30 octets: what the SIP-Authorization AVP of a MAR
// carries after a synchronisation failure (TS 29.228 6.3.1, TS 29.229 6.3.11).
func ResyncOctets(rand RAND, auts AUTS) []byte {
	return append(append(make([]byte, 0, len(rand)+len(auts)), rand[:]...), auts[:]...)
}

// ParseResyncOctets reads what ResyncOctets gives. Another length is a *ParseError.
func ParseResyncOctets(b []byte) (RAND, AUTS, error) {
	if len(b) != len(RAND{})+len(AUTS{}) {
		return RAND{}, AUTS{}, &ParseError{Field: "RAND and AUTS", Problem: strconv.Itoa(len(b)) + " octets, they have 30"}
	}
	return RAND(b[:16]), AUTS(b[16:]), nil
}

func decodeBase64(field, s string, limit int) ([]byte, error) {
	if len(s) > limit {
		return nil, &ParseError{Field: field, Problem: strconv.Itoa(len(s)) + " characters, the limit is " + strconv.Itoa(limit)}
	}
	for i := range len(s) {
		// encoding/base64 skips line ends; in a header they are no part of a value.
		if s[i] == '\r' || s[i] == '\n' {
			return nil, &ParseError{Field: field, Problem: "bad base64 at character " + strconv.Itoa(i)}
		}
	}
	b, err := nonceBase64.DecodeString(s)
	if err != nil {
		return nil, &ParseError{Field: field, Problem: base64Problem(err)}
	}
	return b, nil
}
