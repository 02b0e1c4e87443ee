package sip

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// noParams leaves the raw text of parameters out of a comparison.
var noParams = cmpopts.IgnoreTypes(Params(""), AuthParams(""))

func TestParseVia(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Via
	}{
		{"plain", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa",
			Via{Proto: "SIP/2.0", Transport: "UDP", Host: "192.0.2.1", Port: 5060, Branch: "z9hG4bKa"}},
		{"spaces everywhere", "SIP / 2.0 / TCP   h.example ; branch = z9 ;\r\n rport",
			Via{Proto: "SIP/2.0", Transport: "TCP", Host: "h.example", Branch: "z9", HasRPort: true}},
		{"rport and received", "SIP/2.0/UDP h;rport=5062;received=192.0.2.9;branch=b",
			Via{Proto: "SIP/2.0", Transport: "UDP", Host: "h", Branch: "b", HasRPort: true, RPort: 5062, Received: "192.0.2.9"}},
		{"phone's flags", "SIP/2.0/UDP [2001:db8::1]:5060;branch=b;rport;keep;transport=UDP",
			Via{Proto: "SIP/2.0", Transport: "UDP", Host: "[2001:db8::1]", Port: 5060, Branch: "b", HasRPort: true}},
		{"maddr and ttl", "SIP/2.0/UDP h;maddr=224.2.0.1;ttl=16;branch=b",
			Via{Proto: "SIP/2.0", Transport: "UDP", Host: "h", MAddr: "224.2.0.1", TTL: "16", Branch: "b"}},
		{"comment behind the host", "SIP/2.0/UDP h (a; comment, (nested));branch=b",
			Via{Proto: "SIP/2.0", Transport: "UDP", Host: "h", Branch: "b"}},
		{"space before the port", "SIP/2.0/UDP h : 5070;branch=b",
			Via{Proto: "SIP/2.0", Transport: "UDP", Host: "h", Port: 5070, Branch: "b"}},
		{"RFC 2543, no branch", "sip/2.0/UDP h", Via{Proto: "SIP/2.0", Transport: "UDP", Host: "h"}},
	} {
		got, err := ParseVia(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if d := cmp.Diff(tt.want, got, noParams); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
	for _, in := range []string{
		"", "SIP/2.0", "SIP/2.0/UDP", "SIP/2.0/UDP ;branch=b", "SIP/2.0/UDP h:99999", "SIP/2.0/UDP [::1;branch=b",
		"SIP/2.0/UDP [nonsense]", "SIP/2.0/UDP h i;branch=b", "SIP/2.0/UDP h;rport=99999", "SIP/2.0/UDP h;ttl=256", "UDP h", "SIP/2.0/UDP h (unclosed",
	} {
		if v, err := ParseVia(in); err == nil {
			t.Errorf("%q is read as %+v", in, v)
		}
	}
}

func TestViaAppendKeepsUnknownParams(t *testing.T) {
	v, err := ParseVia("SIP/2.0/UDP h:5060;keep;transport=UDP;branch=b;rport")
	if err != nil {
		t.Fatal(err)
	}
	v.Received, v.RPort = "192.0.2.9", 40000
	const want = "SIP/2.0/UDP h:5060;received=192.0.2.9;rport=40000;branch=b;keep;transport=UDP"
	if got := v.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// RFC 5118 §4.5: received with and without brackets.
func TestViaAddressesOfBothForms(t *testing.T) {
	want := netip.MustParseAddr("2001:db8::9:255")
	for _, s := range []string{"[2001:db8::9:255]", "2001:db8::9:255"} {
		v, err := ParseVia("SIP/2.0/UDP [2001:db8::9:1];received=" + s + ";branch=b")
		if err != nil {
			t.Fatal(err)
		}
		if a, ok := v.ReceivedAddr(); !ok || a != want {
			t.Errorf("received %s is %v, %v", s, a, ok)
		}
		if a, ok := v.HostAddr(); !ok || a != netip.MustParseAddr("2001:db8::9:1") {
			t.Errorf("host is %v, %v", a, ok)
		}
	}
}
