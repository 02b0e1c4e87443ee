package esp

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// threadTime runs f on one thread and tells what processor time it took there: a
// machine that is busy with something else does not show in it.
func threadTime(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &before)
	f()
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &after)
	return time.Duration(after.Nano() - before.Nano())
}
