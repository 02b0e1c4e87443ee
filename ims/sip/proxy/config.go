package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/uri"
)

// Config configures a Core. What is zero has the default named.
type Config struct {
	// Net is where sockets come from; nil is the kernel.
	Net transport.Net
	// Listen are the sockets to open at the start. Core.Listen opens more.
	Listen []transport.Listen
	// Transport bounds connections, queues and times of the sockets.
	Transport transport.Config

	// Aliases are the names under which we are known: host, for any of our
	// ports, or host:port. The sockets' addresses need not be listed.
	Aliases []string
	// Self, if not nil, tells further URIs of our own.
	Self func(uri.URI) bool
	// SentBy, if not nil, gives host:port for Via and Record-Route on a flow; ""
	// leaves it to the socket's address.
	SentBy func(sip.Flow) string

	// ReturnFlow, if not nil, is that of transaction.Config: where responses go
	// that do not go back as the request came.
	ReturnFlow func(f sip.Flow, port uint16) (sip.Flow, bool)

	// Peer, if not nil, is that of transaction.Config: who may answer, acknowledge or
	// cancel anything.
	Peer func(f sip.Flow) bool

	// Hosts gives addresses to host names without DNS, in the order in which to
	// try them. A port of 0 means that of the URI, or 5060.
	Hosts map[string][]netip.AddrPort
	// Resolver finds the names that are not in Hosts; nil: they are not found.
	Resolver Resolver

	// TimersFor gives a leg's timers; nil means RFC 3261's values, and those of
	// TS 24.229 7.7 on flows with a role towards phones.
	TimersFor func(sip.Flow) transaction.Timers
	// TimerC is how long an INVITE may be silent after a provisional response:
	// more than 3 min (RFC 3261 16.6 step 11). Default 181 s.
	TimerC time.Duration
	// HandlerTimeout is how long a handler may think: then the request is
	// answered with 500. One that answers 180 itself has as long as Timer C
	// after that. Default 30 s.
	HandlerTimeout time.Duration

	// MaxForwards is given to requests without one. Default 70.
	MaxForwards int
	// MaxBreadth bounds the branches of a request, ours and those further on
	// (RFC 5393). Default 60.
	MaxBreadth int
	// Shape, if not nil, has the last word on what is sent: it returns what leaves
	// instead of a message, in order, nothing included. It is for test equipment
	// that imitates the spelling and the faults of others. It is called on any
	// goroutine, and data is not its own to change or to keep.
	Shape func(f sip.Flow, data []byte) [][]byte

	// Supported are the option tags accepted in Proxy-Require.
	Supported []string
	// PassOptions hands OPTIONS requests for ourselves to the handler. Otherwise
	// they are answered with 200.
	PassOptions bool

	// Shards, MaxTransactions and RetryAfter are those of transaction.Config.
	Shards          int
	MaxTransactions int
	RetryAfter      time.Duration

	// LateTrying has INVITEs of RoleCore, whoever sends them, answered with 100 when the next
	// hop has answered so, or 150 ms after they came: the first of the core's elements learns
	// by its 100 how long the whole of it takes, whatever a phone does.
	LateTrying bool

	// Admission, Classify and UnderWay are those of transaction.Config.
	Admission *admission.Controller
	Classify  func(sip.Flow, *sip.Message) admission.Class
	UnderWay  func(sip.Flow, *sip.Message) admission.Lane
	// Heed makes a 503 from the core to a request outside of dialogs lower the rate of
	// Admission: for an element whose next hops cannot be told apart by the user, so
	// that it refuses itself what cannot succeed.
	Heed bool

	// Observer sees messages and decisions; nil is off.
	Observer Observer
	// TransactionObserver sees what the transaction layer keeps to itself.
	TransactionObserver transaction.Observer
}

// complete checks c and fills in what is not set.
func (c *Config) complete() error {
	if c.TimerC == 0 {
		c.TimerC = 181 * time.Second
	}
	if c.TimerC <= 3*time.Minute {
		return fmt.Errorf("Timer C of %v: RFC 3261 16.6 wants more than 3 minutes", c.TimerC)
	}
	if c.MaxForwards == 0 {
		c.MaxForwards = 70
	}
	if c.MaxForwards < 1 || c.MaxForwards > 255 {
		return fmt.Errorf("Max-Forwards of %d: want 1 to 255", c.MaxForwards)
	}
	if c.MaxBreadth == 0 {
		c.MaxBreadth = 60
	}
	if c.MaxBreadth < 1 {
		return errors.New("Max-Breadth below 1")
	}
	if c.HandlerTimeout == 0 {
		c.HandlerTimeout = 30 * time.Second
	}
	if c.Net == nil {
		c.Net = transport.Kernel()
	}
	if c.TimersFor == nil {
		core, gm := transaction.DefaultTimers(), transaction.GmTimers()
		c.TimersFor = func(f sip.Flow) transaction.Timers {
			switch f.Role {
			case sip.RoleGm, sip.RoleProtectedServer, sip.RoleProtectedClient:
				return gm
			}
			return core
		}
	}
	hosts := make(map[string][]netip.AddrPort, len(c.Hosts))
	for name, addrs := range c.Hosts {
		if len(addrs) == 0 || len(addrs) > maxHops {
			return fmt.Errorf("host %q: %d addresses, want 1 to %d", name, len(addrs), maxHops)
		}
		hosts[hostKey(name)] = addrs
	}
	c.Hosts = hosts
	return nil
}
