package aka

import "crypto/subtle"

// USIM is the user's side of AKA: what a phone's card does with a challenge
// (TS 33.102 6.3.3). It is not safe for concurrent use.
type USIM struct {
	Algorithm Algorithm
	// SQN remembers the sequence numbers that were accepted. A nil SQN accepts
	// every genuine challenge, replayed ones too.
	SQN *SQNArray
}

// Response is what a USIM gives for an accepted challenge.
type Response struct {
	RES Secret // 4 to 32 octets
	CK  Secret // 16 or 32 octets
	IK  Secret // 16 or 32 octets
	SQN SQN    // of the challenge
	AMF AMF    // of the challenge
}

// Authenticate checks a challenge and answers it. MAC-A is checked before SQN, so
// that only a genuine challenge can learn SQN_MS. It fails with ErrMACFailure, to
// which the phone answers without AUTS, with *SyncFailureError, which brings the
// AUTS to send, or with ErrMACLength.
func (u *USIM) Authenticate(rand RAND, autn AUTN) (Response, error) {
	res, ck, ik, ak := u.Algorithm.F2345(rand)
	var s [6]byte
	subtle.XORBytes(s[:], autn[:6], ak[:])
	r := Response{RES: res, CK: ck, IK: ik, SQN: sqnFromBytes(s), AMF: autn.AMF()}

	xmac := u.Algorithm.F1(rand, r.SQN, r.AMF)
	if len(xmac) != 8 {
		return Response{}, ErrMACLength
	}
	if subtle.ConstantTimeCompare(xmac, autn[8:]) != 1 {
		return Response{}, ErrMACFailure
	}
	if u.SQN == nil {
		return r, nil
	}
	if v := u.SQN.Accept(r.SQN); v != SQNAccepted {
		sqnMS := u.SQN.SQNMS()
		return Response{}, &SyncFailureError{AUTS: newAUTS(u.Algorithm, rand, sqnMS), SQN: r.SQN, SQNMS: sqnMS, Cause: v}
	}
	return r, nil
}
