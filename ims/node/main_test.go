package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocscf/gocscf/ims/trace"
)

// fake is a service that is ready once told and ends with its context.
type fake struct {
	Deps
	ready   atomic.Bool
	runErr  error
	started chan struct{}
}

func (f *fake) Ready() error {
	if !f.ready.Load() {
		return errors.New("no HSS answers")
	}
	return nil
}

func (f *fake) Run(ctx context.Context) error {
	close(f.started)
	if f.runErr != nil {
		return f.runErr
	}
	<-ctx.Done()
	return nil
}

func program(f *fake, admin *atomic.Pointer[Admin]) Program {
	c := &testConfig{}
	return Program{
		Name: "testcscf", Config: c, Common: &c.Common,
		Check: func() error {
			if c.Domain == "" {
				return errors.New("domain is missing")
			}
			return nil
		},
		Explain: func() []string { return []string{"Home domain " + c.Domain + "."} },
		New: func(d Deps) (Service, error) {
			f.Deps = d
			return f, nil
		},
		Admin: func(_ Service, a *Admin) { admin.Store(a) },
	}
}

// syncBuffer is a bytes.Buffer for a service that still writes while a test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *syncBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestExitCodes(t *testing.T) {
	good := writeConfig(t, "domain: example.org\n")
	tests := []struct {
		name   string
		args   []string
		runErr error
		code   int
		out    string // part of standard output
		err    string // part of standard error
	}{
		{"check, good", []string{"--config", good, "--check"}, nil, 0, "Home domain example.org.", ""},
		{"no config", nil, nil, 2, "", "--config FILE"},
		{"unknown flag", []string{"--nope"}, nil, 2, "", "nope"},
		{"stray argument", []string{"--config", good, "x"}, nil, 2, "", `"x"`},
		{"missing file", []string{"--config", good + ".not"}, nil, 2, "", ".not"},
		{"bad line", []string{"--config", writeConfig(t, "domain: a\nbad: 1\n")}, nil, 2, "", "[2:1]"},
		{"failed check", []string{"--config", writeConfig(t, "http: ''\n"), "--check"}, nil, 2, "", "domain is missing"},
		{"bad log level", []string{"--config", writeConfig(t, "domain: a\nlog: {level: loud}\n")}, nil, 2, "", "loud"},
		{"run fails", []string{"--config", good}, errors.New("port taken"), 1, "", "port taken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			var a atomic.Pointer[Admin]
			p := program(&fake{runErr: tt.runErr, started: make(chan struct{})}, &a)
			if code := p.Main(tt.args, &out, &errOut); code != tt.code {
				t.Errorf("exit code %d, want %d; stderr: %s", code, tt.code, &errOut)
			}
			if !strings.Contains(out.String(), tt.out) || !strings.Contains(errOut.String(), tt.err) {
				t.Errorf("stdout %q, stderr %q", &out, &errOut)
			}
		})
	}
}

// A signal ends a service in order; so does the end of its terminal, unless nohup is to keep it.
func TestSignals(t *testing.T) {
	ends := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP}
	if signal.Ignored(syscall.SIGHUP) {
		ends = ends[:2]
	}
	for _, end := range ends {
		f := &fake{started: make(chan struct{})}
		var (
			admin atomic.Pointer[Admin]
			out   syncBuffer
		)
		p := program(f, &admin)
		args := []string{"--config", writeConfig(t, "domain: example.org\nhttp: 127.0.0.1:0\n")}
		code := make(chan int, 1)
		go func() { code <- p.Main(args, &out, &out) }()
		<-f.started
		if err := syscall.Kill(os.Getpid(), end); err != nil {
			t.Fatal(err)
		}
		if got := <-code; got != ExitOK {
			t.Errorf("after %v: exit code %d", end, got)
		}
	}
}

func TestHealthReadinessMetricsTraceAndPIDFile(t *testing.T) {
	f := &fake{started: make(chan struct{})}
	var admin atomic.Pointer[Admin]
	p := program(f, &admin)
	pid := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	var errOut syncBuffer
	done := make(chan error, 1)
	args := []string{"--config", writeConfig(t, "domain: example.org\nhttp: 127.0.0.1:0\nlog: {format: json}\n"), "--pid-file", pid}
	go func() { done <- p.Run(ctx, args, &errOut, &errOut) }()
	<-f.started
	base := "http://" + admin.Load().Addr().String()

	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(r.Body); err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, b.String()
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "no HSS answers") {
		t.Errorf("/readyz before readiness: %d %q", code, body)
	}
	if _, err := os.Stat(pid); err == nil {
		t.Error("the pid file is there before readiness")
	}
	f.ready.Store(true)
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("/readyz: %d", code)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "go_goroutines") {
		t.Errorf("/metrics: %d", code)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		b, err := os.ReadFile(pid)
		if err == nil && strings.TrimSpace(string(b)) == strconv.Itoa(os.Getpid()) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no pid file: %v", err)
		}
	}

	r, err := http.Get(base + "/debug/trace")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	// The header has arrived, so the subscription stands.
	f.Deps.Trace.Emit(trace.Event{Kind: trace.Decision, Text: "hello"})
	line, err := bufio.NewReader(r.Body).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var e trace.Event
	if err := json.Unmarshal(line, &e); err != nil || e.Node != "testcscf" || e.Text != "hello" {
		t.Errorf("event %+v, %v", e, err)
	}

	cancel()
	if err := <-done; err != nil {
		t.Errorf("after the signal: %v", err)
	}
	if _, err := os.Stat(pid); err == nil {
		t.Error("the pid file is still there after the stop")
	}
	if !strings.Contains(errOut.String(), `"msg":"stopped"`) {
		t.Errorf("log: %s", errOut.String())
	}
}

func TestLimitedLogCountsWhatItLeavesOut(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	log := zap.New(core)
	l := Limited{Every: time.Minute, Burst: 2}
	for range 5 {
		l.Warn(log, "malformed", "a message could not be read")
	}
	l.Warn(log, "other", "another kind has its own share")
	if logs.Len() != 3 {
		t.Fatalf("%d lines, want 3", logs.Len())
	}
	l.kinds["malformed"].start = time.Now().Add(-2 * time.Minute)
	l.Warn(log, "malformed", "a message could not be read")
	last := logs.All()[3]
	if got := last.ContextMap()["lines_left_out"]; got != int64(3) {
		t.Errorf("lines_left_out is %v, want 3", got)
	}
}
