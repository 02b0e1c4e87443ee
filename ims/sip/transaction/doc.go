// Package transaction implements the SIP transaction layer: RFC 3261 §17 with
// the Accepted states of RFC 6026 and the non-INVITE rules of RFC 4320.
//
// It has two halves. The four machines (inviteclient.go, noninviteclient.go,
// inviteserver.go, noninviteserver.go) are pure: step takes an event and
// returns what to do, with no I/O, no clock and no goroutine. Their transcripts
// in testdata are meant to be read beside the figures of the RFCs.
//
// The Layer drives them. It has a fixed number of shards, each of which owns
// every transaction, timer and callback of the Call-IDs that hash to it, and is run
// by one goroutine at a time. All messages of a call are therefore handled in arrival order and without
// locks, and a User's callbacks for one call never run at the same time. What a
// callback must not do is block: slow work runs elsewhere and comes back with
// Shard.Post.
//
// # What the User sees
//
// A request's top Via has been completed with received and rport as RFC 3261
// §18.2.1 and RFC 3581 §4 ask, in the message itself: whoever forwards, answers
// or logs it needs to know nothing about it. Retransmissions, CANCELs and ACKs
// to non-2xx finals never reach the User as requests.
//
// # Whose octets they are
//
// What Server.Respond is given is the caller's again when it returns, and what
// ClientRequest.Render returns is the layer's. A transaction that may have to send a
// message again has it in a [sip.Buffer] of its own, and frees it when that is over: with
// its end, with another message in its place, or because past has a copy. The Sender is
// lent it for each call.
//
// # Bounds
//
// Live transactions, queued messages and stateless answers are all bounded by
// Config; what is turned away is counted in Stats and answered with 503 and
// Retry-After where the protocol has an answer.
package transaction
