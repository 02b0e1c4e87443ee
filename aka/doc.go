// Package aka is authentication and key agreement for IMS: the functions f1 to f5*,
// vectors, sequence numbers and the digest that carries them over SIP.
//
//   - Milenage (TS 35.206), TUAK (TS 35.231) and the XOR test algorithm
//     (TS 34.108 8.1.2) behind Algorithm, with OPc from OP and TOPc from TOP.
//   - AUTN, AUTS and vectors (TS 33.102 6.3): NewVector and VerifyAUTS at the HSS,
//     USIM at the phone.
//   - Sequence numbers (TS 33.102 Annex C): SQNProfile makes them at the HSS,
//     SQNArray accepts them at the USIM.
//   - AKAv1-MD5 (RFC 3310), AKAv2-MD5 and AKAv2-SHA-256 (RFC 4169): Nonce, Digest and
//     DigestAlgorithm.Password.
//
// An HSS, for each subscriber, keeps an Algorithm and an SQNState:
//
//	sqn, err := profile.Next(&state, time.Now())   // store state before going on
//	v, err := aka.NewVector(alg, aka.NewRAND(), sqn, aka.AMFSeparation)
//
// and, when the phone sends AUTS:
//
//	sqnMS, err := aka.VerifyAUTS(alg, rand, auts)
//	changed, err := profile.Resynchronise(&state, sqnMS, time.Now())
//
// A phone keeps a USIM; an S-CSCF only needs Nonce and Digest. The example shows
// all three.
//
// Key material is held in Secret, which shows nothing but its length in logs,
// errors and JSON. What arrives from outside is checked with bounds; MACs, keys and
// responses are compared in constant time. Nothing here does I/O, reads a clock or
// parses SIP headers.
package aka
