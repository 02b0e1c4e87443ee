// Package esp is ESP in user space (RFC 4303): transport mode between phone and
// P-CSCF as TS 33.203 6.2 and 6.3 have it, and tunnel mode in UDP for a phone
// behind a NAT (RFC 3948, TS 33.203 Annex M).
//
// A [Transform] seals and opens single packets under one of [ipsec.Pairs]. An
// [Engine] is an [ipsec.Backend]: it holds the installed sets, finds the
// association of a packet, keeps its anti-replay window (RFC 6479), checks its
// selectors, and learns by which way the peer is reached. A [Carrier] moves ESP
// packets between hosts: as IP protocol 50 ([ListenRaw]), in UDP ([ListenUDP],
// [NewUDP]), or in memory ([NewMemory]), with IP fragments put together before
// anything is decrypted.
//
// What is inside, UDP datagrams and TCP segments, goes to an [Upper]; package
// netstack makes sockets of it.
//
// Extended sequence numbers are not supported: nothing in a security agreement
// could ask for them. Keys are never printed.
package esp
