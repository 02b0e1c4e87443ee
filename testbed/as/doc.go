// Package as is the testbed's application server: an AS on the ISC interface as a
// proxy, a back-to-back user agent, a redirect server or a terminating user agent
// (TS 24.229 5.7.2 to 5.7.5), and the ways in which an AS can be of no use: it
// refuses, or it is silent.
//
// Parser, serializer, transport and transaction machines are those of sipgo, not
// our own: a call that passes here is an interoperability test. Of sipgo v1.7.2
// the package leaves out what would be wrong on the wire, and puts its own there:
//
//   - Its dispatcher starts a goroutine for each message, so that a 200 may overtake
//     its 183 and a BYE its ACK; it answers a cancelled INVITE with a 487 of its own
//     before the called side was asked; over TCP it forgets an INVITE before the ACK
//     to a refusal comes. Package as has a dispatcher of its own, in the order in
//     which a socket reads.
//   - Its typed headers lose the parameters behind the ">" of a Route, an empty "="
//     and quoted values. Here all headers stay text until somebody asks.
//   - Its ACK to a refusal has every Via of the INVITE instead of the first, and a
//     second refusal blocks its caller for four seconds. See wire.
//   - It sends no datagram over 1300 octets. A request that size goes by TCP unless
//     its next hop asks for UDP (RFC 3261 18.1.1), and answers go where they must.
package as
