// Package icscf is the Interrogating-CSCF of TS 24.229 5.3: the way into a home
// network. It asks the HSS which S-CSCF serves a user (TS 29.228 6.1.1, 6.1.4),
// chooses one where none does, and stays out of the path afterwards.
package icscf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/uri"
)

// Config is the content of icscf.yaml.
type Config struct {
	node.Common `yaml:",inline"`

	// Domain is the home network's domain name.
	Domain string `yaml:"domain"`
	// Listen is the socket for UDP and TCP, IP:PORT or HOST:PORT.
	Listen netip.AddrPort `yaml:"listen"`
	// SCSCFs are the S-CSCFs to choose from, the preferred ones first.
	SCSCFs []SCSCF `yaml:"scscfs"`
	// Diameter is the way to the HSS.
	Diameter node.DiameterConfig `yaml:"diameter"`
	// SCSCFTimeout is how long an S-CSCF has for its first response to a REGISTER
	// before another one is tried. Default 2500ms.
	SCSCFTimeout node.Duration `yaml:"scscf_timeout"`
	// Trusted are the networks whose nodes may say who sends a request, as
	// ADDRESS/BITS: those of the P-CSCFs, the S-CSCFs, the application servers, and of
	// partners. Empty, the default, trusts whoever can reach this service.
	Trusted node.Trusted `yaml:"trusted"`
	// Hosts gives addresses to names without DNS: name: HOST:PORT.
	Hosts map[string]string `yaml:"hosts"`
	// MaxTransactions bounds the open transactions; more get 503 with Retry-After.
	MaxTransactions int `yaml:"max_transactions"`
	// Overload says what is refused when more comes than can be worked on.
	Overload node.Overload `yaml:"overload"`
	// Drain is how long running transactions have after SIGTERM. Default 5s.
	Drain node.Duration `yaml:"drain"`
}

// SCSCF is one that may be assigned to users.
type SCSCF struct {
	// Name is its SIP URI, the one that it calls itself by towards the HSS.
	Name string `yaml:"name"`
	// Capabilities are what it has, of the operator's numbering (TS 29.228 6.7).
	Capabilities []uint32 `yaml:"capabilities"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Overload:     node.DefaultOverload(),
		SCSCFTimeout: node.Duration(2500 * time.Millisecond),
		Drain:        node.Duration(5 * time.Second),
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
	switch {
	case !c.Listen.IsValid():
		bad("listen is missing: IP:PORT")
	case c.Listen.Addr().IsUnspecified():
		bad("listen is %v: name one of this host's addresses, others must be able to answer to it", c.Listen)
	}
	if len(c.SCSCFs) == 0 {
		bad("scscfs is empty: without one, users whose HSS names none cannot register")
	}
	for i, s := range c.SCSCFs {
		u, err := uri.Parse(s.Name)
		if err != nil || !u.IsSIP() {
			bad("scscfs[%d].name is %q: want a SIP URI such as sip:scscf.example.org:5060", i, s.Name)
			continue
		}
		if !c.reachable(u) {
			bad("scscfs[%d].name is %q: no address is known for %s, name it in hosts", i, s.Name, u.Host)
		}
		for j, o := range c.SCSCFs[:i] {
			if sameServer(o.Name, s.Name) {
				bad("scscfs[%d].name is %q: that is scscfs[%d] again", i, s.Name, j)
				break
			}
		}
	}
	if err := c.Diameter.Check(); err != nil {
		errs = append(errs, err)
	}
	if c.SCSCFTimeout <= 0 {
		bad("scscf_timeout is %v: no answer of an S-CSCF would be in time", c.SCSCFTimeout.D())
	}
	if c.MaxTransactions < 0 {
		bad("max_transactions is %d: want 1 or more, or 0 for the default", c.MaxTransactions)
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

// reachable reports whether there is an address for a URI: there is no DNS.
func (c *Config) reachable(u uri.URI) bool {
	if _, ok := u.Addr(); ok {
		return true
	}
	for name := range c.Hosts {
		if strings.EqualFold(strings.TrimSuffix(name, "."), strings.TrimSuffix(u.Host, ".")) {
			return true
		}
	}
	return false
}

// Explain says what c means.
func (c *Config) Explain() []string {
	out := []string{fmt.Sprintf("Reached at %v, UDP and TCP; home domain %s.", c.Listen, c.Domain), c.Trusted.Explain(), c.Overload.Explain()}
	for _, p := range c.Diameter.Peers {
		out = append(out, "Asks the HSS at "+p.Address+".")
	}
	for _, s := range c.SCSCFs {
		out = append(out, fmt.Sprintf("May assign %s, capabilities %v.", s.Name, s.Capabilities))
	}
	return out
}
