package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type testConfig struct {
	Common `yaml:",inline"`
	// Domain is the home domain.
	Domain string `yaml:"domain"`
}

func TestConfigIsStrict(t *testing.T) {
	tests := []struct {
		name, yaml string
		wantErr    []string // parts of the error; nil = no error
	}{
		{"empty keeps the defaults", "", nil},
		{"others keep the defaults", "http: 127.0.0.1:0\n", nil},
		{"known keys", "domain: example.org\nlog: {level: debug}\nhttp: 127.0.0.1:0\n", nil},
		{"unknown key, with its line", "domain: example.org\ndomian: x\n", []string{"[2:1]", "domian"}},
		{"unknown key inside", "log:\n  levle: info\n", []string{"[2:3]", "levle"}},
		{"wrong type, with its line", "domain: [a]\n", []string{"[1:9]"}},
		{"not YAML", "domain: 'x\n", []string{"[1:"}},
		{"a key twice", "domain: a\ndomain: b\n", []string{"[2:1]", "domain"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig{Domain: "default"}
			err := ParseConfig([]byte(tt.yaml), &c)
			if (err != nil) != (tt.wantErr != nil) {
				t.Fatalf("error %v, want one: %v", err, tt.wantErr != nil)
			}
			for _, part := range tt.wantErr {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not hold %q", err, part)
				}
			}
			if err == nil && !strings.Contains(tt.yaml, "domain") && c.Domain != "default" {
				t.Errorf("domain is %q", c.Domain)
			}
		})
	}
}

func TestConfigErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.yaml")
	if err := os.WriteFile(file, []byte("nope: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(dir, "missing.yaml")} {
		err := LoadConfig(path, &testConfig{})
		var bad *ConfigError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), path) {
			t.Errorf("loading %s: %v is no ConfigError with the path", path, err)
		}
	}
}

func TestConfigErrorsDoNotQuoteNeighbours(t *testing.T) {
	err := ParseConfig([]byte("domain: 465b5ce8b199b49f\nnope: 1\n"), &testConfig{})
	if err == nil || strings.Contains(err.Error(), "465b5ce8b199b49f") {
		t.Errorf("error %v quotes a line beside the fault, which may hold a key", err)
	}
}
