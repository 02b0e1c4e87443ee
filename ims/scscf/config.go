package scscf

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/uri"
)

// Config is the content of scscf.yaml.
type Config struct {
	node.Common `yaml:",inline"`

	// Domain is the home network's domain name, and the realm of challenges.
	Domain string `yaml:"domain"`
	// Listen is the socket for UDP and TCP, IP:PORT or HOST:PORT.
	Listen netip.AddrPort `yaml:"listen"`
	// Name is this S-CSCF's SIP URI as the HSS stores it and the I-CSCF routes to
	// it; sip: and the listen address by default.
	Name string `yaml:"name"`
	// ICSCF is where requests for users of the home domain go, IP:PORT or
	// HOST:PORT.
	ICSCF netip.AddrPort `yaml:"icscf"`
	// Diameter is the way to the HSS.
	Diameter node.DiameterConfig `yaml:"diameter"`
	// AKAWithoutIPsec lets phones answer a challenge although no IPsec protects
	// the answer (integrity-protected is "no" or absent). For labs.
	AKAWithoutIPsec bool `yaml:"aka_without_ipsec"`
	// Algorithm of challenges: AKAv1-MD5, AKAv2-MD5 or AKAv2-SHA-256. Default
	// AKAv1-MD5, the only one that all phones know.
	Algorithm string `yaml:"algorithm"`
	// MaxChallenges is how many challenges in a row a phone may answer wrongly: the
	// last wrong answer gets 403, those before a new challenge. Default 1.
	MaxChallenges int `yaml:"max_challenges"`
	// Reauthenticate challenges every re-registration, which gives the phone fresh
	// keys and with them fresh security associations. Default false: that it comes
	// over the old ones proves who sends it.
	Reauthenticate bool `yaml:"reauthenticate"`
	// RegAwaitAuth is how long a challenge may be answered. Default 4m.
	RegAwaitAuth node.Duration `yaml:"reg_await_auth"`
	// Expires bounds what is granted to registrations.
	Expires Expires `yaml:"expires"`
	// ASTimeout is how long an application server has for its first response.
	ASTimeout ASTimeout `yaml:"as_timeout"`
	// Trusted are the networks whose nodes may say who sends a request, as
	// ADDRESS/BITS: those of the P-CSCFs, the I-CSCF, the application servers, and of
	// partners. Empty, the default, trusts whoever can reach this service.
	Trusted node.Trusted `yaml:"trusted"`
	// Hosts gives addresses to names without DNS: name: HOST:PORT.
	Hosts map[string]string `yaml:"hosts"`
	// SharedIFCSets names files with shared initial filter criteria, by their id.
	SharedIFCSets map[int32]string `yaml:"shared_ifc_sets"`
	// MaxUsers bounds the registered users; beside them profiles are kept of an eighth
	// as many who are called and not registered. Default 1000000.
	MaxUsers int `yaml:"max_users"`
	// MaxTransactions bounds the open transactions; more get 503 with Retry-After.
	MaxTransactions int `yaml:"max_transactions"`
	// Overload says what is refused when more comes than can be worked on.
	Overload node.Overload `yaml:"overload"`
	// Drain is how long running transactions have after SIGTERM. Default 5s.
	Drain node.Duration `yaml:"drain"`
}

// Expires bounds the time of a registration.
type Expires struct {
	// Min is the shortest that is granted; who asks for less gets 423. Default 60s.
	Min node.Duration `yaml:"min"`
	// Default is granted to who asks for nothing. Default 1h.
	Default node.Duration `yaml:"default"`
	// Max is the longest that is granted; phones ask for 600000 s. Default 1h.
	Max node.Duration `yaml:"max"`
}

// ASTimeout bounds the wait for an application server.
type ASTimeout struct {
	// Continued is for criteria whose default handling goes on without the server.
	// Default 2s.
	Continued node.Duration `yaml:"continued"`
	// Terminated is for those whose default handling ends the session. Default 4s.
	Terminated node.Duration `yaml:"terminated"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Overload:      node.DefaultOverload(),
		Algorithm:     aka.AKAv1MD5.String(),
		MaxChallenges: 1,
		RegAwaitAuth:  node.Duration(4 * time.Minute),
		Expires:       Expires{Min: node.Duration(time.Minute), Default: node.Duration(time.Hour), Max: node.Duration(time.Hour)},
		ASTimeout:     ASTimeout{Continued: node.Duration(2 * time.Second), Terminated: node.Duration(4 * time.Second)},
		MaxUsers:      1_000_000,
		Drain:         node.Duration(5 * time.Second),
	}
}

// Check reports everything that is wrong with c.
func (c *Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Domain == "" {
		bad("domain is missing: the home network's domain name")
	}
	if !c.Listen.IsValid() {
		bad("listen is missing: IP:PORT")
	}
	if c.Name == "" && c.Listen.IsValid() && c.Listen.Addr().IsUnspecified() {
		bad("name is missing: listen is %v, which nobody can reach; want sip: and the address or name of this host", c.Listen)
	}
	if c.RegAwaitAuth.D() < time.Second {
		bad("reg_await_auth is %v: must be 1s or more", c.RegAwaitAuth.D())
	}
	if c.Name != "" {
		if u, err := uri.Parse(c.Name); err != nil || !u.IsSIP() {
			bad("name is %q: want a SIP URI such as sip:scscf.example.org:5060", c.Name)
		}
	}
	if !c.ICSCF.IsValid() {
		bad("icscf is missing: IP:PORT of the home network's I-CSCF")
	}
	if c.ICSCF.IsValid() && !c.Trusted.Has(c.ICSCF.Addr()) {
		bad("trusted is %v: the I-CSCF at %v is in none of them, and no call would come in", []netip.Prefix(c.Trusted), c.ICSCF)
	}
	if err := c.Diameter.Check(); err != nil {
		errs = append(errs, err)
	}
	if _, err := aka.ParseDigestAlgorithm(c.Algorithm); err != nil {
		bad("algorithm: %w", err)
	}
	if c.MaxChallenges < 1 {
		bad("max_challenges is %d: must be 1 or more", c.MaxChallenges)
	}
	if e := c.Expires; e.Min.D() < time.Second || e.Default < e.Min || e.Max < e.Default {
		bad("expires: want 1s <= min <= default <= max, have %v, %v, %v", e.Min.D(), e.Default.D(), e.Max.D())
	}
	if err := c.Overload.Check(); err != nil {
		errs = append(errs, err)
	}
	if _, err := node.Hosts(c.Hosts); err != nil {
		bad("hosts: %w", err)
	}
	return errors.Join(errs...)
}

// Explain says what c means.
func (c *Config) Explain() []string {
	out := []string{
		fmt.Sprintf("Reached at %v, UDP and TCP, as %s.", c.Listen, c.name(c.Listen)),
		fmt.Sprintf("Challenges with %s in realm %s; registrations last %v at most.", c.Algorithm, c.Domain, c.Expires.Max.D()),
		fmt.Sprintf("Calls to users of %s go to the I-CSCF at %v.", c.Domain, c.ICSCF),
		c.Trusted.Explain(),
		c.Overload.Explain(),
	}
	if c.AKAWithoutIPsec {
		out = append(out, "Phones may register without IPsec (aka_without_ipsec): for labs only.")
	}
	for _, p := range c.Diameter.Peers {
		out = append(out, "Asks the HSS at "+p.Address+".")
	}
	return out
}

// name is the SIP URI towards the HSS.
func (c *Config) name(at netip.AddrPort) string {
	if c.Name != "" {
		return c.Name
	}
	return "sip:" + at.String()
}
