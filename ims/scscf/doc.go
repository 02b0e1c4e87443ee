// Package scscf is the Serving-CSCF of TS 24.229 5.4: it authenticates and
// registers users, keeps their profile, tells who asks about their registration,
// and routes their requests through the application servers of their filter
// criteria, as the caller's S-CSCF and as the called user's.
package scscf
