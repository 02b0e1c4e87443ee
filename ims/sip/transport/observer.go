package transport

import "github.com/gocscf/gocscf/ims/sip"

// Observer sees what passes. Its methods are called on the goroutines that
// read and write; they must not block, nor change or keep data.
type Observer interface {
	// Received is called before the Handler is.
	Received(f sip.Flow, raw string)
	// Sent is called right before the write, so that it comes before whatever
	// the message causes; a failed write is followed by Dropped.
	Sent(f sip.Flow, data []byte)
	// Dropped counts what was lost or closed, and why. The flow may be partial;
	// err may be nil.
	Dropped(f sip.Flow, why Reason, err error)
}

// Reason says why something was dropped. Its text is fit for a metric label.
type Reason uint8

const (
	// Unsendable: a message could not be written, or had nowhere to go.
	Unsendable Reason = iota
	// Unreachable: the network reported by ICMP that a datagram did not arrive.
	Unreachable
	// QueueFull: a UDP socket's queue was full.
	QueueFull
	// SlowConsumer: a connection was closed because its peer does not read.
	SlowConsumer
	// ConnLimit: a connection was not accepted or dialled, Config.MaxConns.
	ConnLimit
	// AddrLimit: a connection was not accepted, Config.MaxConnsPerAddr, or not dialled
	// for a response, also because too many to that address do not come up.
	AddrLimit
	// AcceptFailed: accept failed (out of descriptors); tried again after a pause.
	AcceptFailed
	// ReadFailed: reading a socket or connection failed.
	ReadFailed
	// Malformed: a stream could not be framed and was closed.
	Malformed
	// MessageTimeout: a message was begun and not completed in time.
	MessageTimeout
	// Idle: a connection rested for too long and was closed.
	Idle
	// KeepAlive: a keep-alive over UDP, to which nothing is owed.
	KeepAlive
	// NotSIP: a STUN datagram on a SIP socket.
	NotSIP
	// DialFailed: a connection did not come up.
	DialFailed
	// DialRefused: a connection was not tried because of an earlier refusal.
	DialRefused
	// NotAdmitted: Config.Admit did not let a datagram or connection in.
	NotAdmitted
	// PartialLimit: a connection with an incomplete message gave way, Config.MaxPartial.
	PartialLimit
	// Displaced: a stranger's connection gave way to another's, Config.Known.
	Displaced
)

var reasonNames = [...]string{
	Unsendable: "unsendable", Unreachable: "unreachable", QueueFull: "queue_full",
	SlowConsumer: "slow_consumer", ConnLimit: "conn_limit", AddrLimit: "addr_limit",
	AcceptFailed: "accept_failed", ReadFailed: "read_failed", Malformed: "malformed",
	MessageTimeout: "message_timeout", Idle: "idle", KeepAlive: "keep_alive",
	NotSIP: "not_sip", DialFailed: "dial_failed", DialRefused: "dial_refused",
	NotAdmitted: "not_admitted", PartialLimit: "partial_limit", Displaced: "displaced",
}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

func (t *Transport) dropped(f sip.Flow, why Reason, err error) {
	if o := t.cfg.Observer; o != nil {
		o.Dropped(f, why, err)
	}
}
