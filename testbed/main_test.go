package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExitCodes: 2 for bad flags and configurations, 1 for what failed.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("domain: x\nnope: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	phone := []string{"ue", "register", "--domain", "example.org", "--impi", "a@example.org", "--impu", "sip:a@example.org", "--k", strings.Repeat("0", 32), "--opc", strings.Repeat("1", 32)}
	with := func(more ...string) []string { return append(append([]string{}, phone...), more...) }
	tests := []struct {
		name string
		args []string
		code int
		says string // on standard error
	}{
		{"unknown command", []string{"nope"}, 2, "nope"},
		{"unknown flag", []string{"lab", "--nope"}, 2, "--nope"},
		{"bad level", []string{"lab", "--once", "--log-level", "loud"}, 2, "--log-level"},
		{"bad policy", []string{"lab", "--write-config", dir, "--ipsec", "maybe"}, 2, "--ipsec"},
		{"address without a port", []string{"lab", "--write-config", dir, "--pcscf", "pcscf.example.org"}, 2, "--pcscf"},
		{"missing flag", []string{"ue", "register"}, 2, "--pcscf"},
		{"bad key", with("--pcscf", "127.0.0.1:5060", "--k", "xyz"), 2, "--k"},
		{"bad address", with("--pcscf", "127.0.0.1"), 2, "--pcscf"},
		{"core without configurations", []string{"core", "--config", dir}, 2, "pcscf.yaml"},
		{"hss without a configuration", []string{"hss"}, 2, "--config"},
		{"hss with a bad one", []string{"hss", "--config", bad}, 2, ""}, // it writes to the process's own standard error
		{"application server of no mode", []string{"as", "--mode", "nope"}, 2, "--mode"},
		{"nobody at the P-CSCF", with("--pcscf", "127.0.0.1:1", "--timeout", "2s"), 1, ""},
		{"no trace there", []string{"ladder", "--from", "127.0.0.1:1"}, 1, "does the service run"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			if code := run(tt.args, &out, &errOut); code != tt.code {
				t.Errorf("exit code %d, want %d\n%s", code, tt.code, &errOut)
			}
			if !strings.Contains(errOut.String(), tt.says) {
				t.Errorf("standard error does not name %q:\n%s", tt.says, &errOut)
			}
		})
	}
}
