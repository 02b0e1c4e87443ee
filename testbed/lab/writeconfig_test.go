package lab

import (
	"context"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/icscf"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/pcscf"
	"github.com/gocscf/gocscf/ims/scscf"
	"github.com/gocscf/gocscf/testbed/hss"
)

func writeConfig(dir string) WriteConfig {
	return WriteConfig{Dir: dir, Domain: DefaultDomain, PCSCF: "127.0.0.1:5060", ICSCF: "127.0.0.1:5061", SCSCF: "127.0.0.1:5062", HSS: "127.0.0.1:3868", IPsec: "none"}
}

func TestWrittenConfigurationsAreGood(t *testing.T) {
	t.Run("IPv4", func(t *testing.T) { testWritten(t, writeConfig(t.TempDir()), "127.0.0.1:5063") })
	six := writeConfig(t.TempDir())
	six.PCSCF, six.ICSCF, six.SCSCF, six.HSS = "[::1]:5060", "[::1]:5070", "[::1]:5080", "[::1]:3868"
	names := writeConfig(t.TempDir())
	names.PCSCF, names.ICSCF, names.SCSCF, names.HSS = "localhost:5060", "localhost:5070", "localhost:5080", "localhost:3868"
	t.Run("names", func(t *testing.T) { testWritten(t, names, "127.0.0.1:5061") })
	t.Run("IPv6", func(t *testing.T) { testWritten(t, six, "[::1]:5061") })
}

func testWritten(t *testing.T, w WriteConfig, mw string) {
	dir := w.Dir
	if _, err := w.Write(); err != nil {
		t.Fatal(err)
	}
	p, i, s, h := pcscf.DefaultConfig(), icscf.DefaultConfig(), scscf.DefaultConfig(), hss.DefaultConfig()
	h.Dir = dir
	for _, c := range []struct {
		file  string
		to    any
		check func() error
	}{{"pcscf.yaml", &p, p.Check}, {"icscf.yaml", &i, i.Check}, {"scscf.yaml", &s, s.Check}, {"hss.yaml", &h, h.Check}} {
		if err := node.LoadConfig(filepath.Join(dir, c.file), c.to); err != nil {
			t.Error(err)
			continue
		}
		if err := c.check(); err != nil {
			t.Errorf("%s: %v", c.file, err)
		}
	}
	if p.Listen.Mw.String() != mw {
		t.Errorf("the Mw port is %v: the ones between are other services'", p.Listen.Mw)
	}
	if lines := strings.Count(readFile(t, filepath.Join(dir, "pcscf.yaml")), "\n"); lines > 15 {
		t.Errorf("the P-CSCF's configuration has %d lines, a lab needs at most 15", lines)
	}
}

// TestServicesWithNames: what is written with names in place of addresses registers
// phones and takes their calls.
func TestServicesWithNames(t *testing.T) {
	b := startBench(t, demo(), func(c *Configs) {
		w := writeConfig(t.TempDir())
		named := func(a netip.AddrPort) string { return net.JoinHostPort("localhost", strconv.Itoa(int(a.Port()))) }
		w.PCSCF, w.ICSCF, w.SCSCF, w.HSS = named(c.P.Listen.Gm), named(c.I.Listen), named(c.S.Listen), c.HSS.Listen
		mw := c.P.Listen.Mw
		if _, err := w.Write(); err != nil {
			t.Fatal(err)
		}
		c.P, c.I, c.S = pcscf.DefaultConfig(), icscf.DefaultConfig(), scscf.DefaultConfig()
		for file, to := range map[string]any{"pcscf.yaml": &c.P, "icscf.yaml": &c.I, "scscf.yaml": &c.S} {
			if err := node.LoadConfig(filepath.Join(w.Dir, file), to); err != nil {
				t.Fatal(err)
			}
		}
		c.P.Listen.Mw = mw // a free port
		if c.S.Name != "sip:"+named(c.S.Listen) || c.I.Hosts["localhost"] != named(c.S.Listen) {
			t.Errorf("the S-CSCF is %s, the I-CSCF knows %v", c.S.Name, c.I.Hosts)
		}
	})
	alice, bobPhone := newPhone(t, b, 0, nil), newPhone(t, b, 1, nil)
	mustWork(t, "alice registers", register(alice))
	mustWork(t, "bob registers", register(bobPhone))
	mustWork(t, "a call", call(alice, bob()))
	if st, _ := b.HSS.State(demo()[0].IMPI); !strings.HasPrefix(st.ServerName, "sip:localhost:") {
		t.Errorf("the HSS keeps %+v", st)
	}
}

func TestWriteConfigKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "scscf.yaml")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := writeConfig(dir).Write(); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("error %v does not point at --force", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || readFile(t, mine) != "mine" {
		t.Error("something was written all the same")
	}
	w := writeConfig(dir)
	w.Force = true
	if _, err := w.Write(); err != nil || readFile(t, mine) == "mine" {
		t.Errorf("--force did not write: %v", err)
	}
}

func TestWriteConfigRefusesBadFlags(t *testing.T) {
	for name, change := range map[string]func(*WriteConfig){
		"--pcscf":  func(w *WriteConfig) { w.PCSCF = "pcscf.example.org" },
		"--icscf":  func(w *WriteConfig) { w.ICSCF = "not a name:5060" },
		"--scscf":  func(w *WriteConfig) { w.SCSCF = "scscf.example.org:0" },
		"--hss":    func(w *WriteConfig) { w.HSS = "127.0.0.1" },
		"--ipsec":  func(w *WriteConfig) { w.IPsec = "maybe" },
		"--domain": func(w *WriteConfig) { w.Domain = "" },
	} {
		w := writeConfig(filepath.Join(t.TempDir(), "x"))
		change(&w)
		if _, err := w.Write(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v does not name the flag", name, err)
		}
		if _, err := os.Stat(w.Dir); err == nil {
			t.Errorf("%s: a directory was made", name)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestServicesStopAndStart: each service can be stopped and comes back at its
// address, and the others find it again.
func TestServicesStopAndStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	core, err := StartCore(ctx, CoreConfig{Domain: DefaultDomain, Subscribers: DemoSubscribers(DefaultDomain)})
	if err != nil {
		t.Fatal(err)
	}
	defer core.Stop()
	for _, name := range []string{NameP, NameI, NameS, NameHSS} {
		began := time.Now()
		if err := core.StopOne(name); err != nil {
			t.Errorf("stopping %s: %v", name, err)
		}
		if err := core.Start(name); err != nil {
			t.Fatalf("starting %s again: %v", name, err)
		}
		if err := core.WaitReady(ctx); err != nil {
			t.Fatalf("after %s came back: %v", name, err)
		}
		t.Logf("%s was away for %v", name, time.Since(began))
	}
}

func TestKeysAreReadByTheirOwnerAlone(t *testing.T) {
	w := writeConfig(t.TempDir())
	paths, err := w.Write()
	if err != nil {
		t.Fatal(err)
	}
	// What the umask leaves of a file that anybody may read.
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		want := mode(t, open)
		if filepath.Base(path) == "subscribers.yaml" {
			want = 0o600
		}
		if got := mode(t, path); got != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(path), got, want)
		}
	}
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}
