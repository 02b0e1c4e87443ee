// Package kernel shows whole registrations and calls on a kernel that has IPsec: our
// core with the P-CSCF's protection by the kernel, phones that protect in user space
// and phones whose kernel does (TS 33.203, TS 24.229 5.2). All of it are tests with
// the build tag integration that run in a guest; see package ipsec/xfrm/guest for
// what that needs.
package kernel
