package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
)

// Common is the part of the configuration that every service has.
type Common struct {
	// Log says where log lines go and how they look.
	Log LogConfig `yaml:"log"`
	// HTTP is the address of /metrics, /healthz, /readyz and /debug/*, as HOST:PORT.
	// Port 0 takes a free one; empty serves none of them. Loopback unless set otherwise.
	HTTP string `yaml:"http"`
	// TraceRemote serves /debug/trace, every message that passes, and what else
	// /debug/ shows of users, to other machines too. Default false: to this one only.
	TraceRemote bool `yaml:"trace_remote"`
	// NoBatch leaves the process as the system schedules it. Default false: on Linux it
	// runs as a batch. Of services that share a process one that does not say so is enough.
	NoBatch bool `yaml:"no_batch"`
}

// LogConfig configures zap.
type LogConfig struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format is console or json. Default console.
	Format string `yaml:"format"`
	// File is the path to append to; empty means standard error. Lines below a
	// warning reach the file within half a second.
	File string `yaml:"file"`
}

// ConfigError is a configuration that cannot be used: the service exits with 2.
type ConfigError struct {
	File string // the path given, empty when the fault is in the flags
	Err  error  // what is wrong, with its line where one is known
}

func (e *ConfigError) Error() string {
	if e.File == "" {
		return e.Err.Error()
	}
	return e.File + ": " + e.Err.Error()
}

func (e *ConfigError) Unwrap() error { return e.Err }

// maxConfig bounds a configuration file; subscriber files are read by the HSS itself.
const maxConfig = 1 << 20

// LoadConfig reads the YAML file at path into config, a pointer to a struct
// that already holds the defaults. A key that the struct does not have is an
// error that names its line. Errors are of type *ConfigError.
func LoadConfig(path string, config any) error {
	f, err := os.Open(path)
	if err != nil {
		return &ConfigError{Err: fmt.Errorf("opening the configuration: %w", err)}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return &ConfigError{File: path, Err: fmt.Errorf("reading the configuration: %w", err)}
	}
	if len(b) > maxConfig {
		return &ConfigError{File: path, Err: fmt.Errorf("the configuration is over %d octets", maxConfig)}
	}
	if err := ParseConfig(b, config); err != nil {
		return &ConfigError{File: path, Err: err}
	}
	return nil
}

// ParseConfig is LoadConfig for bytes at hand. An empty document leaves config as it is.
func ParseConfig(b []byte, config any) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField(), names).Decode(config)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	var bad *AddressError
	if at := 0; errors.As(err, &bad) { // the decoder does not say where
		for line := range bytes.Lines(b) {
			at++
			if col := bytes.Index(line, []byte(bad.Text)); col >= 0 {
				return fmt.Errorf("[%d:%d] %w", at, col+1, err)
			}
		}
		return err
	}
	// The text starts with [line:column]. The lines around it are left out: those
	// of an HSS hold keys.
	return errors.New(strings.TrimRight(yaml.FormatError(err, false, false), "\n"))
}
