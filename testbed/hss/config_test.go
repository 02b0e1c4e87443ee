package hss

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
)

const goodConfig = `
domain: ims.mnc001.mcc001.3gppnetwork.org
listen: 127.0.0.1:0
diameter: {origin_host: hss.example.org, origin_realm: example.org}
subscribers: subs/subscribers.yaml
scscf_names: ["sip:scscf.example.org:6060"]
capabilities: {mandatory: [1], optional: [2]}
visited_networks: [visited.example.org]
state: state.json
log: {level: debug}
`

const goodSubscribers = `
subscribers:
- impi: 001010000000001@ims.mnc001.mcc001.3gppnetwork.org
  impus: ["sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org", "tel:+491"]
  barred: ["tel:+491"]
  display_names: {"tel:+491": 0049}
  k: 00112233445566778899001122334455
  opc: "cd63cb71954a9f4e48a5994e37a02baf"
  amf: 0010
  sqn: 000000000021
  rand: [00000000000000000000000000000000, 23553cbe9637a89d218ae64dae47bf35]
  charging: {ccf: "aaa://ccf", ecf: "aaa://ecf"}
  roaming: [visited.example.org]
  capabilities: {mandatory: [7]}
  ifc:
  - mail.xml
  - |
    <InitialFilterCriteria><Priority>1</Priority>
    <ApplicationServer><ServerName>sip:as2</ServerName></ApplicationServer></InitialFilterCriteria>
- {impi: 1@example.org, impus: ["sip:1@example.org"], k: 465b5ce8b199b49faa5f0a2ee238a6bc, op: cdc202d5123e20f62b6d676ac72cb318, algorithm: Milenage}
- {impi: 2@example.org, impus: ["sip:2@example.org"], k: 000102030405060708090a0b0c0d0e0f, algorithm: xor, amf: 0000, priorities: [wps.2, dsn.flash]}
`

// files writes a configuration and returns the name of hss.yaml.
func files(t *testing.T, config, subscribers string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "subs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"hss.yaml": config, "subs/subscribers.yaml": subscribers, "subs/mail.xml": mailIFC} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "hss.yaml")
}

func load(path string) (Config, error) {
	c := DefaultConfig()
	c.Dir = filepath.Dir(path)
	if err := node.LoadConfig(path, &c); err != nil {
		return c, err
	}
	return c, c.Check()
}

// Digits without quotes stay what they are in the file.
func TestConfigIsRead(t *testing.T) {
	c, err := load(files(t, goodConfig, goodSubscribers))
	if err != nil {
		t.Fatal(err)
	}
	db, err := c.check()
	if err != nil {
		t.Fatal(err)
	}
	u := db.user("001010000000001@ims.mnc001.mcc001.3gppnetwork.org")
	if u == nil || len(db.users) != 3 {
		t.Fatalf("%d users", len(db.users))
	}
	if u.amf != 0x0010 || *u.first != 0x21 || len(u.rands) != 2 || u.rands[0] != [16]byte{} {
		t.Errorf("amf %v, sqn %v, %d rand", u.amf, *u.first, len(u.rands))
	}
	if !bytes.Contains(u.data, []byte("sip:as2")) || !bytes.Contains(u.data, []byte("sip:mail.example.org")) || !bytes.Contains(u.data, []byte("0049")) {
		t.Errorf("profile %s", u.data)
	}
	if p, err := profile.Parse(db.user("2@example.org").data); err != nil || !slices.Equal(p.ServiceProfiles[0].PublicIdentities[0].Priorities, []profile.Priority{{Namespace: "wps", Level: "2"}, {Namespace: "dsn", Level: "flash"}}) {
		t.Errorf("priorities of %+v: %v", p, err)
	}
	if got := strings.Join(c.Explain(), "\n"); !strings.Contains(got, "3 subscribers") || !strings.Contains(got, "can be predicted") || !strings.Contains(got, "state.json") {
		t.Errorf("Explain says %s", got)
	}
	if c.originHost() != "hss.example.org" || c.originRealm() != "example.org" {
		t.Errorf("%s %s", c.originHost(), c.originRealm())
	}
}

func TestInlineSubscribers(t *testing.T) {
	config := "domain: example.org\nsubscribers:\n- {impi: 1@example.org, impus: ['sip:1@example.org'], k: " + keyK + ", opc: " + keyOPc + "}\n"
	c, err := load(files(t, config, ""))
	if err != nil || c.subscribers != 1 || c.originHost() != "hss.example.org" || c.originRealm() != "example.org" {
		t.Errorf("%d subscribers, %s: %v", c.subscribers, c.originHost(), err)
	}
}

