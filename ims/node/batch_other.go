//go:build !linux

package node

import "time"

// batchThreads does nothing where the system has no such policy.
func batchThreads(time.Duration) error { return nil }
