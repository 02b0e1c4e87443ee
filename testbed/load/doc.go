// Package load makes the traffic of many phones, and measures what an IMS core does
// with it, in the terms of ETSI TS 186 008-1 clause 4: a pre-registration, a stir
// phase that is not counted, and load whose attempts are handled adequately or not.
//
// A phone here is light: its requests are prepared text and it looks for a few words
// in what comes back, so that tens of thousands fit into one process that takes less
// of the machine than the core. What it says is right: IMS-AKA with a USIM of its own
// (TS 33.203, RFC 3310), Service-Route and route sets (RFC 3261 12, RFC 3608), ACKs,
// retransmissions by the timers of TS 24.229 table 7.7.1, and the called party's
// side. All share one UDP socket, and each has an address of its own (IP_PKTINFO), as
// cores look at a phone's address.
//
// Open loop: operations are due at the times of a Poisson process, whatever the core
// does, and latency counts from then. Closed loop: a number of phones are always busy.
// Latency does not hold what a phone waits by itself: before it answers a challenge,
// while it rings, while a call lasts.
package load
