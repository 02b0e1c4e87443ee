package pcscf

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/node"
)

const goodConfig = `
domain: ims.example.org
listen: {gm: "192.0.2.1:5060", mw: "192.0.2.1:5070"}
icscf: 192.0.2.10:5060
`

func TestConfig(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       []string // the faults in order, by their beginnings; nil = none
	}{
		{"the least", goodConfig, nil},
		{"everything", goodConfig + "visited_network: visited.org\nhosts: {a.org: 192.0.2.3}\nmax_transactions: 5\nmax_connections: 5\nmax_bindings: 5\nhome_timeout: 3s\ndrain: 1s\nipsec: {policy: none, backend: user}\n", nil},
		{"all of emergency calls", goodConfig + "emergency: {ecscf: [192.0.2.20:5060, 192.0.2.21:5060], anonymous: true, numbers: {112: sos, \"110\": sos.police}, max_anonymous: 5}\n", nil},
		{"emergency calls all wrong", goodConfig + "emergency: {ecscf: 192.0.2.1:5070, numbers: {112: pizza, 911: sos police, help: sos}, max_anonymous: 0}\n", []string{
			"emergency.ecscf[0] is 192.0.2.1:5070: that is this P-CSCF", "emergency.max_anonymous is 0", "emergency.numbers: 112 is for \"pizza\"", "emergency.numbers: 911 is for", "emergency.numbers has \"help\""}},
		{"nobody for everybody's emergency calls", goodConfig + "emergency: {anonymous: true}\n", []string{"emergency.anonymous is true, and emergency.ecscf is missing"}},
		{"trusted", goodConfig + "trusted: [192.0.2.0/28]\n", nil},
		{"trusted, and the core is not", goodConfig + "trusted: [198.51.100.0/24]\nemergency: {ecscf: 192.0.2.20:5060}\n", []string{
			"trusted is [198.51.100.0/24]: 192.0.2.10:5060, which is of the core", "trusted is [198.51.100.0/24]: 192.0.2.20:5060"}},
		{"several I-CSCFs", strings.Replace(goodConfig, "192.0.2.10:5060", "[192.0.2.10:5060, 192.0.2.11:5060]", 1), nil},
		{"any port", strings.NewReplacer(":5060\", mw", ":0\", mw", "5070", "0").Replace(goodConfig), nil},
		{"nothing", "", []string{"domain is missing", "listen.gm is missing", "listen.mw is missing", "icscf is missing"}},
		{"the same port", strings.Replace(goodConfig, "5070", "5060", 1), []string{"listen.gm and listen.mw are both 192.0.2.1:5060"}},
		{"no address of its own", strings.Replace(goodConfig, "192.0.2.1:5060", "0.0.0.0:5060", 1), []string{"listen.gm is 0.0.0.0:5060"}},
		{"another IP version", strings.Replace(goodConfig, "192.0.2.10:5060", `"[2001:db8::1]:5060"`, 1), []string{"icscf[0] is [2001:db8::1]:5060"}},
		{"itself", strings.Replace(goodConfig, "192.0.2.10:5060", "[192.0.2.10:5060, 192.0.2.1:5070]", 1), []string{"icscf[1] is 192.0.2.1:5070: that is this P-CSCF"}},
		{"no port of the I-CSCF", strings.Replace(goodConfig, "192.0.2.10:5060", "192.0.2.10:0", 1), []string{"icscf[0] is 192.0.2.10:0"}},
		{"everything wrong", `
domain: "sip:x y"
listen: {mw: "[::]:5070"}
ipsec: {policy: perhaps, backend: magic}
max_bindings: 0
max_transactions: -1
max_connections: -1
home_timeout: 0s
hosts: {b.org: nowhere, a.org: "1.2.3.4:x"}
`, []string{"domain is", "listen.gm is missing", "listen.mw is [::]:5070", "icscf is missing", "ipsec.policy is \"perhaps\"", "ipsec.backend is \"magic\"",
			"max_bindings is 0", "max_transactions is -1", "max_connections is -1", "home_timeout is 0s", "hosts: a.org is", "b.org is"}},
		{"all of IPsec", goodConfig + "ipsec:\n  policy: required\n  backend: user\n  server_ports: 6100-6103, 6200\n  client_ports: 5100\n  algorithms: [hmac-sha-1-96/aes-cbc, hmac-md5-96/null]\n  offer: chosen\n  udp: 192.0.2.1:0\n  response_port: uc\n  response_port_uc_agents: [Foo/1]\n  reg_await_auth: 1m\n", nil},
		{"without IPsec the rest does not matter", goodConfig + "ipsec: {policy: none, offer: perhaps, server_ports: 5060}\n", nil},
		{"IPsec all wrong", goodConfig + "ipsec: {server_ports: 5060-5061, client_ports: 5061, algorithms: [hmac-md5-96/rot13], offer: some, udp: 0.0.0.0:4500, response_port: ps, response_port_uc_agents: [\"\"], reg_await_auth: 0s}\n", []string{
			"ipsec.offer is \"some\"", "ipsec.response_port is \"ps\"", "ipsec.response_port_uc_agents has an empty entry", "ipsec.server_ports has port 5060, which is in listen.gm", "ipsec.client_ports has port 5061, which is in ipsec.server_ports",
			"ipsec.algorithms: \"hmac-md5-96/rot13\" is no pair", "ipsec.udp is 0.0.0.0:4500", "ipsec.reg_await_auth is 0s"}},
		{"an algorithm twice, ESP over the other IP version", goodConfig + "ipsec: {algorithms: [null/aes-gcm, NULL/AES-GCM], udp: \"[2001:db8::1]:4500\"}\n", []string{
			"ipsec.algorithms: null/aes-gcm is named twice", "ipsec.udp is [2001:db8::1]:4500"}},
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
			if s, err := New(c, Deps{Deps: node.Deps{Log: zap.NewNop()}}); err == nil || s != nil {
				t.Error("such a P-CSCF can be made")
			}
		})
	}
}

func TestConfigDefaults(t *testing.T) {
	c := DefaultConfig()
	if err := node.ParseConfig([]byte(goodConfig), &c); err != nil {
		t.Fatal(err)
	}
	check(t, "visited network", c.visited(), "ims.example.org")
	check(t, "ipsec", c.IPsec, "{required auto 6100-6107 5100-5131 [] all invalid AddrPort us [] 240000000000}")
	check(t, "times", []time.Duration{c.HomeTimeout.D(), c.Drain.D()}, "[4s 5s]")
	said := strings.Join(c.Explain(), "\n")
	for _, part := range []string{"192.0.2.1:5060", "over IPsec", "6100-6107", "5100-5131", "192.0.2.1:4500", "hmac-md5-96/null", "192.0.2.1:5070", "192.0.2.10:5060", `"ims.example.org"`, "no emergency calls", "trusted is empty"} {
		if !strings.Contains(said, part) {
			t.Errorf("the explanation does not say %s:\n%s", part, said)
		}
	}
}

func TestPortsThatAreTaken(t *testing.T) {
	run(t, func(w *world) {
		if _, err := New(w.p.cfg, Deps{Deps: node.Deps{Log: w.p.deps.Log}, Net: w.peers[0].host}); err == nil {
			t.Error("sockets of another host can be opened")
		}
		if err := w.p.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
	})
}
