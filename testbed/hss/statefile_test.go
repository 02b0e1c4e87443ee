package hss

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
)

// used takes n vectors and returns their sequence numbers.
func (h *testHSS) used(scscf *cscf, n int) (list []aka.SQN) {
	h.t.Helper()
	for range n {
		if a := scscf.mar(h.t, cx.MAR{}); !a.Result.Is(diameter.Success) {
			h.t.Fatalf("%s: %s", cx.ResultName(a.Result), a.ErrorMessage)
		}
		got, _ := h.State(alice)
		list = append(list, got.SQN)
	}
	return list
}

// seq is the part of a sequence number that may never repeat.
func seq(s aka.SQN) aka.SQN { return s >> 5 }

func TestSQNOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	keep := func(c *Config) { c.State = path }
	h := start(t, keep, subscriber(nil))
	before := h.used(h.connect("scscf", nil), 3)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h = start(t, keep, subscriber(nil))
	after := h.used(h.connect("scscf", nil), 1)
	if seq(after[0]) != seq(before[2])+1 {
		t.Errorf("SQN %v after %v: an orderly stop skips nothing", after[0], before[2])
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file: %v, %v", info.Mode(), err)
	}
	if list, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(list) > 0 {
		t.Errorf("left behind: %v", list)
	}
}

// A crash leaves the file as it was when the process died. At any moment, that file
// begins beyond everything that was used.
func TestSQNOverACrash(t *testing.T) {
	dir := t.TempDir()
	keep := func(name string) func(*Config) {
		return func(c *Config) { c.State = filepath.Join(dir, name) }
	}
	h := start(t, keep("live"), subscriber(nil))
	scscf := h.connect("scscf", nil)
	for i, n := range []int{0, 1, blockSEQ - 1, 1, 1, 3 * blockSEQ} {
		used := h.used(scscf, n)
		b, err := os.ReadFile(filepath.Join(dir, "live"))
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("crashed", i)
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		reborn := start(t, keep(name), subscriber(nil))
		next := reborn.used(reborn.connect("scscf", nil), 1)[0]
		if n > 0 && seq(next) <= seq(used[n-1]) {
			t.Errorf("crash %d: %v is used again after %v", i, next, used[n-1])
		}
	}
}

func TestSQNOfStateAndConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	keep := func(c *Config) { c.State = path }
	with := func(sqn string) Subscriber { return subscriber(func(s *Subscriber) { s.SQN = sqn }) }
	first := func(sub Subscriber) aka.SQN {
		h := start(t, keep, sub)
		defer h.stop()
		return h.used(h.connect("scscf", nil), 1)[0]
	}
	for _, tt := range []struct{ sqn, want string }{
		{"000000001000", "000000001000"}, // of the configuration
		{"000000001000", "000000001021"}, // used already
		{"", "000000001042"},
		{"000000100000", "000000100000"}, // raised
		{"000000000020", "000000100021"}, // lowered
	} {
		if got := first(with(tt.sqn)).String(); got != tt.want {
			t.Errorf("sqn: %q gives %s, want %s", tt.sqn, got, tt.want)
		}
	}
}

// While the state cannot be written, no vector leaves; afterwards work goes on.
func TestStateThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	keep := func(c *Config) { c.State = filepath.Join(dir, "file") }
	h := start(t, keep, subscriber(nil))
	scscf := h.connect("scscf", nil)
	last := h.used(scscf, blockSEQ)[blockSEQ-1]
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a := scscf.mar(t, cx.MAR{})
		if !a.Result.Is(diameter.UnableToComply) || len(a.Items) > 0 {
			t.Fatalf("%s with %d vectors", cx.ResultName(a.Result), len(a.Items))
		}
	}
	if h.logs.FilterMessageSnippet("no vector leaves").Len() != 2 {
		t.Error("nothing in the log")
	}
	if n := testutil.ToFloat64(h.unkept); n != 2 {
		t.Errorf("%v vectors that did not leave are counted, want 2", n)
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	if next := h.used(scscf, 1)[0]; seq(next) <= seq(last) {
		t.Errorf("%v after %v", next, last)
	}

	if _, err := tryStart(t, nil, func(c *Config) { c.State = filepath.Join(dir, "no", "such", "file") }, subscriber(nil)); err == nil {
		t.Error("a state file that cannot be written is no error at start")
	}
}

func TestStateFileThatIsDamaged(t *testing.T) {
	for name, content := range map[string]string{
		"cut":     `{"version":1,"sqn":{"a@b":"0000`,
		"empty":   "",
		"version": `{"version":2}`,
		"number":  `{"version":1,"sqn":{"a@b":"12"}}`,
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := tryStart(t, nil, func(c *Config) { c.State = path }, subscriber(nil))
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is asked for while a write is under way goes into the next one.
func TestReservationsShareAWrite(t *testing.T) {
	f, err := openState(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	f.start()
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Add(1)
		f.reserve(reservation{impi: "a@b", sqn: aka.SQN(i)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			wg.Done()
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("1000 reservations take more than 10 s")
	}
	f.stop()
	again, err := openState(f.path)
	if err != nil || again.written["a@b"] != 999 {
		t.Errorf("the file holds %v, %v; want the last, 999", again.written["a@b"], err)
	}
	late := make(chan error)
	f.reserve(reservation{impi: "a@b", sqn: 1}, func(err error) { late <- err })
	if err := <-late; err == nil {
		t.Error("a reservation after stop succeeds")
	}
	if _, err := os.Stat(f.path); errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Without a state file nothing is written.
func TestNothingIsWrittenWithoutState(t *testing.T) {
	dir := t.TempDir()
	h := start(t, func(c *Config) { c.Dir = dir }, subscriber(nil))
	h.used(h.connect("scscf", nil), 2)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("%v %v", list, err)
	}
}
