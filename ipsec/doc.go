// Package ipsec is the protection of Gm, the interface between phone and P-CSCF:
// the security agreement (RFC 3329, TS 33.203 7.2 and Annex H), the keys that
// follow from CK and IK (Annex I), sets of four security associations and their
// life (7.4; TS 24.229 5.2.2.2).
//
// A [Set] is two pairs of associations, each pair between a client port of one side
// and the server port of the other. It is written from one side, Local, towards
// the other, Remote; a phone's set and the P-CSCF's are the same with the two
// exchanged, so both sides use the same types and the same back ends.
//
// Two back ends carry packets, alike on the wire: [ipsec/esp] in user space,
// [ipsec/xfrm] by the kernel. Whoever speaks SIP sees neither: to him a protected
// flow is an address and port of ours and one of the peer's, and that pair names
// the set.
//
// The header fields are read and written in ims/sip; this package takes their
// values.
//
// [ipsec/esp]: https://pkg.go.dev/github.com/gocscf/gocscf/ipsec/esp
// [ipsec/xfrm]: https://pkg.go.dev/github.com/gocscf/gocscf/ipsec/xfrm
package ipsec
