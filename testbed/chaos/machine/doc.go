// Package machine shows a core under load on a machine whose clock somebody sets, and
// whose disk is full. Both need privileges and would do harm to others on the machine of
// whoever runs the tests, so that they run in a guest; see package ipsec/xfrm/guest for
// what that needs. All of it are tests with the build tag integration.
package machine
