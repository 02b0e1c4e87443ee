package node

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// Where a configuration has an address, it may have a name, which the system
// resolves.
func TestConfigWithNames(t *testing.T) {
	type config struct {
		Listen netip.AddrPort   `yaml:"listen"`
		List   []netip.AddrPort `yaml:"list"`
		Other  string           `yaml:"other"`
	}
	tests := []struct{ yaml, want string }{
		{"listen: 192.0.2.1:5060 # here\nlist: ['[2001:db8::1]:1', \"192.0.2.2:2\"]", "192.0.2.1:5060 [[2001:db8::1]:1 192.0.2.2:2]"},
		{"listen: localhost:5060\nlist: [localhost:0]", "127.0.0.1:5060 [127.0.0.1:0]"},
		{"other: x\nlisten: \"a b:5060\"", `[2:10] "a b:5060": no address is known for a b`},
		{"listen: 127.0.0.1:1\nlist:\n  - 127.0.0.1:1\n  - x", `[4:5] "x": no address: want IP:PORT or HOST:PORT`},
		{"listen: localhost", `[1:9] "localhost": no address`},
		{"listen: localhost:70000", `[1:9] "localhost:70000": no address`},
		{"listen: :5060", `[1:9] ":5060": no address`},
	}
	for _, tt := range tests {
		var c config
		got := ""
		if err := ParseConfig([]byte(tt.yaml), &c); err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(c.Listen, c.List)
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q gives %s, want %s", tt.yaml, got, tt.want)
		}
	}
	hosts, err := Hosts(map[string]string{"a.lab": "localhost:5060", "b.lab": "192.0.2.1", "c.lab": "192.0.2.1:1"})
	if err != nil || fmt.Sprint(hosts) != "map[a.lab:[127.0.0.1:5060] b.lab:[192.0.2.1:0] c.lab:[192.0.2.1:1]]" {
		t.Errorf("%v %v", hosts, err)
	}
	if _, err := Hosts(map[string]string{"a.lab": "a b:1", "b.lab": "x"}); err == nil || !strings.Contains(err.Error(), `a.lab is "a b:1": no address is known for a b`) || !strings.Contains(err.Error(), `b.lab is "x": no address`) {
		t.Errorf("%v", err)
	}
}
