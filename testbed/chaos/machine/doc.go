// Package machine shows a core under load on a machine whose clock somebody sets, whose
// disk is full, and whose network loses, doubles and delays packets between all of them.
// That needs privileges and would do harm to others on the machine of whoever runs the
// tests, so that they run in a guest; see package ipsec/xfrm/guest for what that needs.
// All of it are tests with the build tag integration.
package machine
