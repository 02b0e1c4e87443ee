package scscf

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/node"
)

func good() Config {
	c := DefaultConfig()
	c.Domain, c.Listen, c.ICSCF = home, netip.MustParseAddrPort(scscfAddr), netip.MustParseAddrPort("192.0.2.2:5060")
	c.Diameter.Peers = []node.DiameterPeer{{Address: hssAddr}}
	return c
}

func TestConfigNamesEachFault(t *testing.T) {
	c := good()
	if err := c.Check(); err != nil {
		t.Fatalf("a good configuration: %v", err)
	}
	tests := []struct {
		key    string
		change func(c *Config)
	}{
		{"domain", func(c *Config) { c.Domain = "" }},
		{"listen", func(c *Config) { c.Listen = netip.AddrPort{} }},
		{"name", func(c *Config) { c.Name = "tel:+1" }},
		{"name", func(c *Config) { c.Listen = netip.MustParseAddrPort("0.0.0.0:5060") }},
		{"icscf", func(c *Config) { c.ICSCF = netip.AddrPort{} }},
		{"trusted", func(c *Config) { c.Trusted = node.Trusted{netip.MustParsePrefix("198.51.100.0/24")} }},
		{"diameter.peers", func(c *Config) { c.Diameter.Peers = nil }},
		{"algorithm", func(c *Config) { c.Algorithm = "MD5" }},
		{"max_challenges", func(c *Config) { c.MaxChallenges = 0 }},
		{"reg_await_auth", func(c *Config) { c.RegAwaitAuth = 0 }},
		{"expires", func(c *Config) { c.Expires.Max = c.Expires.Min }},
		{"expires", func(c *Config) { c.Expires.Min = 0 }},
		{"hosts", func(c *Config) { c.Hosts = map[string]string{"as": "nowhere"} }},
	}
	var all Config
	for _, tt := range tests {
		c := good()
		tt.change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), tt.key) || strings.Count(err.Error(), "\n") != 0 {
			t.Errorf("want one fault that names %s: %v", tt.key, err)
		}
	}
	if err := all.Check(); err == nil || strings.Count(err.Error(), "\n") < 6 {
		t.Errorf("not all at once: %v", err)
	}
	c = good()
	c.Listen, c.Name = netip.MustParseAddrPort("0.0.0.0:5060"), "sip:scscf.home.test:5060"
	if err := c.Check(); err != nil {
		t.Errorf("a name for a socket of all addresses: %v", err)
	}
	if s := strings.Join(c.Explain(), "\n"); !strings.Contains(s, "as sip:scscf.home.test:5060") || !strings.Contains(s, "trusted is empty") {
		t.Errorf("explained as\n%s", s)
	}
	// As a file has it.
	if err := node.ParseConfig([]byte("trusted: [192.0.2.0/24, '2001:db8::/32']"), &c); err != nil || c.Check() != nil || !c.Trusted.Lists(netip.MustParseAddr("::ffff:192.0.2.9")) {
		t.Errorf("trusted is read as %v: %v, %v", c.Trusted, err, c.Check())
	}
	if s := strings.Join(c.Explain(), "\n"); !strings.Contains(s, "Only nodes in [192.0.2.0/24 2001:db8::/32] are trusted") {
		t.Errorf("explained as\n%s", s)
	}
}
