package sip

import (
	"net/netip"
	"testing"
)

// An IPv6 host that has all of its /64 counts as one.
func TestSource(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5060":              "192.0.2.1",
		"192.0.2.2:5061":              "192.0.2.2",
		"[::ffff:192.0.2.1]:5060":     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:5060": "2001:db8:1:2::",
		"[2001:db8:1:2::]:7":          "2001:db8:1:2::",
		"[2001:db8:1:3::1]:5060":      "2001:db8:1:3::",
		"[fe80::1%eth0]:5060":         "fe80::%eth0",
		"[fe80::1%eth1]:5060":         "fe80::%eth1",
	} {
		if got := (Flow{Remote: netip.MustParseAddrPort(remote)}).Source(); got.String() != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
	if got := (Flow{}).Source(); got.IsValid() {
		t.Errorf("nobody counts as %s", got)
	}
}
