// Package kerneltest shows, on a real kernel in a guest, that package xfrm does what
// it says, and that the kernel and package esp agree about every octet (RFC 4303,
// TS 33.203 7.1 and Annexes I and M). All of it are tests with the build tag
// integration; package guest says what they need.
package kerneltest
