// Package transport moves whole SIP messages between flows (RFC 3261 §18,
// connection reuse and CRLF keep-alive of RFC 5626 §3.5.1 and §4.4.1).
//
// A [Transport] owns sockets, each with a role, over a [Net]: the kernel's
// ([Kernel]), one in memory (memnet), or whatever a function brings, such as a
// stack in user space behind an IPsec SA. Net and what it returns speak only of
// package net and net/netip, so others satisfy it without importing this package.
//
// # Receiving
//
// Each UDP socket and each stream connection has one reader goroutine, which
// calls the [Handler]: messages of a flow arrive in order, one at a time. A connection
// that is a [Rester] has it only while something comes, or a message is half read, and
// no connection has a buffer for longer where the network lets it do without. The
// handler must not block; a [NowHandler] does its work there, and what a batch of
// datagrams leads to is written at its end. A message is copied once, into the string that it is
// from then on.
//
// # Sending
//
// [Transport.Send] never blocks and never fails by return value: the message
// is copied into a bounded queue of its socket or connection, in a [sip.Buffer] that is
// the queue's until it has been written, or has failed; what the sender passed is his
// again when Send returns. Copying a kilobyte is nothing beside writing it, and spares
// a rule about who may touch it until when. A network copies what it keeps of a write,
// as [net.PacketConn] and [net.Conn] ask, an [Observer] what it keeps of what it sees.
//
// A queue that was empty starts a goroutine which writes until the queue is empty again; what gathers
// meanwhile leaves together (sendmmsg, or one write of a stream). So an idle
// connection costs one goroutine at most, and load makes batches by itself. Writing UDP
// from the caller instead was measured (two cores, messages of 1000 octets, CPU of
// sender and receiver together): 10.6 µs against 13.5 µs when messages come one
// at a time, 6.8 µs against 6.7 µs when many are on their way. What it saves is
// gone when it would matter, and a full socket buffer would block a shard; hence
// always the queue. To measure again: go test -bench Loopback.
//
// What is known not to have left is reported through [Outgoing].Fail, at most
// once. That no failure is reported does not mean that the message arrived.
//
// # Bounds
//
// Everything that a stranger can make grow has a bound in [Config]: connections
// in all and per remote address (IPv6: per /64), octets of a message, of those that are not complete, octets queued, the time a
// started message may take, the time a connection may rest. A peer that does not
// read is closed and counted, never waited for.
package transport
