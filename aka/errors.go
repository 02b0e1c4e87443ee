package aka

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// ParseError says that a value from outside does not have its form. It never
// repeats the value.
type ParseError struct {
	Field   string // what was read: "nonce", "auts", "key" …
	Problem string // what was seen and what was expected
}

func (e *ParseError) Error() string { return "aka: cannot read " + e.Field + ": " + e.Problem }

var (
	// ErrMACFailure is the network failing its authentication: the MAC-A in AUTN
	// does not verify (TS 33.102 6.3.3). The UE answers without RES and without
	// AUTS (TS 33.203 6.1.2.2).
	ErrMACFailure = errors.New("aka: MAC failure: MAC-A of AUTN does not verify, so K, OPc or the algorithm differs between USIM and HSS, or RAND and AUTN were changed on the way; compare the subscriber's keys on both sides")

	// ErrAUTSFailure is the MAC-S in AUTS not verifying at the HSS (TS 33.102
	// 6.3.5). The sequence number must then stay as it is.
	ErrAUTSFailure = errors.New("aka: MAC-S of AUTS does not verify, so K, OPc or the algorithm differs between USIM and HSS, or the RAND is not the one that was challenged with; keep SQN_HE")

	// ErrMACLength is an algorithm whose f1 does not give the 64 bits that AUTN
	// and AUTS have room for (TS 33.102 6.3.7).
	ErrMACLength = errors.New("aka: AUTN and AUTS carry a MAC of 64 bits: configure TUAK with MACBits 64")

	// ErrSQNRange is a sequence number of more than 48 bits.
	ErrSQNRange = errors.New("aka: SQN has more than 48 bits")

	// ErrSQNExhausted is an HSS that has used up the sequence numbers of a
	// subscriber. They never wrap (TS 33.102 C.1.1): the USIM needs a new K.
	ErrSQNExhausted = errors.New("aka: sequence numbers of this subscriber are used up; issue a USIM with a new K")

	// ErrResponseMismatch is a digest response that is not the expected one.
	ErrResponseMismatch = errors.New("aka: digest response is not the expected one: RES, or a value that enters the digest, differs")
)

// SyncFailureError is a challenge that is genuine but whose SQN the USIM does not
// accept (TS 33.102 6.3.3). The UE sends AUTS, with an empty digest password.
type SyncFailureError struct {
	AUTS  AUTS
	SQN   SQN // as received
	SQNMS SQN // as sent in AUTS
	Cause SQNVerdict
}

func (e *SyncFailureError) Error() string {
	return fmt.Sprintf("aka: synchronisation failure: SQN %v is %v (SQN_MS %v); send AUTS", e.SQN, e.Cause, e.SQNMS)
}

// LengthError is key material or a configured length that the algorithm does not
// permit.
type LengthError struct {
	What string // "K", "OPc", "TUAK RES" …
	Got  int    // octets for key material, bits for a configured length
	Want string // what is permitted, with its unit
}

func (e *LengthError) Error() string {
	return "aka: " + e.What + " has length " + strconv.Itoa(e.Got) + ", permitted: " + e.Want
}

// UnsupportedDigestError is an algorithm directive that this package cannot
// answer.
type UnsupportedDigestError struct{ Algorithm string }

func (e *UnsupportedDigestError) Error() string {
	return fmt.Sprintf("aka: digest algorithm %.40q is not supported; use AKAv1-MD5, AKAv2-MD5 or AKAv2-SHA-256", e.Algorithm)
}

// hexProblem describes err of package hex without the offending octets, which
// may be part of a key.
func hexProblem(s string, err error) string {
	if errors.Is(err, hex.ErrLength) {
		return strconv.Itoa(len(s)) + " hexadecimal digits, an even number is needed"
	}
	return "not hexadecimal digits"
}

func base64Problem(err error) string {
	var at base64.CorruptInputError
	if errors.As(err, &at) {
		return "bad base64 at character " + strconv.FormatInt(int64(at), 10)
	}
	return "bad base64"
}
