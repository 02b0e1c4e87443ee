//go:build integration

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nobody is the unprivileged user that the processes run as when the test is root.
const nobody = 65534

// binaries builds the four commands once for the package's tests.
func binaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "../../cmd/pcscf", "../../cmd/icscf", "../../cmd/scscf", "../../testbed")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	open(t, dir)
	return dir
}

// open lets other users into a directory of the test, and into those above it
// that the test made.
func open(t *testing.T, dir string) {
	t.Helper()
	for d := dir; strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// unprivileged makes a command of a binary that runs as nobody, without HOME.
func unprivileged(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, name), args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// TestDemonstrationAsOneProcess: an unprivileged user without HOME and without a
// writable directory gets the whole demonstration and one JSON object.
func TestDemonstrationAsOneProcess(t *testing.T) {
	dir := binaries(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for _, args := range [][]string{{"lab", "--once", "--json"}, {"lab", "--once", "--json", "--tcp"}, {"lab", "--once", "--json", "--ipsec", "none"}} {
		cmd := unprivileged(ctx, dir, "testbed", args...)
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %v\n%s\n%s", args, err, &out, &errOut)
		}
		var r Report
		dec := json.NewDecoder(&out)
		dec.DisallowUnknownFields()
		if err := dec.Decode(&r); err != nil || dec.More() {
			t.Fatalf("standard output is not one report: %v", err)
		}
		if !r.OK || r.PhonesRegistered != 2 || r.CallsCompleted < 1 || r.SIP.Gm == 0 || r.SIP.Mw == 0 || r.SIP.ISC == 0 || r.Cx["UAR"] == 0 {
			t.Errorf("%v: %+v", args, r)
		}
		backend, sets := "user", 2
		if slices.Contains(args, "none") {
			backend, sets = "none", 0
		}
		if i := r.IPsec; i.Backend != backend || i.SASets != sets || (i.ProtectedMessages > 20) != (sets > 0) || i.ClearMessagesAfterRegistration != 0 {
			t.Errorf("%v: %+v", args, i)
		}
		if strings.Contains(errOut.String(), aliceK) || !strings.Contains(errOut.String(), "INVITE") {
			t.Error("the ladder is missing from standard error, or a key is in it")
		}
	}
}

// service is a process of a service.
type service struct {
	cmd *exec.Cmd
	out *bytes.Buffer
}

// TestDemonstrationAsSeparateProcesses: four services from written configurations,
// and two phones that know nothing of each other.
func TestDemonstrationAsSeparateProcesses(t *testing.T) {
	dir := binaries(t)
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
	defer cancel()
	conf := filepath.Join(t.TempDir(), "conf")
	var at [5]netip.AddrPort
	for i := range at {
		var err error
		if at[i], err = freePort(Loopback, at[:i]); err != nil {
			t.Fatal(err)
		}
	}
	pcscf := at[0].String()
	write := exec.CommandContext(ctx, filepath.Join(dir, "testbed"), "lab", "--write-config", conf, "--domain", DefaultDomain,
		"--pcscf", pcscf, "--icscf", at[1].String(), "--scscf", at[2].String(), "--hss", at[3].String())
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Port 4500 may be somebody else's here.
	replaceIn(t, filepath.Join(conf, "pcscf.yaml"), "ipsec: {policy: required}", `ipsec: {policy: required, udp: "`+at[4].String()+`"}`)
	if os.Geteuid() == 0 {
		if err := errors.Join(chownAll(conf, nobody), os.Chown(filepath.Dir(conf), nobody, nobody)); err != nil {
			t.Fatal(err)
		}
	}
	open(t, conf)

	running := map[string]*service{}
	start := func(name string) {
		t.Helper()
		binary, args := name, []string{"--config", filepath.Join(conf, name+".yaml")}
		if name == "hss" {
			binary, args = "testbed", append([]string{"hss"}, args...)
		}
		if out, err := unprivileged(ctx, dir, binary, append(args, "--check")...).CombinedOutput(); err != nil {
			t.Fatalf("%s --check: %v\n%s", name, err, out)
		}
		pid := filepath.Join(conf, name+".pid")
		cmd := unprivileged(ctx, dir, binary, append(args, "--pid-file", pid)...)
		out := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running[name] = &service{cmd, out}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
	}
	ready := func(name string) {
		t.Helper()
		if err := waitFile(ctx, filepath.Join(conf, name+".pid")); err != nil {
			t.Fatalf("%s is not ready: %v\n%s", name, err, running[name].out)
		}
	}
	services := []string{"pcscf", "icscf", "scscf", "hss"}
	for _, name := range services {
		start(name)
	}
	for _, name := range services {
		ready(name)
	}

	subs := DemoSubscribers(DefaultDomain)
	phone := func(command string, i int, more ...string) *exec.Cmd {
		keys := [][2]string{{aliceK, aliceOPc}, {bobK, bobOPc}}[i]
		return unprivileged(ctx, dir, "testbed", append([]string{"ue", command, "--pcscf", pcscf, "--domain", DefaultDomain,
			"--impi", subs[i].IMPI, "--impu", subs[i].IMPUs[0], "--k", keys[0], "--opc", keys[1], "--esp-udp", at[4].String(), "--json"}, more...)...)
	}
	stay := func() *exec.Cmd {
		t.Helper()
		bob := phone("register", 1, "--stay", "--timeout", "60s")
		if err := bob.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = bob.Process.Kill() })
		return bob
	}
	callBob := func() {
		t.Helper()
		var last []byte
		for { // until bob is registered
			out, err := phone("call", 0, "--to", subs[1].IMPUs[0], "--duration", "200ms").Output()
			if last = out; err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("no call in time; the last try: %s\n%s", out, running["pcscf"].out)
			}
		}
		var report struct {
			OK     bool `json:"ok"`
			Status int  `json:"status"`
		}
		if err := json.Unmarshal(last, &report); err != nil || !report.OK || report.Status != 200 {
			t.Errorf("the call: %s (%v)", last, err)
		}
	}
	bob := stay()
	callBob()

	// Each service is killed: what it held in memory is gone. A phone has its final
	// answer soon, and once the service is back phones register anew and call.
	for _, name := range services {
		s := running[name]
		if err := s.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = s.cmd.Wait()
		if err := os.Remove(filepath.Join(conf, name+".pid")); err != nil {
			t.Errorf("%s had no pid file: %v", name, err)
		}
		began := time.Now()
		out, err := phone("register", 0, "--timeout", "20s").Output()
		if name != "pcscf" && (err == nil || bytes.Contains(out, []byte(`"status":0`)) || time.Since(began) > 7*time.Second) {
			t.Errorf("registering while %s is killed: %v after %v: %s", name, err, time.Since(began), out)
		}
		_ = bob.Process.Kill()
		_ = bob.Wait()
		start(name)
		ready(name)
		for phone("register", 1).Run() != nil { // until the others have found it again
			if ctx.Err() != nil {
				t.Fatalf("after %s was killed and came back nobody can register", name)
			}
		}
		bob = stay()
		callBob()
	}

	// A wrong key is no success, and says why.
	wrong := unprivileged(ctx, dir, "testbed", "ue", "register", "--pcscf", pcscf, "--domain", DefaultDomain, "--impi", subs[0].IMPI,
		"--impu", subs[0].IMPUs[0], "--k", aliceK, "--opc", bobOPc, "--esp-udp", at[4].String(), "--json")
	out, err := wrong.Output()
	if err == nil || !bytes.Contains(out, []byte("403")) {
		t.Errorf("a phone with a wrong OPc: %v, %s", err, out)
	}

	if err := bob.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	_ = bob.Wait()
	for _, name := range services {
		s := running[name]
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := s.cmd.Wait(); err != nil {
			t.Errorf("%s did not end in order: %v\n%s", name, err, s.out)
		}
		for _, key := range []string{aliceK, aliceOPc, bobK, bobOPc} {
			if strings.Contains(s.out.String(), key) {
				t.Errorf("the log of %s holds a key", name)
			}
		}
	}
}

// replaceIn replaces text that a file holds once.
func replaceIn(t *testing.T, file, old, with string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil || strings.Count(string(b), old) != 1 {
		t.Fatalf("%s does not hold %q once (%v):\n%s", file, old, err, b)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), old, with, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func chownAll(dir string, id int) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, id, id)
	})
}

func waitFile(ctx context.Context, path string) error {
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no %s: %w", path, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
