// Package diameter is the peer layer of the Diameter base protocol (RFC 6733)
// with the watchdog of RFC 3539: connections to peers, capability negotiation,
// requests and answers in both directions, failover, and orderly disconnection.
//
// # What it takes from go-diameter and what it does not
//
// go-diameter gives the dictionary format and the codec of single values
// (dict.Parser, datatype, diam.AVP). Its state machine and its message reader
// are not used: nothing of a message reaches its codec before this package has
// checked the frame and the whole AVP structure (see decode.go), and AVPs are
// identified by code and vendor together, where go-diameter falls back to the
// code alone.
//
// # A node
//
// A [Node] is one Diameter identity. It dials the peers that have an address,
// accepts connections on every listener given to [Node.Listen], and keeps at
// most one connection a peer. Requests travel in both directions over any
// connection: [Node.Do] sends, [Config.Handler] receives.
//
// # Goroutines, callbacks, time
//
// Each connection has one reader and one writer goroutine, both owned by the
// node; [Node.Close] waits for them. A handler, and the callback given to Do,
// run on the reader goroutine of the connection (a callback that reports a
// time-out or a lost connection runs on another goroutine), with no lock held, and
// must not block: they hand over to a shard, or run it where it rests, and return.
// What they send can be gathered, see [Node.Gather]. Do itself never blocks and
// never calls the callback before it has returned. The callback is called exactly
// once.
//
// Time comes from package time only, so tests run in testing/synctest bubbles
// over net.Pipe.
package diameter
