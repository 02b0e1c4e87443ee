package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// Config bounds a Transport. The zero value of a field means its default; a
// negative limit or duration means none.
type Config struct {
	// MaxConns bounds stream connections, accepted and dialled. An eighth is kept for
	// those that we dial, an eighth for those of other functions and a quarter for
	// those between protected ports, where we listen for them: strangers must not cut
	// us off from the core, nor from the phones that have SAs. Default 20000, or seven
	// eighths of the descriptors that the process may have, where that is less.
	MaxConns int
	// MaxConnsPerAddr bounds connections accepted from one address, of IPv6 from one
	// /64: those at the open port towards phones, those at protected ports and those
	// of other functions, each for itself. Default 1000.
	MaxConnsPerAddr int
	// MaxQueue bounds the octets that wait for one stream connection; a peer
	// that lets it overflow is closed. They may take twice as much memory. Default
	// 256 KiB.
	MaxQueue int
	// MaxDatagrams bounds the octets that wait for one UDP socket. They may take twice as
	// much memory. Default 4 MiB.
	MaxDatagrams int
	// ConnectTimeout is how long a connection may take to come up. Default 1 s.
	ConnectTimeout time.Duration
	// RefusalTTL is how long a remote that refused a connection, or let it time
	// out, is not dialled again (but see Outgoing.Insist). Default 30 s.
	RefusalTTL time.Duration
	// MaxRefusals bounds how many such remotes are remembered. Default 4096.
	MaxRefusals int
	// MessageTimeout is how long a message may take from its first octet on a
	// stream to its last. Default 30 s.
	MessageTimeout time.Duration
	// MaxPartial bounds the octets of messages that have begun to come over connections
	// to the open port towards phones and are not complete, where they take more than the
	// 4 KiB that each connection may have: beyond it the oldest is closed. Default
	// 128 MiB.
	MaxPartial int
	// WriteTimeout is how long one write to a stream may be stuck before the
	// peer counts as a slow consumer. Default 10 s.
	WriteTimeout time.Duration
	// IdleTimeout closes a connection that carried nothing for so long. Default
	// 3700 s. Protected connections are never closed first: the phone's SAs
	// live as long as its registration, not as its silence.
	IdleTimeout time.Duration
	// IdleTimeouts overrides IdleTimeout for a role, protected ones included.
	IdleTimeouts map[sip.Role]time.Duration
	// KeepAlive turns TCP keep-alive probes on, at this interval. Default off:
	// each probe wakes a phone's radio.
	KeepAlive time.Duration
	// Admit, if not nil, says of a datagram or a connection that comes in whether it
	// may: what may not is dropped without an answer, before anything is read of it.
	// It is called on reader goroutines and must not block.
	Admit func(sip.Flow) bool
	// Known, if not nil, says whether a connection to the open port towards phones is
	// somebody's whom we know: where hardly a place is left for those, the oldest that is
	// nobody's gives way to each that comes (with MaxConns from 128 on). It is called on
	// accepting goroutines and must not block.
	Known func(sip.Flow) bool
	// Observer sees every message. Nil is off.
	Observer Observer
}

func (c Config) withDefaults() Config {
	def(&c.MaxConns, maxConns(descriptors()))
	def(&c.MaxConnsPerAddr, 1000)
	def(&c.MaxQueue, 256<<10)
	def(&c.MaxDatagrams, 4<<20)
	def(&c.ConnectTimeout, time.Second)
	def(&c.RefusalTTL, 30*time.Second)
	def(&c.MaxRefusals, 4096)
	def(&c.MessageTimeout, 30*time.Second)
	def(&c.MaxPartial, 128<<20)
	def(&c.WriteTimeout, 10*time.Second)
	def(&c.IdleTimeout, 3700*time.Second)
	return c
}

// maxConns is the default of Config.MaxConns where a process may have so many descriptors.
func maxConns(descriptors uint64) int { return int(min(20000, descriptors/8*7)) }

func def[T int | time.Duration](p *T, value T) {
	if *p == 0 {
		*p = value
	}
}

// idle returns how long a connection of that role may rest; ≤ 0 is for ever.
func (c *Config) idle(r sip.Role) time.Duration {
	if d, ok := c.IdleTimeouts[r]; ok {
		return d
	}
	if r == sip.RoleProtectedServer || r == sip.RoleProtectedClient {
		return 0
	}
	return c.IdleTimeout
}

// Listen describes a listening address. UDP and TCP share its port.
type Listen struct {
	// Addr is where to listen. Port 0 takes one that is free for all that is
	// asked. Prefer an address to the wildcard: a flow's Local is the address
	// given here, and what leaves a wildcard has a source the stack chose.
	Addr netip.AddrPort
	UDP  bool
	TCP  bool
	Role sip.Role
}

func (l Listen) String() string {
	s := l.Role.String() + " " + l.Addr.String()
	if l.UDP {
		s += " udp"
	}
	if l.TCP {
		s += " tcp"
	}
	return s
}

// Errors that Fail may wrap.
var (
	// ErrClosed: the Transport was closed.
	ErrClosed = errors.New("the transport is closed")
	// ErrNoSocket: no UDP socket of ours has the flow's local address or role.
	ErrNoSocket = errors.New("no socket of ours fits the flow")
	// ErrConnGone: the connection has ended and the sender asked for no other.
	ErrConnGone = errors.New("the connection has ended")
	// ErrAborted: EndConns or Unlisten has ended the connection.
	ErrAborted = errors.New("the connection was given up")
	// ErrSlowConsumer: the peer does not read, its connection was closed.
	ErrSlowConsumer = errors.New("the peer does not read fast enough; its connection was closed")
	// ErrQueueFull: the UDP socket cannot write as fast as messages come.
	ErrQueueFull = errors.New("the socket's queue is full")
	// ErrTooManyConns: Config.MaxConns is reached; or, for a response, a limit of one
	// address.
	ErrTooManyConns = errors.New("the limit of stream connections is reached")
	// ErrNothing: the message is empty, or its flow has no remote address.
	ErrNothing = errors.New("there is no message, or no remote address")
	// ErrTooLarge: the peer could not frame the message (sip.TooLarge), and would end the
	// connection with everything else on it.
	ErrTooLarge = errors.New("the message is too large for a stream")
	// ErrUnsupported: the flow names a transport that is not built.
	ErrUnsupported = errors.New("the transport protocol is not supported")
)

// RefusedError says that a remote was not dialled, because it refused or did
// not answer shortly before.
type RefusedError struct {
	Remote netip.AddrPort
	Until  time.Time // when it will be dialled again
	Err    error     // what the dial saw then
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("not dialling %s again before %s: %v", e.Remote, e.Until.Format(time.TimeOnly), e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }
