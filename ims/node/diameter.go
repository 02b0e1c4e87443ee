package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/sip/transport"
)

// DiameterConfig is the Cx side of a function's configuration.
type DiameterConfig struct {
	// OriginHost is this node's own Diameter name; by default the function's name
	// and the domain, for instance icscf.ims.mnc001.mcc001.3gppnetwork.org.
	OriginHost string `yaml:"origin_host"`
	// OriginRealm is this node's realm; the domain by default.
	OriginRealm string `yaml:"origin_realm"`
	// DestinationRealm is the HSS's realm; the origin realm by default.
	DestinationRealm string `yaml:"destination_realm"`
	// Local is the IP address to connect from; any by default.
	Local netip.Addr `yaml:"local"`
	// Peers are the HSSes (or agents) in order of preference.
	Peers []DiameterPeer `yaml:"peers"`
	// Timeout is how long an HSS has for its answer. Default 2s, so that a phone
	// whose HSS is down hears so within 5 s.
	Timeout Duration `yaml:"timeout"`
}

// DiameterPeer is one HSS.
type DiameterPeer struct {
	// Address is IP:PORT or HOST:PORT.
	Address string `yaml:"address"`
	// Host is the Origin-Host that it must have; any by default.
	Host string `yaml:"host"`
}

// DefaultCxTimeout is DiameterConfig.Timeout where none is set.
const DefaultCxTimeout = 2 * time.Second

// Check reports what is wrong with c, each fault naming its key.
func (c *DiameterConfig) Check() error {
	var errs []error
	if len(c.Peers) == 0 {
		errs = append(errs, errors.New("diameter.peers is empty: the address of an HSS is needed"))
	}
	for i, p := range c.Peers {
		host, port, err := net.SplitHostPort(p.Address)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			errs = append(errs, fmt.Errorf("diameter.peers[%d].address is %q: want HOST:PORT", i, p.Address))
		}
	}
	if c.Timeout < 0 {
		errs = append(errs, fmt.Errorf("diameter.timeout is %v: it cannot be negative", c.Timeout.D()))
	}
	return errors.Join(errs...)
}

// Dial seams of tests; nil is the network.
type Dialer = diameter.Dialer

// directDialer dials connections that spare the scheduler (see transport.Direct).
type directDialer struct{ d *net.Dialer }

func (d directDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return transport.Direct(c), nil
}

// Cx is a function's connection to the HSS.
type Cx struct {
	*cx.Client
	Node    *diameter.Node
	Timeout time.Duration

	guard *guard // nil without overload control
}

// NewCx makes the Diameter node of a function, not yet started. handler takes
// what the HSS asks (RTR, PPR); nil refuses it. dialer is nil for the network.
func (d Deps) NewCx(c DiameterConfig, function, domain string, handler diameter.Handler, dialer Dialer) (*Cx, error) {
	if c.OriginHost == "" {
		c.OriginHost = function + "." + domain
	}
	if c.OriginRealm == "" {
		c.OriginRealm = domain
	}
	if c.Timeout == 0 {
		c.Timeout = Duration(DefaultCxTimeout)
	}
	if dialer == nil {
		nd := &net.Dialer{}
		if c.Local.IsValid() {
			nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.Local, 0))
		}
		dialer = directDialer{nd}
	}
	dc := diameter.Config{
		OriginHost: c.OriginHost, OriginRealm: c.OriginRealm,
		Applications: []diameter.Application{cx.App()}, Dictionary: cx.Dictionary(),
		Handler: handler, Dialer: dialer, Observer: d.ObserveDiameter(),
		ReconnectMax: 5 * time.Second,
	}
	for _, p := range c.Peers {
		dc.Peers = append(dc.Peers, diameter.PeerConfig{Address: p.Address, Host: p.Host})
	}
	n, err := diameter.New(dc)
	if err != nil {
		return nil, fmt.Errorf("setting up Cx: %w", err)
	}
	return &Cx{
		Client: cx.NewClient(n, cx.ClientConfig{Realm: c.DestinationRealm, Timeout: c.Timeout.D()}),
		Node:   n, Timeout: c.Timeout.D(),
	}, nil
}

// Gather has what follows from answers that came together leave together, where h gathers
// it. It must be called before the node is started.
func (c *Cx) Gather(h diameter.Holder) { c.Node.Gather(h) }

// Deadline is when an answer to a request made now is too late.
func (c *Cx) Deadline() time.Time { return time.Now().Add(c.Timeout) }

// Ready is nil when an HSS is connected.
func (c *Cx) Ready() error {
	for _, p := range c.Node.Peers() {
		if p.State == diameter.Okay || p.State == diameter.Reopen {
			return nil
		}
	}
	return errors.New("no HSS is connected")
}

// Close takes the node down within a second.
func (c *Cx) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Node.Close(ctx)
}
