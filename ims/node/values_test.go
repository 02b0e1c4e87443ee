package node

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDuration(t *testing.T) {
	type config struct {
		Wait Duration `yaml:"wait"`
	}
	tests := []struct {
		yaml string
		want time.Duration
		bad  bool
	}{
		{"wait: 500ms", 500 * time.Millisecond, false},
		{"wait: 1m30s", 90 * time.Second, false},
		{"wait: 0s", 0, false},
		{"wait: 0", 0, false},
		{"wait: 4", 0, true}, // of what?
		{"wait: -1s", 0, true},
		{"wait: soon", 0, true},
		{"wait: 999999999h", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.yaml, func(t *testing.T) {
			c := config{Wait: Duration(time.Hour)}
			err := ParseConfig([]byte(tt.yaml), &c)
			if tt.bad {
				if err == nil || !strings.Contains(err.Error(), "4s") {
					t.Errorf("error %v does not show how to write it", err)
				}
				return
			}
			if err != nil || c.Wait.D() != tt.want {
				t.Errorf("got %v, %v", c.Wait.D(), err)
			}
		})
	}
	if text, err := Duration(90 * time.Second).MarshalText(); string(text) != "1m30s" || err != nil {
		t.Errorf("written as %q, %v", text, err)
	}
}

func TestHosts(t *testing.T) {
	got, err := Hosts(map[string]string{
		"scscf.example.org": "192.0.2.1:6060",
		"icscf.example.org": "192.0.2.2",
		"six.example.org":   "[2001:db8::1]:5060",
		"bare6.example.org": "2001:db8::2",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]netip.AddrPort{
		"scscf.example.org": {netip.MustParseAddrPort("192.0.2.1:6060")},
		"icscf.example.org": {netip.MustParseAddrPort("192.0.2.2:0")},
		"six.example.org":   {netip.MustParseAddrPort("[2001:db8::1]:5060")},
		"bare6.example.org": {netip.MustParseAddrPort("[2001:db8::2]:0")},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestHostsReportsEveryFault(t *testing.T) {
	_, err := Hosts(map[string]string{"b": "nowhere", "a": "192.0.2.1:port", "good": "192.0.2.1", "c": ""})
	if err == nil {
		t.Fatal("no error")
	}
	want := "a is \"192.0.2.1:port\": no address: want IP:PORT or HOST:PORT\n" +
		"b is \"nowhere\": no address: want IP:PORT or HOST:PORT\n" +
		"c is \"\": no address: want IP:PORT or HOST:PORT"
	if d := cmp.Diff(want, err.Error()); d != "" {
		t.Error(d)
	}
}
