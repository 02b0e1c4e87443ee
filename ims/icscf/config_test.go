package icscf

import (
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/node"
)

const goodConfig = `
domain: ims.example.org
listen: 192.0.2.10:5060
scscfs: [{name: "sip:192.0.2.11:5060", capabilities: [1, 2]}]
diameter: {peers: [{address: "192.0.2.20:3868"}]}
`

func TestConfig(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       []string // the faults in order, by their beginnings; nil = none
	}{
		{"the least", goodConfig, nil},
		{"a name with an address", strings.Replace(goodConfig, "sip:192.0.2.11:5060", "sip:S1.example.org", 1) + "hosts: {s1.EXAMPLE.org: 192.0.2.3}\n", nil},
		{"a name without", strings.Replace(goodConfig, "sip:192.0.2.11:5060", "sip:s1.example.org", 1), []string{"scscfs[0].name is \"sip:s1.example.org\": no address is known"}},
		{"the same twice", strings.Replace(goodConfig, "capabilities: [1, 2]}", "capabilities: [1, 2]}, {name: \"SIP:192.0.2.11:5060\"}", 1), []string{"scscfs[1].name is \"SIP:192.0.2.11:5060\": that is scscfs[0]"}},
		{"nothing", "", []string{"domain is missing", "listen is missing", "scscfs is empty", "diameter.peers is empty"}},
		{"everything wrong", `
domain: "a domain"
listen: 0.0.0.0:5060
scscfs: [{name: "tel:+49"}, {name: ""}]
diameter: {peers: [{address: nowhere}]}
scscf_timeout: 0s
max_transactions: -1
hosts: {b.org: x, a.org: y}
`, []string{"domain is", "listen is 0.0.0.0:5060", "scscfs[0].name is \"tel:+49\"", "scscfs[1].name is \"\"", "diameter.peers[0].address", "scscf_timeout is 0s", "max_transactions is -1", "hosts: a.org is", "b.org is"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := DefaultConfig()
			if err := node.ParseConfig([]byte(tt.yaml), &c); err != nil {
				t.Fatal(err)
			}
			err := c.Check()
			if tt.want == nil {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			lines := strings.Split(err.Error(), "\n")
			for i := range max(len(lines), len(tt.want)) {
				if i >= len(lines) || i >= len(tt.want) || !strings.HasPrefix(lines[i], tt.want[i]) {
					t.Fatalf("the faults are\n%v\nwanted\n%s", err, strings.Join(tt.want, "\n"))
				}
			}
			if s, err := New(c, Deps{}); err == nil || s != nil {
				t.Error("such an I-CSCF can be made")
			}
		})
	}
}

func TestConfigIsExplained(t *testing.T) {
	c := DefaultConfig()
	if err := node.ParseConfig([]byte(goodConfig), &c); err != nil {
		t.Fatal(err)
	}
	said := strings.Join(c.Explain(), "\n")
	for _, part := range []string{"192.0.2.10:5060", "ims.example.org", "192.0.2.20:3868", "sip:192.0.2.11:5060", "[1 2]"} {
		if !strings.Contains(said, part) {
			t.Errorf("the explanation does not say %s:\n%s", part, said)
		}
	}
}
