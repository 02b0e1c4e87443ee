// Package sip holds a SIP message as it came over the wire: raw text, an index
// of its header lines, typed headers parsed when somebody asks, and edits that
// are applied when the message is written (RFC 3261 §7, §20, §25; the P-headers
// of RFC 7315 and what TS 24.229 adds).
//
// A [Message] is a string with an index over it. Every header value, every field
// of a typed header is a substring: nothing is copied, nothing has an owner, and
// a Message may be read by many goroutines. The price is that a small header
// kept for long pins the whole message; whoever stores one clones it
// (strings.Clone).
//
// A Message never changes. Changes are an [Edits] value, applied while the
// message is written with [Message.AppendTo]; each branch of a fork has its own.
// What no edit touches leaves as it came: folding, compact names, letter case,
// the order of parameters and headers nobody knows.
//
// Three questions are kept apart. [Frame] asks where a message ends on a stream
// and fails only when that cannot be known. [Message.Index] fails only for what
// is not a SIP message at all. [Validate] says which status the sender of a
// malformed request is owed (RFC 4475 has the catalogue).
package sip
