// Package memnet is a network in memory for tests, with what real ones do to
// SIP: delay, jitter, loss, duplication, reordering and ICMP errors for
// datagrams (RFC 768, RFC 792), refusal, silence, resets and slow readers for
// connections (RFC 9293).
//
// A [Network] has hosts, each with IPv4 or IPv6 addresses; a [Host] has the
// methods of transport.Net and returns ordinary net connections, so plain code
// can be the other end. Links are directed, from one address to another. A hook
// sees every packet and may drop it.
//
// Time is that of package time: inside a testing/synctest bubble delays cost
// nothing and results repeat. Chance comes from the seed, with a sequence of its
// own for each directed pair of addresses: what one pair does to its packets does
// not depend on what others send meanwhile. The package keeps no goroutine; a
// packet with no delay arrives before the call that sent it returns.
package memnet
