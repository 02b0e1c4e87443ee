// Package attack does to a running IMS core what strangers, broken phones and broken
// peers would: it bends the messages of real registrations and calls (mutation
// fuzzing), and it floods. Meanwhile two honest phones register and call each other,
// and the core's own metrics tell whether memory, goroutines and transactions stay
// within their bounds and come back.
//
// What is bent follows the grammar and procedures of RFC 3261, TS 24.229 5.2 to 5.4
// (Gm, Mw, ISC) and TS 29.229 (Cx). The answers to AKA challenges are right: a
// message that is refused at the door tests the door alone.
//
// It works against any core that phones can register with in clear; what it reads of
// metrics are those that every Go process has, and gocscf_sip_transactions. Its heap is
// collected by /debug/pprof/heap.
package attack