// A fault names its file and line or its key, and shows no key material, though it
// may stand right beside.
func TestConfigFaults(t *testing.T) {
	sub := func(old, new string) string { return strings.Replace(goodSubscribers, old, new, 1) }
	cfg := func(old, new string) string { return strings.Replace(goodConfig, old, new, 1) }
	tests := []struct {
		name, config, subscribers string
		want                      []string
	}{
		{"unknown key of hss.yaml", goodConfig + "subscriber: x\n", goodSubscribers, []string{"hss.yaml", "[11:1]", "subscriber"}},
		{"no domain", cfg("domain: ims.mnc001.mcc001.3gppnetwork.org", ""), goodSubscribers, []string{"domain is missing"}},
		{"bad listen", cfg("127.0.0.1:0", "3868"), goodSubscribers, []string{"listen"}},
		{"bad S-CSCF", cfg("sip:scscf.example.org:6060", "scscf"), goodSubscribers, []string{"scscf_names[0]"}},
		{"mimic", goodConfig + "mimic: pyhss\n", goodSubscribers, []string{"mimic", "pyhss"}},
		{"no subscriber file", cfg("subs/sub", "subs/nosub"), goodSubscribers, []string{"subscribers", "nosubscribers.yaml"}},
		{"unknown key beside k", goodConfig, sub("amf: 0010", "afm: 0010"), []string{"subscribers.yaml", "[9:3]", "afm"}},
		{"key given as a field", goodConfig, sub("amf: 0010", keyK+": 1"), []string{"subscribers.yaml", "[9:3]"}},
		{"key given as an alias", goodConfig, sub("k: 465b5c", "k: *465b5c"), []string{"subscribers.yaml", "[20:"}},
		{"k is a list", goodConfig, sub("k: 00112233445566778899001122334455", "k: ["+keyK+"]"), []string{"subscribers.yaml", "[7:6]", "single value"}},
		{"syntax", goodConfig, sub("k: 00112233445566778899001122334455", "k: '"+keyK), []string{"subscribers.yaml", "[7:6]"}},
		{"number in place of a list", goodConfig, sub("mandatory: [7]", "mandatory: "+strings.Repeat("465", 12)), []string{"subscribers.yaml", "[14:"}},
		{"k is short", goodConfig, sub("k: 00112233445566778899001122334455", "k: 0011"), []string{"subscribers[0] (line 3)", "k"}},
		{"k is no hex", goodConfig, sub("k: 00112233445566778899001122334455", "k: xyz"), []string{"subscribers[0] (line 3).k"}},
		{"no k", goodConfig, sub("  k: 00112233445566778899001122334455\n", ""), []string{"subscribers[0] (line 3).k is missing"}},
		{"op and opc", goodConfig, sub("amf: 0010", "op: cdc202d5123e20f62b6d676ac72cb318"), []string{"subscribers[0] (line 3).one of opc and op"}},
		{"algorithm", goodConfig, sub("Milenage", "rijndael"), []string{"(line 20).algorithm", "rijndael"}},
		{"xor with opc", goodConfig, sub("algorithm: xor", "algorithm: xor, opc: "+keyOPc), []string{"(line 21).op and opc"}},
		{"amf", goodConfig, sub("amf: 0010", "amf: 00100"), []string{"(line 3).amf"}},
		{"sqn", goodConfig, sub("000000000021", "21"), []string{"(line 3).sqn"}},
		{"rand", goodConfig, sub("23553cbe", "23553cb"), []string{"(line 3).rand[1]"}},
		{"impi", goodConfig, sub("001010000000001@ims.mnc001.mcc001.3gppnetwork.org\n", "001010000000001\n"), []string{"(line 3).impi"}},
		{"impu", goodConfig, sub("\"tel:+491\"", "mailto:x"), []string{"(line 3).impus[1]"}},
		{"barred", goodConfig, sub("barred: [\"tel:+491\"]", "barred: [\"tel:+492\"]"), []string{"(line 3).barred", "tel:+492"}},
		{"priority", goodConfig, sub("wps.2", "wps"), []string{"(line 21).priorities[0]"}},
		{"same impi", goodConfig, sub("impi: 2@", "impi: 1@"), []string{"(line 21).impi", "same"}},
		{"iFC file", goodConfig, sub("mail.xml", "post.xml"), []string{"(line 3).ifc[0]", "post.xml"}},
		{"iFC", goodConfig, sub("<Priority>1<", "<Priority>x<"), []string{"(line 3).ifc[1]", "Priority"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(files(t, tt.config, tt.subscribers))
			if err == nil {
				t.Fatal("no fault")
			}
			text := err.Error()
			for _, w := range tt.want {
				if !strings.Contains(text, w) {
					t.Errorf("%q is not in: %s", w, text)
				}
			}
			for _, k := range []string{"00112233", "cd63cb71", "465b5ce8", "cdc202d5", "00010203", "46546546"} {
				if strings.Contains(text, k) {
					t.Errorf("key material in: %s", text)
				}
			}
		})
	}
}

// All faults come at once.
func TestConfigFaultsTogether(t *testing.T) {
	c := DefaultConfig()
	c.Listen, c.Mimic = "x", "y"
	c.Subscribers.List = []Subscriber{{IMPI: "x"}, {IMPI: "a@b", IMPUs: []string{"sip:a@b"}, K: "00"}}
	text := c.Check().Error()
	for _, w := range []string{"domain", "listen", "mimic", "subscribers[0].impi", "subscribers[0].impus", "subscribers[0].k", "subscribers[1].one of opc"} {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in: %s", w, text)
		}
	}
}

func TestCommandLine(t *testing.T) {
	path := files(t, goodConfig, goodSubscribers)
	var cli struct {
		HSS Cmd `cmd:""`
	}
	parser, err := kong.New(&cli)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"hss", "--config", path, "--check", "--state", "elsewhere.json"}); err != nil {
		t.Fatal(err)
	}
	p, err := cli.HSS.program()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := p.Main([]string{"--config", path, "--check"}, &stdout, &stderr); code != node.ExitOK {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if got := stdout.String(); !strings.Contains(got, filepath.Join(here, "elsewhere.json")) || strings.Contains(got, "465b") {
		t.Errorf("--check says %s", got)
	}
	bad := files(t, goodConfig, strings.Replace(goodSubscribers, "amf: 0010", "amf: 1", 1))
	p, err = (&Cmd{Config: bad}).program()
	if err != nil {
		t.Fatal(err)
	}
	if code := p.Main([]string{"--config", bad}, &stdout, &stderr); code != node.ExitConfig {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}
