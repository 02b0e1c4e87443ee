package proxy

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/gocscf/gocscf/ims/uri"
)

func testSelf(t *testing.T) *self {
	t.Helper()
	s, err := newSelf([]string{"scscf.ims.test", "scscf.alt.test:7000", "[2001:db8::1]:5070"}, func(u uri.URI) bool { return u.Host == "extra.test" })
	if err != nil {
		t.Fatal(err)
	}
	s.add(netip.MustParseAddrPort("192.0.2.1:5060"))
	s.add(netip.MustParseAddrPort("192.0.2.1:6060"))
	return s
}

func TestSelf(t *testing.T) {
	s := testSelf(t)
	for _, tt := range []struct {
		uri  string
		want bool
	}{
		{"sip:192.0.2.1", true},
		{"sip:192.0.2.1:5060;lr", true},
		{"sip:orig@192.0.2.1:6060;lr;x=y", true},
		{"sip:192.0.2.1:7070", false},
		{"sips:192.0.2.1", false}, // means 5061
		{"sip:192.0.2.2", false},
		{"sip:scscf.ims.test", true},
		{"sip:SCSCF.ims.TEST.", true},
		{"sip:scscf.ims.test:6060;lr", true},
		{"sip:scscf.ims.test:5060", true},
		{"sip:scscf.ims.test:9999", false},
		{"sip:scscf.alt.test:7000", true},
		{"sip:scscf.alt.test", false},
		{"sip:ims.test", false},
		{"sip:[2001:db8:0::1]:5070", true},
		{"sip:[2001:db8::1]", false},
		{"sip:x@extra.test:1", true},
		{"tel:+123", false},
	} {
		u, err := uri.Parse(tt.uri)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.is(u); got != tt.want {
			t.Errorf("is(%s) = %v, want %v", tt.uri, got, tt.want)
		}
	}
	if _, err := newSelf([]string{"sip:a"}, nil); err == nil {
		t.Error("alias with a scheme accepted")
	}
}

// RFC 3261 16.4.
func TestPreprocess(t *testing.T) {
	s := testSelf(t)
	for _, tt := range []struct {
		name   string
		ruri   string
		routes []string
		uri    string
		own    []string
		left   []string
	}{
		{"no route", "sip:bob@b.test", nil, "sip:bob@b.test", nil, nil},
		{"foreign route stays", "sip:bob@b.test", []string{"sip:p.test;lr"}, "sip:bob@b.test", nil, []string{"sip:p.test;lr"}},
		{"own popped", "sip:bob@b.test", []string{"sip:orig@scscf.ims.test;lr;x=1", "sip:p.test;lr"}, "sip:bob@b.test",
			[]string{"sip:orig@scscf.ims.test;lr;x=1"}, []string{"sip:p.test;lr"}},
		{"doubled Record-Route popped together", "sip:bob@b.test", []string{"sip:192.0.2.1;lr", "sip:192.0.2.1:6060;lr", "sip:p.test;lr"}, "sip:bob@b.test",
			[]string{"sip:192.0.2.1;lr", "sip:192.0.2.1:6060;lr"}, []string{"sip:p.test;lr"}},
		{"own one behind a foreign one stays", "sip:bob@b.test", []string{"sip:p.test;lr", "sip:192.0.2.1;lr"}, "sip:bob@b.test",
			nil, []string{"sip:p.test;lr", "sip:192.0.2.1;lr"}},
		{"strict router before us", "sip:orig@192.0.2.1;lr", []string{"sip:p.test;lr", "sip:bob@b.test"}, "sip:bob@b.test",
			[]string{"sip:orig@192.0.2.1;lr"}, []string{"sip:p.test;lr"}},
		{"strict router before our doubled entry", "sip:192.0.2.1;lr", []string{"sip:192.0.2.1:6060;lr", "sip:bob@b.test"}, "sip:bob@b.test",
			[]string{"sip:192.0.2.1;lr", "sip:192.0.2.1:6060;lr"}, nil},
		{"strict router, only the target left", "sip:192.0.2.1;lr", []string{"sip:bob@b.test"}, "sip:bob@b.test",
			[]string{"sip:192.0.2.1;lr"}, nil},
		{"request for ourselves is not repaired", "sip:192.0.2.1", []string{"sip:192.0.2.1;lr"}, "sip:192.0.2.1",
			[]string{"sip:192.0.2.1;lr"}, nil},
		{"own maddr goes with port and transport", "sip:bob@b.test:5060;maddr=192.0.2.1;transport=tcp;x", nil, "sip:bob@b.test;x", nil, nil},
		{"foreign maddr stays", "sip:bob@b.test;maddr=192.0.2.9", nil, "sip:bob@b.test;maddr=192.0.2.9", nil, nil},
		{"urn", "urn:service:sos", []string{"sip:192.0.2.1;lr"}, "urn:service:sos", []string{"sip:192.0.2.1;lr"}, nil},
	} {
		in, left, err := preprocess(tt.ruri, tt.routes, s.is)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var own []string
		for _, u := range in.own[:in.owns] {
			own = append(own, u.String())
		}
		if in.uri != tt.uri || !slices.Equal(own, tt.own) || !slices.Equal(left, tt.left) {
			t.Errorf("%s: uri %q own %q left %q, want %q %q %q", tt.name, in.uri, own, left, tt.uri, tt.own, tt.left)
		}
		if in.rewrote != (in.uri != tt.ruri) {
			t.Errorf("%s: rewrote = %v", tt.name, in.rewrote)
		}
	}
	if _, _, err := preprocess("sip:b.test", []string{"nonsense"}, s.is); err == nil {
		t.Error("unreadable top Route accepted")
	}
	if _, _, err := preprocess("sip:b.test", []string{"sip:p.test;lr", "nonsense"}, s.is); err != nil {
		t.Errorf("unreadable Route further down: %v", err)
	}
}

// RFC 3261 16.6 steps 6 and 7.
func TestLeave(t *testing.T) {
	for _, tt := range []struct {
		name, ruri, top string
		want            outbound
	}{
		{"no route", "sip:b.test", "", outbound{uri: "sip:b.test", hop: "sip:b.test"}},
		{"loose", "sip:b.test", "sip:p.test;lr", outbound{uri: "sip:b.test", hop: "sip:p.test;lr"}},
		{"escaped lr is lr", "sip:b.test", "sip:p.test;%6Cr", outbound{uri: "sip:b.test", hop: "sip:p.test;%6Cr"}},
		{"strict", "sip:b.test", "sip:p.test", outbound{uri: "sip:p.test", hop: "sip:p.test", strict: true}},
	} {
		if got := leave(tt.ruri, tt.top); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
