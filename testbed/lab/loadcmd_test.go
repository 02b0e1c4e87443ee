package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

// loadCmd is `testbed load` with the flags' defaults.
func loadCmd(pcscf string) load.Cmd {
	return load.Cmd{
		PCSCF: []string{pcscf}, Domain: DefaultDomain, Phones: 20, First: firstIMSI, K: aliceK, OPc: aliceOPc, From: "127.16.0.1", Mix: "register", Registered: -1,
		Busy: 10, PreBusy: 20, Duration: 10 * time.Second, Think: 20 * time.Millisecond, T1: 2 * time.Second, Patience: 32 * time.Second, Limit: 2 * time.Second,
	}
}

// standardError has what is written to standard error go to a file until the test ends; read
// gives what came.
func standardError(t *testing.T) (read func() string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = f
	t.Cleanup(func() {
		os.Stderr = was
		f.Close()
	})
	return func() string {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// progress checks what came on standard error: one line for each second of the series.
func progress(t *testing.T, text string, series []load.Second) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != len(series) {
		t.Fatalf("%d lines of progress in %d seconds:\n%s", len(lines), len(series), text)
	}
	for i, s := range series {
		want := fmt.Sprintf("%.1f s %s due %d, ok %d, failed %d, under way %d, again %d, p50 %.1f ms, p99 %.1f ms",
			s.Seconds, s.Phase, s.Due, s.Succeeded, s.Failed, s.Active, s.Repeated, s.P50, s.P99)
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("second %d is told as\n%s\nand it was\n%s", i+1, got, want)
		}
	}
}

// TestLoadCommand: what `testbed load` prints and writes is what has happened: a ramp, with
// the processor time and the memory of a process that was named. Each second is told of on
// standard error, when it is over.
func TestLoadCommand(t *testing.T) {
	core, _ := crowd(t, 20, 20)
	dir := t.TempDir()
	c := loadCmd(core.P.Gm().String())
	c.Mix, c.Ramp, c.Duration, c.Registered = "message=3,reregister=1", "20..60", 1500*time.Millisecond, 20
	c.CPU, c.JSON, c.Plot = []string{fmt.Sprintf("all=%d", os.Getpid())}, filepath.Join(dir, "report.json"), filepath.Join(dir, "report.svg")
	told := standardError(t)
	var out bytes.Buffer
	if err := c.Run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(c.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var r load.Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	reconcile(t, r.PreRegistration)
	reconcile(t, r.Load)
	if r.PreRegistration.Succeeded != 20 || len(r.Load.Scenarios) != 2 || r.Load.Latency.P999 <= 0 || len(r.Load.CPU) != 1 || r.Load.CPU[0].PerOperation <= 0 ||
		len(r.Memory) != 1 || r.Memory[0].After < 1000 || len(r.Series) == 0 {
		t.Errorf("%s", b)
	}
	progress(t, told(), r.Series)
	for _, want := range []string{"20/s to 60/s offered", fmt.Sprintf("all: %d attempts, %d succeeded", r.Load.Attempts, r.Load.Succeeded), "p99.9", "processor time of all", "memory of all"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not print %q:\n%s", want, &out)
		}
	}
	if svg, err := os.ReadFile(c.Plot); err != nil || strings.Count(string(svg), "<polyline") != 5 {
		t.Errorf("the plot is %v, %.200s", err, svg)
	}
}

// TestLoadCommandRefuses: flags that mean nothing are told of as such, before anything is sent.
func TestLoadCommandRefuses(t *testing.T) {
	for what, spoil := range map[string]func(*load.Cmd){
		"--pcscf": func(c *load.Cmd) { c.PCSCF = []string{"nowhere"} },
		"--esp":   func(c *load.Cmd) { c.ESP = "127.0.0.1" },
		"--first": func(c *load.Cmd) { c.First = "1" },
		"--k":     func(c *load.Cmd) { c.K = "xyz" },
		"K":       func(c *load.Cmd) { c.K = "00" },
		"phones":  func(c *load.Cmd) { c.Phones = 0 },
		"--opc":   func(c *load.Cmd) { c.OPc = "x" },
		"--from":  func(c *load.Cmd) { c.From = "here" },
		"--mix":   func(c *load.Cmd) { c.Mix = "fax" },
		"--rate":  func(c *load.Cmd) { c.Rate = "-1" },
		"--ramp":  func(c *load.Cmd) { c.Ramp, c.Stir = "1..2", time.Second },
		"--doc":   func(c *load.Cmd) { c.DOC = "5" },
		"--cpu":   func(c *load.Cmd) { c.CPU = []string{"=1"} },
	} {
		c := loadCmd("127.0.0.1:1")
		spoil(&c)
		err := c.Run(t.Context(), &bytes.Buffer{})
		if bad := (*load.FlagError)(nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
