//go:build !linux

package xfrm

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/gocscf/gocscf/ipsec"
)

// Backend is for Linux; elsewhere there is none.
type Backend struct{}

var errSystem = fmt.Errorf("IPsec by the kernel is for Linux, and this is %s: set ipsec.backend to user: %w", runtime.GOOS, errors.ErrUnsupported)

// New reports that this is not Linux.
func New(Config) (*Backend, error) { return nil, errSystem }

// Probe reports that this is not Linux.
func Probe() error { return errSystem }

// Probe reports that this is not Linux.
func (Config) Probe() error { return errSystem }

// Name is "kernel".
func (*Backend) Name() string { return "kernel" }

// Install reports that this is not Linux.
func (*Backend) Install(*ipsec.Set) error { return errSystem }

// Extend reports that this is not Linux.
func (*Backend) Extend(ipsec.SetID, time.Time) error { return errSystem }

// Remove reports that this is not Linux.
func (*Backend) Remove(ipsec.SetID) error { return errSystem }

// Stats knows no set.
func (*Backend) Stats(ipsec.SetID) (ipsec.SetStats, bool) { return ipsec.SetStats{}, false }

// Drops reports that this is not Linux.
func (*Backend) Drops() (Drops, error) { return Drops{}, errSystem }

// Cleaned is none.
func (*Backend) Cleaned() int { return 0 }

// Close has nothing to close.
func (*Backend) Close() error { return nil }
