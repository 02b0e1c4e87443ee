// Package netstack gives sockets to what travels in ESP in user space (RFC 4303,
// TS 33.203 7.1): a [Stack] installs sets of security associations and opens UDP
// and TCP sockets at their addresses and ports. It has the methods of
// transport.Net of the SIP engine.
//
// Nothing leaves or enters a Stack in clear: a datagram between addresses and
// ports that no set covers is an error to its sender. Addresses and ports are the
// Stack's own; no port of the operating system is taken, but by carriers. One
// Stack serves any number of local addresses.
//
// UDP is code of this package and works inside testing/synctest bubbles. TCP is
// gVisor's, which does not: it starts with the first Dial, or the first segment
// that comes in, so a Stack that carries no TCP costs nothing for it.
package netstack
