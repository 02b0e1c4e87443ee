// Package ue is a VoLTE phone: the UE's side of TS 24.229 clause 5.1 with IR.92's
// profile, built from the floors under the functions. It registers with IMS-AKA
// (RFC 3310, TS 33.203), keeps its registration and the subscription to it (RFC
// 3680), calls with preconditions (RFC 3312) and reliable responses (RFC 3262),
// answers by a script, and sends and takes messages.
//
// A Phone does what a real one does, and can be told to do it wrong: Faults.
//
// Its methods block until the network has answered or their context ends, and may
// be called from any goroutine. Everything else happens on the shards of the SIP
// engine; a Phone has no goroutine of its own beyond those of its sockets.
package ue
