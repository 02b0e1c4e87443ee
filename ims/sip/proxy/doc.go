// Package proxy is the stateful proxy of RFC 3261 clause 16, with loop
// detection and Max-Breadth (RFC 5393), double Record-Route (RFC 5658) and the
// Accepted state (RFC 6026). P-CSCF, I-CSCF and S-CSCF are handlers over it.
//
// A [Core] owns the sockets and the transactions. Each new request is checked
// (16.3), freed of our own Route entries (16.4) and handed to the [Handler] once,
// as an [Exchange]. The handler reads x.Req, puts its changes into x.Edits, and
// either answers with [Exchange.Reply] or sends the request on with
// [Exchange.Forward]. Everything else is done here: Via, Record-Route,
// Max-Forwards, strict routers, size and transport, the next address when one
// does not answer, choice among the responses of a fork, CANCEL, Timer C.
//
// # Threads
//
// All calls about one Call-ID run on one goroutine, that of its shard: the
// handler, the hooks, timers. None of them may block. What takes time runs on
// another goroutine and comes back with [Exchange.Post]; an Exchange must not be
// touched from there otherwise.
//
// # Exactly once
//
// An Exchange sends one final response, whatever happens: after that Reply,
// Forward, Retry and posted functions do nothing and are counted (Stats.Late).
// A handler that neither answers nor forwards is answered for after
// Config.HandlerTimeout.
package proxy
