// Package ue is a VoLTE phone: the UE's side of TS 24.229 clause 5.1 with IR.92's
// profile, built from the floors under the functions. It registers with IMS-AKA
// (RFC 3310, TS 33.203), keeps its registration and the subscription to it (RFC
// 3680), calls with preconditions (RFC 3312) and reliable responses (RFC 3262),
// answers by a script, and sends and takes messages.
//
// Gm is protected by security agreement and IPsec (RFC 3329, TS 33.203 7) over a
// Stack: the phone's own, one that many phones share, or the kernel. The stack knows
// nothing of SIP, and the SIP engine nothing of ESP; guard and sockets join the two.
//
// A Phone does what a real one does, in the manner of its Profile, and can be told to
// do it wrong: Faults.
//
// Its methods block until the network has answered or their context ends, and may
// be called from any goroutine. Everything else happens on the shards of the SIP
// engine; beyond those of its sockets a Phone has a goroutine only while the stack
// takes a set in or out.
package ue
