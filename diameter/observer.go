package diameter

import "net"

// An Observer sees what a node does. Its methods are called from the node's
// goroutines, also concurrently, and must not block. A nil observer costs one
// branch a message.
type Observer interface {
	// Message is called for each message sent or received, in the order of the
	// wire for one connection and direction.
	Message(MessageEvent)
	// Connection is called when a connection changes its state.
	Connection(ConnectionEvent)
	// Refused is called when a connection that somebody opens cannot be accepted now, or
	// is closed because too many stand.
	Refused(RefusedEvent)
}

// A RefusedEvent is a try to accept a connection that has failed.
type RefusedEvent struct {
	Local  net.Addr // where it was to be accepted
	Remote net.Addr // nil where the system did not give the connection
	Err    error
}

// A MessageEvent is one message on the wire. Raw may hold keys: whoever shows it
// to people redacts it first (see cx.Redact).
type MessageEvent struct {
	Sent          bool
	Local, Remote net.Addr
	Peer          string // Origin-Host of the peer, "" before it is known
	Raw           []byte // whole message, valid during the call only
	Err           error  // why a received message was not accepted, nil otherwise
}

// A ConnectionEvent is a change of state of one connection.
type ConnectionEvent struct {
	State         State
	Dialed        bool // this node opened the connection
	Local, Remote net.Addr
	Peer          string // Origin-Host of the peer, "" before it is known
	Address       string // that was dialed, "" for an accepted connection
	Err           error  // cause of Down, nil otherwise
}

// State is the state of a connection: RFC 3539 3.4.1 once capabilities have
// been exchanged.
type State uint8

const (
	// Connecting: the transport is being set up or capabilities are exchanged.
	Connecting State = iota
	// Okay: requests are sent.
	Okay
	// Suspect: a watchdog went unanswered; requests go to another peer.
	Suspect
	// Reopen: up again after a failure, used only where no other peer is Okay
	// until three watchdogs were answered.
	Reopen
	// Closing: a DPR was sent or received.
	Closing
	// Down: there is no connection.
	Down
)

var stateNames = [...]string{"connecting", "okay", "suspect", "reopen", "closing", "down"}

// String returns the state's name in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}
