//go:build !linux

package esp

import (
	"errors"
	"net/netip"
)

// ListenRaw is for Linux alone.
func ListenRaw(netip.Addr) (Carrier, error) {
	return nil, errors.New("esp: ESP as IP protocol 50 is sent and received on Linux only; use ESP in UDP")
}
