// Package pcscf is the Proxy-CSCF of TS 24.229 5.2: what the phone talks to. It
// takes REGISTERs to the home network and remembers what their 200 says, asserts
// the phone's identity, keeps it to its Service-Route, and takes what comes along
// its Path to the phone, in both directions without what the other side must
// not see.
package pcscf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/uri"
)

// Config is the content of pcscf.yaml.
type Config struct {
	node.Common `yaml:",inline"`

	// Domain is the home network's domain name, for instance
	// ims.mnc001.mcc001.3gppnetwork.org.
	Domain string `yaml:"domain"`
	// Listen are the sockets, each for UDP and TCP.
	Listen Listen `yaml:"listen"`
	// ICSCF is the home network's entry point, HOST:PORT; further ones are tried
	// in order when one does not answer.
	ICSCF Addresses `yaml:"icscf"`
	// Trusted are the networks whose nodes may be the core at listen.mw, as
	// ADDRESS/BITS: those of the I-CSCF, the S-CSCFs, the E-CSCF. Empty, the default,
	// trusts whoever can reach listen.mw.
	Trusted node.Trusted `yaml:"trusted"`
	// VisitedNetwork is what P-Visited-Network-ID says; the domain by default.
	VisitedNetwork string `yaml:"visited_network"`
	// IPsec towards the phones.
	IPsec IPsec `yaml:"ipsec"`
	// Emergency says what becomes of emergency calls.
	Emergency Emergency `yaml:"emergency"`
	// Hosts gives addresses to names without DNS: name: HOST:PORT.
	Hosts map[string]string `yaml:"hosts"`
	// MaxTransactions bounds the open transactions; more get 503 with Retry-After.
	MaxTransactions int `yaml:"max_transactions"`
	// MaxConnections bounds the TCP connections, those with the core and those over SA
	// sets with them. Where hardly a place is left at listen.gm, the oldest of those over
	// which nobody has registered gives way to the next (from 128 on). Default 20000, or
	// seven eighths of the descriptors that the process may have, where that is less.
	MaxConnections int `yaml:"max_connections"`
	// Overload says what is refused when more comes than can be worked on.
	Overload node.Overload `yaml:"overload"`
	// MaxBindings bounds the registered phones. Default 1000000.
	MaxBindings int `yaml:"max_bindings"`
	// ResourcePriority are the namespaces of Resource-Priority that phones may ask for,
	// for instance wps; the S-CSCF holds them to what the user may have. None by
	// default: the header is removed.
	ResourcePriority []string `yaml:"resource_priority"`
	// HomeTimeout is how long the home network has for its first response to a
	// REGISTER. Default 4s.
	HomeTimeout node.Duration `yaml:"home_timeout"`
	// Drain is how long running transactions have after SIGTERM. Default 5s.
	Drain node.Duration `yaml:"drain"`
}

// Listen are the P-CSCF's addresses.
type Listen struct {
	// Gm is the open port towards phones, IP:PORT or HOST:PORT.
	Gm netip.AddrPort `yaml:"gm"`
	// Mw is the port towards the core, IP:PORT or HOST:PORT; Path carries it.
	Mw netip.AddrPort `yaml:"mw"`
}

// Addresses is one IP:PORT or HOST:PORT, or a list of them.
type Addresses []netip.AddrPort

// UnmarshalYAML accepts a single address as well as a list.
func (a *Addresses) UnmarshalYAML(decode func(any) error) error {
	var list []netip.AddrPort
	var bad *node.AddressError
	switch err := decode(&list); {
	case err == nil:
		*a = list
		return nil
	case errors.As(err, &bad): // one of the list
		return err
	}
	var one netip.AddrPort
	if err := decode(&one); err != nil {
		return err
	}
	*a = Addresses{one}
	return nil
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Overload:    node.DefaultOverload(),
		IPsec:       defaultIPsec(),
		Emergency:   defaultEmergency(),
		MaxBindings: 1_000_000,
		HomeTimeout: node.Duration(4 * time.Second),
		Drain:       node.Duration(5 * time.Second),
	}
}

// Check reports everything that is wrong with c, each fault with its key.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Domain == "" {
		bad("domain is missing: the home network's domain name")
	} else if u, err := uri.Parse("sip:" + c.Domain); err != nil || u.Host != c.Domain {
		bad("domain is %q: want a domain name such as ims.mnc001.mcc001.3gppnetwork.org", c.Domain)
	}
	c.Listen.check(bad)
	if len(c.ICSCF) == 0 {
		bad("icscf is missing: IP:PORT of the home network's entry point")
	}
	c.ICSCF.check("icscf", "the IP:PORT of the home network's entry point", c.Listen, bad)
	c.IPsec.check(c.Listen.Gm, c.Listen.Mw, bad)
	c.Emergency.check(c.Listen, bad)
	for _, a := range slices.Concat(c.ICSCF, c.Emergency.ECSCF) {
		if a.IsValid() && !c.Trusted.Has(a.Addr()) {
			bad("trusted is %v: %v, which is of the core, is in none of them, and what it answers would be dropped", []netip.Prefix(c.Trusted), a)
		}
	}
	if c.MaxBindings < 1 {
		bad("max_bindings is %d: no phone could register; want 1 or more", c.MaxBindings)
	}
	if c.MaxTransactions < 0 {
		bad("max_transactions is %d: want 1 or more, or 0 for the default", c.MaxTransactions)
	}
	if c.MaxConnections < 0 {
		bad("max_connections is %d: want 1 or more, or 0 for the default", c.MaxConnections)
	}
	if c.HomeTimeout <= 0 {
		bad("home_timeout is %v: no answer of the home network would be in time", c.HomeTimeout.D())
	}
	if c.Drain < 0 {
		bad("drain is %v: it cannot be negative", c.Drain.D())
	}
	if err := c.Overload.Check(); err != nil {
		errs = append(errs, err)
	}
	if _, err := node.Hosts(c.Hosts); err != nil {
		bad("hosts: %w", err)
	}
	return errors.Join(errs...)
}

func (l *Listen) check(bad func(format string, args ...any)) {
	for _, a := range [...]struct {
		key, what string
		addr      netip.AddrPort
	}{{"gm", "phones", l.Gm}, {"mw", "the core", l.Mw}} {
		switch {
		case !a.addr.IsValid():
			bad("listen.%s is missing: IP:PORT towards %s", a.key, a.what)
		case a.addr.Addr().IsUnspecified():
			bad("listen.%s is %v: name one of this host's addresses, %s must be able to answer to it", a.key, a.addr, a.what)
		}
	}
	if l.Gm.IsValid() && l.Gm == l.Mw && l.Gm.Port() != 0 {
		bad("listen.gm and listen.mw are both %v: they must differ, by which one a request came tells its direction", l.Gm)
	}
}

// Explain says what c means.
func (c *Config) Explain() []string {
	return []string{
		c.IPsec.explain(c.Listen.Gm),
		fmt.Sprintf("The core reaches it at %v; Path and Record-Route carry that.", c.Listen.Mw),
		fmt.Sprintf("REGISTERs go to the I-CSCF at %v, visited network %q.", c.ICSCF, c.visited()),
		c.Emergency.explain(),
		c.trusting(),
		c.Overload.Explain(),
	}
}

func (c *Config) visited() string {
	if c.VisitedNetwork != "" {
		return c.VisitedNetwork
	}
	return c.Domain
}
