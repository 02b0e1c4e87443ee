package proxy

import (
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// Target is one destination of Exchange.Forward. The zero Target sends the
// request where its topmost Route, or else its Request-URI, points.
type Target struct {
	// URI is the new Request-URI; "" leaves the one that Exchange.RequestURI
	// gives.
	URI string
	// Hop is where to send it, when that does not follow from the request. A Hop
	// with a Role alone says from which of our sockets.
	Hop Hop
	// Edits, if not nil, changes the request for this target only, after
	// everything in Exchange.Edits. It runs within Forward.
	Edits func(*sip.Edits)
	// RecordRoute, if not nil, puts our own entry into Record-Route; two
	// entries when the request leaves by another address than it came by.
	RecordRoute *Own
	// Timeout is how long each address of the target has for its first response
	// of any kind, 100 included. Then the branch counts as 408. 0 leaves it to
	// the transaction (64·T1).
	Timeout time.Duration
	// Ringing is how long an INVITE may wait for its final response from the first
	// provisional one on, whatever else comes: a callee moves Timer C without end (RFC
	// 3261 16.10 lets a proxy cancel at any time). 0 has no end.
	Ringing time.Duration
	// ViaParams are further parameters of our Via, as in ";rport".
	ViaParams string
}

// Hop is an address to send to, and what to send from.
type Hop struct {
	// Flow, when its Remote is valid, is used exactly as it is: a connection, or
	// a pair of protected ports. If its connection is gone and Addr is valid,
	// Addr is tried.
	Flow sip.Flow
	// Addr is the remote address. When neither it nor Flow is valid, the URI of
	// the next hop is resolved.
	Addr  netip.AddrPort
	Proto sip.Proto
	// Role says which of our sockets sends.
	Role sip.Role
	// Alone has no stream but Stream be taken, and none be dialled, for a request too big
	// for a datagram: where a NAT is between, who is at the peer's address over TCP may be
	// anybody behind it.
	Alone bool
	// Local, when valid, is the address and port of that socket: of a role that
	// has several, as the protected client ports are.
	Local netip.AddrPort
	// Stream, when its Conn is not 0, is an open connection of the same peer:
	// taken, before any is dialled, for a request too big for a datagram.
	Stream sip.Flow
}

// set reports whether h says where to send, and not only from where.
func (h *Hop) set() bool { return h.Flow.Remote.IsValid() || h.Addr.IsValid() }

// Own is what our own URI carries, beside the host and port of the socket and
// lr, in Record-Route, Path and Service-Route: marks by which we know the
// requests that come back along it.
type Own struct {
	User   string // user part, "" for none
	Params string // "orig;x=1", "" for none
	// Facing, if not nil, gives further parameters for the entry that stands for
	// the side of that flow, when there are two: "" for none.
	Facing func(f sip.Flow) string
}

// append writes the entry with angle brackets.
func (o *Own) append(dst []byte, s side) []byte {
	dst = append(dst, "<sip:"...)
	if o.User != "" {
		dst = append(append(dst, o.User...), '@')
	}
	dst = append(append(dst, s.sentBy...), ";lr"...)
	if s.stream {
		dst = append(dst, ";transport=tcp"...)
	}
	if o.Params != "" {
		dst = append(append(dst, ';'), o.Params...)
	}
	if s.params != "" {
		dst = append(append(dst, ';'), s.params...)
	}
	return append(dst, '>')
}
