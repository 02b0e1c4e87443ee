//go:build !linux

package esp

import "time"

func threadTime(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}
