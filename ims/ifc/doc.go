// Package ifc evaluates initial filter criteria: which application servers a
// request visits, in which order (TS 29.228 Annexes B, C and F; TS 23.218
// clause 6).
//
// A Chain is made once from the criteria of a service profile and never
// changes, so a session that holds one is not touched when the profile does
// (TS 29.228 6.6). Next walks it in ascending priority: the caller sends the
// request to the application server of the Criterion, and when it comes back
// goes on after that Criterion with the request as it then is.
//
// What is not said clearly elsewhere, and decided here:
//   - Expressions are POSIX extended ones (IEEE 1003.1). They search: "abc"
//     matches anywhere unless anchored. One that is not POSIX but is what Go
//     understands ("\d+") is taken with a warning.
//   - A header's name expression must match the whole name, without case. A
//     search would let "Contact" match Accept-Contact. Content is compared with
//     case, against each header field line as it stands.
//   - Content in quotes ("g.3gpp.ussd" as PyHSS templates have it) matches with
//     and without them.
//   - An SPT that cannot be understood makes its criterion match nothing.
//   - Criteria of equal priority, which TS 29.228 forbids, keep the order of the
//     document, those of shared sets last.
package ifc
