//go:build !linux

package transaction

import "errors"

func mapSlab() ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapSlab([]byte) {}
