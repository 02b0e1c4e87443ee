package diameter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// An Application is one that a node speaks and advertises.
type Application struct {
	ID     uint32
	Vendor uint32 // advertised in Vendor-Specific-Application-Id; 0 for an application of the IETF
	// Stateless makes answers made by this package carry Auth-Session-State
	// NO_STATE_MAINTAINED, as the 3GPP applications ask.
	Stateless bool
}

// A Dialer opens the transport to a peer. *net.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// A Handler takes a request that a peer sent. It runs on the reader goroutine of
// the connection, requests of one connection in the order of their arrival, and
// must not block; the answer may be given later from any goroutine.
type Handler func(*Request)

// A PeerConfig is a peer that a node knows of before it connects.
type PeerConfig struct {
	// Host is the peer's Origin-Host. Where it is empty, whoever answers at
	// Address is taken; with it, a peer of another name is refused.
	Host string
	// Address is where the peer is dialed, host:port. Where it is empty the peer
	// is only accepted.
	Address string
	// TLS, if not nil, is used from the first octet (RFC 6733 13.1).
	TLS *tls.Config
}

// Config is what a node is made from. The zero value of a duration or a bound
// means the default given with it.
type Config struct {
	OriginHost  string // DiameterIdentity, a fully qualified domain name
	OriginRealm string
	// Realms are further realms that requests to this node may name, beside
	// OriginRealm, and Hosts further host names.
	Realms, Hosts []string

	HostIPs       []netip.Addr // Host-IP-Address; default: the local address of each connection
	ProductName   string       // default "gocscf"
	VendorID      uint32       // of the product, 0 by default
	OriginStateID uint32       // default: the time of New in seconds

	Applications []Application
	Dictionary   *Dictionary // must hold every application above
	Handler      Handler     // nil: requests are answered with 3001

	// Peers in order of preference: requests without a Destination-Host go to
	// the first that is up and has an Address.
	Peers []PeerConfig
	// AcceptUnknown accepts connections from hosts that are not in Peers. When
	// false they get DIAMETER_UNKNOWN_PEER.
	AcceptUnknown bool

	Dialer   Dialer   // default: a net.Dialer
	Observer Observer // nil: none

	Watchdog         time.Duration // Tw, 30 s; the least is 6 s (RFC 3539 3.4.1); ±2 s of jitter are added
	RequestTimeout   time.Duration // of Do without a deadline, 5 s
	AnswerTimeout    time.Duration // a request that the handler leaves unanswered gets 5012 then, 30 s
	HandshakeTimeout time.Duration // transport, TLS and CER/CEA, 10 s
	ReconnectMin     time.Duration // first pause before dialing again, 500 ms; doubled each time
	ReconnectMax     time.Duration // greatest pause (Tc of RFC 6733), 30 s

	MaxMessage     int // octets of one message, 256 KiB; the ceiling is 1 MiB
	MaxPending     int // requests under way on one connection, each direction, 4096
	MaxQueue       int // octets waiting to be written on one connection, 4 MiB
	MaxConnections int // accepted at one time, 256
	MaxDuplicates  int // answers kept to recognise duplicates, 1024; negative: none
}

const (
	defaultMaxMessage = 256 << 10
	ceilingMaxMessage = 1 << 20
	watchdogJitter    = 2 * time.Second
	minWatchdog       = 6 * time.Second
	// How long a peer may take to close after DPR and DPA.
	closeTimeout = 5 * time.Second
)

func setDefault[T int | time.Duration | uint32](p *T, v T) {
	if *p == 0 {
		*p = v
	}
}

// complete fills in the defaults and checks the configuration.
func (c *Config) complete() error {
	setDefault(&c.OriginStateID, uint32(time.Now().Unix()))
	setDefault(&c.Watchdog, 30*time.Second)
	setDefault(&c.RequestTimeout, 5*time.Second)
	setDefault(&c.AnswerTimeout, 30*time.Second)
	setDefault(&c.HandshakeTimeout, 10*time.Second)
	setDefault(&c.ReconnectMin, 500*time.Millisecond)
	setDefault(&c.ReconnectMax, 30*time.Second)
	setDefault(&c.MaxMessage, defaultMaxMessage)
	setDefault(&c.MaxPending, 4096)
	setDefault(&c.MaxQueue, 4<<20)
	setDefault(&c.MaxConnections, 256)
	setDefault(&c.MaxDuplicates, 1024)
	if c.ProductName == "" {
		c.ProductName = "gocscf"
	}
	if c.Dialer == nil {
		c.Dialer = &net.Dialer{}
	}
	switch {
	case !validIdentity(c.OriginHost):
		return fmt.Errorf("diameter: origin host %q is not a host name; set it to this node's fully qualified name", c.OriginHost)
	case !validIdentity(c.OriginRealm):
		return fmt.Errorf("diameter: origin realm %q is not a domain name", c.OriginRealm)
	case c.Dictionary == nil:
		return errors.New("diameter: no dictionary given")
	case len(c.Applications) == 0:
		return errors.New("diameter: no application given; a node without one has nothing in common with any peer")
	case c.Watchdog < minWatchdog:
		return fmt.Errorf("diameter: watchdog of %v is too short; RFC 3539 allows %v and more", c.Watchdog, minWatchdog)
	case c.MaxMessage < 4096 || c.MaxMessage > ceilingMaxMessage:
		return fmt.Errorf("diameter: message bound of %d octets is outside 4096 to %d", c.MaxMessage, ceilingMaxMessage)
	case c.ReconnectMin < 0 || c.ReconnectMax < c.ReconnectMin:
		return fmt.Errorf("diameter: reconnect pauses %v to %v are not a range", c.ReconnectMin, c.ReconnectMax)
	}
	for _, a := range c.Applications {
		if a.ID != RelayApplication && !c.Dictionary.HasApplication(a.ID) {
			return fmt.Errorf("diameter: application %d is not in the dictionary", a.ID)
		}
	}
	seen := make(map[string]bool)
	for i, p := range c.Peers {
		if p.Host == "" && p.Address == "" {
			return fmt.Errorf("diameter: peer %d has neither a host nor an address", i+1)
		}
		if k := strings.ToLower(p.Host); k != "" {
			if !validIdentity(p.Host) {
				return fmt.Errorf("diameter: peer host %q is not a host name", p.Host)
			}
			if seen[k] {
				return fmt.Errorf("diameter: peer %s is listed twice", p.Host)
			}
			seen[k] = true
		}
		if p.Address != "" {
			if _, _, err := net.SplitHostPort(p.Address); err != nil {
				return fmt.Errorf("diameter: peer address %q: want host:port: %w", p.Address, err)
			}
		}
	}
	return nil
}

func validIdentity(s string) bool {
	if len(s) == 0 || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ';' {
			return false
		}
	}
	return true
}

func (c *Config) application(id uint32) (Application, bool) {
	for _, a := range c.Applications {
		if a.ID == id {
			return a, true
		}
	}
	return Application{}, false
}

func (c *Config) isHost(s string) bool {
	if strings.EqualFold(s, c.OriginHost) {
		return true
	}
	for _, h := range c.Hosts {
		if strings.EqualFold(s, h) {
			return true
		}
	}
	return false
}

func (c *Config) isRealm(s string) bool {
	if strings.EqualFold(s, c.OriginRealm) {
		return true
	}
	for _, r := range c.Realms {
		if strings.EqualFold(s, r) {
			return true
		}
	}
	return false
}
