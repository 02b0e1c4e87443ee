// Package xfrm is the back end of package ipsec in which the Linux kernel protects
// Gm: ESP (RFC 4303) in transport mode, as TS 33.203 6.3 wants it, and in tunnel mode
// within UDP for a phone behind a NAT (Annex M; RFC 3948). Sockets stay what they
// are; the kernel protects what goes between the ports of a set, and nothing else
// goes between them.
//
// A set is four states and four policies, told to the kernel over netlink
// (xfrm(8)), each acknowledged before the next. A policy names its state by SPI, so a
// packet is protected by its own association or dropped; UDP and TCP share it (7.1).
// Beside the sets stand two policies for each protected port, one a direction, that
// block what no set lets through: nothing in clear comes in or goes out there.
//
// Several P-CSCFs may share a host. All states of ours carry the request ID 33203,
// and an instance is its addresses and ports: what it finds at these when it starts
// is what an earlier run left, and goes; the rest belongs to others.
//
// What a kernel has to have for it, and how to look at what stands in it, is in the
// README beside this file.
package xfrm
