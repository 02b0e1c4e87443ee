// Package lab runs a whole IMS core with an HSS, application servers and phones
// in one process, over loopback sockets: the demonstration of `go run ./testbed`
// and the ground of the tests that need everything.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/icscf"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/pcscf"
	"github.com/gocscf/gocscf/ims/scscf"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/hss"
)

// CoreConfig describes a core to start.
type CoreConfig struct {
	Domain      string
	Subscribers []hss.Subscriber
	// IP is the address that all services listen at; Loopback by default.
	IP     netip.Addr
	State  string // file for the HSS's sequence numbers, empty for none
	Log    *zap.Logger
	Stream *trace.Stream
	// IPsec has the P-CSCF demand IPsec from its phones.
	IPsec bool
	// Adjust changes the services' configurations before they start; nil leaves
	// the lab's.
	Adjust func(*Configs)
}

// Configs are the configurations of the four services.
type Configs struct {
	HSS hss.Config
	P   pcscf.Config
	I   icscf.Config
	S   scscf.Config
	// Protection makes what protects Gm, for tests, in place of what P says; nil does
	// as it says.
	Protection func() (*pcscf.Protection, error)
}

// Core is a running HSS, P-CSCF, I-CSCF and S-CSCF. Each of them can be stopped
// and started again at the same address.
type Core struct {
	cfg  CoreConfig
	conf Configs

	HSS *hss.Server
	P   *pcscf.Server
	I   *icscf.Server
	S   *scscf.Server

	mu      sync.Mutex
	running map[string]*running
	metrics map[string]*prometheus.Registry // made with the first service
}

// running is a service with what stops it.
type running struct {
	stop context.CancelFunc
	done chan error
}

// The names of the services, as in trace events.
const (
	NameHSS = "hss"
	NameP   = "pcscf"
	NameI   = "icscf"
	NameS   = "scscf"
)

// StartCore starts the four services and waits until they are ready.
func StartCore(ctx context.Context, cfg CoreConfig) (*Core, error) {
	if !cfg.IP.IsValid() {
		cfg.IP = Loopback
	}
	c := &Core{cfg: cfg, running: map[string]*running{}}
	var err error
	// A port that was free a moment ago may be taken by the time it is opened.
	for range 5 {
		if err = c.start(ctx); err == nil {
			return c, nil
		}
		c.Stop()
		if !errors.Is(err, errAddressTaken) {
			break
		}
	}
	return nil, err
}

func (c *Core) start(ctx context.Context) error {
	if err := c.configure(); err != nil {
		return err
	}
	for _, name := range []string{NameHSS, NameS, NameI, NameP} {
		if err := c.Start(name); err != nil {
			return err
		}
	}
	return c.WaitReady(ctx)
}

// Loopback is the only address that the lab uses.
var Loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// configure finds free ports and writes the configurations.
func (c *Core) configure() error {
	var at [5]netip.AddrPort // hss, p gm, p mw, i, s
	for i := range at {
		a, err := freePort(c.cfg.IP, at[:i])
		if err != nil {
			return err
		}
		at[i] = a
	}
	c.conf = NewConfigs(c.cfg.Domain, Addresses{HSS: at[0], Gm: at[1], Mw: at[2], I: at[3], S: at[4]})
	c.conf.HSS.Subscribers.List = c.cfg.Subscribers
	c.conf.HSS.State = c.cfg.State
	if c.cfg.IPsec {
		c.conf.Protect()
	}
	if c.cfg.Adjust != nil {
		c.cfg.Adjust(&c.conf)
	}
	return nil
}

// freePort finds a port of an address that is free for UDP and TCP, and not in taken.
func freePort(ip netip.Addr, taken []netip.AddrPort) (netip.AddrPort, error) {
	for range 50 {
		ln, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("looking for a free port: %w", err)
		}
		a := ln.Addr().(*net.TCPAddr).AddrPort()
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		_ = ln.Close()
		if err != nil {
			continue
		}
		_ = udp.Close()
		free := true
		for _, t := range taken {
			free = free && t != a
		}
		if free {
			return a, nil
		}
	}
	return netip.AddrPort{}, errors.New("looking for a free port: none is free for UDP and TCP at once")
}

var errAddressTaken = errors.New("an address was taken meanwhile")

// deps are what a service gets. Its metrics are its own, so that it can be
// started again.
func (c *Core) deps(name string) node.Deps {
	log := c.cfg.Log
	if log == nil {
		log = zap.NewNop()
	}
	reg := prometheus.NewRegistry()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.metrics == nil {
		c.metrics = map[string]*prometheus.Registry{}
	}
	c.metrics[name] = reg
	return node.Deps{Log: log.Named(name), Trace: trace.Node{Stream: c.cfg.Stream, Name: name}, Metrics: reg}
}

// Metrics returns those of a service, nil of one that was never started.
func (c *Core) Metrics(name string) prometheus.Gatherer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.metrics[name]; r != nil {
		return r
	}
	return nil
}

// Start starts a service that is not running, with the configuration that it had.
func (c *Core) Start(name string) error {
	var svc node.Service
	var err error
	d := c.deps(name)
	switch name {
	case NameHSS:
		c.HSS, err = hss.New(c.conf.HSS, hss.Deps{Deps: d})
		svc = c.HSS
	case NameP:
		deps := pcscf.Deps{Deps: d}
		if make := c.conf.Protection; make != nil {
			if deps.Protection, err = make(); err != nil {
				return err
			}
		}
		c.P, err = pcscf.New(c.conf.P, deps)
		svc = c.P
	case NameI:
		c.I, err = icscf.New(c.conf.I, icscf.Deps{Deps: d})
		svc = c.I
	case NameS:
		c.S, err = scscf.New(c.conf.S, scscf.Deps{Deps: d})
		svc = c.S
	default:
		return fmt.Errorf("starting %q: no such service", name)
	}
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "listen" {
			return fmt.Errorf("%w: starting %s: %w", errAddressTaken, name, err)
		}
		return fmt.Errorf("starting %s: %w", name, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop: stop, done: make(chan error, 1)}
	go func() { r.done <- svc.Run(ctx) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[name] = r
	return nil
}

// StopOne stops a service and waits for its end. What it held in memory is gone.
func (c *Core) StopOne(name string) error {
	c.mu.Lock()
	r := c.running[name]
	delete(c.running, name)
	c.mu.Unlock()
	if r == nil {
		return nil
	}
	r.stop()
	return <-r.done
}

// Stop stops everything, phones' side first.
func (c *Core) Stop() {
	for _, name := range []string{NameP, NameI, NameS, NameHSS} {
		_ = c.StopOne(name)
	}
}

// WaitReady waits until every running service is ready.
func (c *Core) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := errors.Join(c.HSS.Ready(), c.S.Ready(), c.I.Ready(), c.P.Ready())
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the services: %w", err)
		case <-tick.C:
		}
	}
}
