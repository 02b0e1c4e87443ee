package node

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Duration is a time.Duration that YAML writes as "4s" or "1m30s".
type Duration time.Duration

// D returns d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// UnmarshalText reads the form of time.ParseDuration; negative is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration: write for instance 500ms, 4s or 1h", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the form of time.Duration.String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Hosts reads a table of names and addresses: "name: IP", "name: IP:PORT" or "name:
// HOST:PORT" (see ParseAddress). The error names every entry that is wrong.
func Hosts(table map[string]string) (map[string][]netip.AddrPort, error) {
	out := make(map[string][]netip.AddrPort, len(table))
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(table)) {
		value := table[name]
		ip, err := netip.ParseAddr(value)
		a := netip.AddrPortFrom(ip, 0)
		if err != nil {
			a, err = ParseAddress(value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s is %w", name, err))
			continue
		}
		out[name] = []netip.AddrPort{a}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return out, nil
}
