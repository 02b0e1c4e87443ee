// Package hss is the testbed's home subscriber server: the HSS side of Cx by the
// rules of TS 29.228 clauses 6.1 to 6.5 and TS 29.229, in memory, with vectors of
// TS 33.102 made by package aka.
//
// It is strict: it answers what the specification asks for and nothing friendlier,
// so that what works here works with any HSS. Faults can be ordered from Go.
//
// All public identities of a subscriber form one implicit registration set (TS
// 29.228 6.5.1), so the registration state is kept once for each private
// identity. Subscribers that share a public identity belong to one subscription,
// which has one S-CSCF.
//
// Metrics: gocscf_hss_answers_total{command,result}, and those of a Diameter node.
package hss

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/uri"
)

// Config is the content of hss.yaml.
type Config struct {
	node.Common `yaml:",inline"`

	// Domain is the home network's domain name, for instance
	// ims.mnc001.mcc001.3gppnetwork.org.
	Domain string `yaml:"domain"`
	// Listen is where Diameter peers connect, HOST:PORT over TCP. Default 127.0.0.1:3868.
	Listen string `yaml:"listen"`
	// Diameter is how this HSS names itself.
	Diameter Diameter `yaml:"diameter"`
	// Subscribers is the name of a file with the key subscribers, or the list itself.
	Subscribers Subscribers `yaml:"subscribers"`
	// Generate makes many subscribers by a rule, for testbed load.
	Generate []Generated `yaml:"generate"`
	// SCSCFNames are the S-CSCFs that I-CSCFs are told to prefer, SIP URIs; by
	// default none, and the I-CSCF chooses.
	SCSCFNames []string `yaml:"scscf_names"`
	// Capabilities are what an S-CSCF must and should have for a subscriber who
	// names none.
	Capabilities Capabilities `yaml:"capabilities"`
	// VisitedNetworks are the networks, beside the domain, that subscribers may
	// register in; empty means any.
	VisitedNetworks []string `yaml:"visited_networks"`
	// State is a file that keeps the sequence numbers (SQN) over a restart. Without
	// it they begin anew, and each phone resynchronises once. Registrations are
	// not kept.
	State string `yaml:"state"`
	// Mimic is none: other HSSes' deviations are not imitated.
	Mimic string `yaml:"mimic"`
	// Drain is how long requests under way have after SIGTERM. Default 5s.
	Drain node.Duration `yaml:"drain"`

	// Dir is what relative file names are relative to; the directory of the
	// configuration file when there is one, else the working directory.
	Dir string `yaml:"-"`

	// What Check found. The subscribers themselves are not kept here: fmt prints what
	// is in unexported fields without asking it to hide its keys.
	subscribers int
	predictable []string // IMPIs with rand
}

// Diameter is the HSS's identity.
type Diameter struct {
	// OriginHost is the Diameter name; hss.DOMAIN by default.
	OriginHost string `yaml:"origin_host"`
	// OriginRealm is the Diameter realm; the domain by default.
	OriginRealm string `yaml:"origin_realm"`
}

// Capabilities is the content of Server-Capabilities (TS 29.229 6.3.4). What the
// numbers mean is the operator's choice.
type Capabilities struct {
	// Mandatory capabilities: an S-CSCF without one of them is not chosen.
	Mandatory []uint32 `yaml:"mandatory"`
	// Optional capabilities: an S-CSCF with more of them is preferred.
	Optional []uint32 `yaml:"optional"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:3868", Mimic: "none", Drain: node.Duration(5 * time.Second)}
}

// Check reports everything that is wrong with c, each fault naming its key, and
// reads the subscribers. Faults never repeat key material.
func (c *Config) Check() error {
	_, err := c.check()
	return err
}

// check is Check, and gives the subscribers ready for use.
func (c *Config) check() (*database, error) {
	var errs []error
	var db *database
	if c.Domain == "" {
		errs = append(errs, errors.New("domain is missing: the home network's domain name"))
	} else if u, err := uri.Parse("sip:" + c.Domain); err != nil || u.Port != 0 || strings.ContainsAny(c.Domain, ";?@[") {
		errs = append(errs, fmt.Errorf("domain is %q: want a domain name", c.Domain))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen is %q: want HOST:PORT", c.Listen))
	}
	for i, n := range c.SCSCFNames {
		if u, err := uri.Parse(n); err != nil || !u.IsSIP() {
			errs = append(errs, fmt.Errorf("scscf_names[%d] is %q: want a SIP URI", i, n))
		}
	}
	if c.Mimic != "" && c.Mimic != "none" {
		errs = append(errs, fmt.Errorf("mimic is %q: only none is built", c.Mimic))
	}
	subs, err := c.Subscribers.read(c.Dir)
	if err != nil {
		errs = append(errs, err)
	} else if db, err = newDatabase(c, subs); err != nil {
		errs = append(errs, err)
	}
	c.subscribers, c.predictable = len(subs), nil
	for _, g := range c.Generate {
		c.subscribers += g.Count
	}
	for _, s := range subs {
		if len(s.RAND) > 0 {
			c.predictable = append(c.predictable, s.IMPI)
		}
	}
	return db, errors.Join(errs...)
}

// Explain says what the configuration means.
func (c *Config) Explain() []string {
	out := []string{
		fmt.Sprintf("Diameter peers connect to %s, where this HSS is %s in realm %s.", c.Listen, c.originHost(), c.originRealm()),
		fmt.Sprintf("%d subscribers.", c.subscribers),
	}
	if c.State == "" {
		out = append(out, "SQNs are not kept over a restart: each phone then resynchronises once. Set state: FILE to keep them.")
	} else {
		out = append(out, "SQNs are kept in "+c.path(c.State)+".")
	}
	if len(c.VisitedNetworks) == 0 {
		out = append(out, "Subscribers may register in any network.")
	}
	for _, impi := range c.predictable {
		out = append(out, randWarning(impi))
	}
	return out
}

// randWarning is what a subscriber with predictable challenges is owed.
func randWarning(impi string) string {
	return "rand: is set for " + impi + ": its challenges can be predicted. For tests only."
}

func (c *Config) originHost() string {
	if c.Diameter.OriginHost != "" {
		return c.Diameter.OriginHost
	}
	return "hss." + c.Domain
}

func (c *Config) originRealm() string {
	if c.Diameter.OriginRealm != "" {
		return c.Diameter.OriginRealm
	}
	return c.Domain
}

func (c *Config) path(name string) string { return inDir(c.Dir, name) }

func inDir(dir, name string) string {
	if dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
