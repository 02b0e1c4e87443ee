package node

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Policies of sched(7); the system's headers are where their numbers are from.
const (
	schedOther = 0
	schedBatch = 3
)

// batchThreads gives every thread of the process that has the usual policy SCHED_BATCH and
// a slice. Threads that begin later have them from the one that begins them, so that it is
// done when a look at all of them finds none to change. Kernels before 6.12 have no slices
// and pass over it.
func batchThreads(slice time.Duration) error {
	const looks = 16
	for range looks {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("listing the threads to schedule as a batch: %w", err)
		}
		changed := false
		for _, t := range tasks {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return fmt.Errorf("listing the threads to schedule as a batch: %q is no thread: %w", t.Name(), err)
			}
			did, err := batchThread(id, slice)
			if err != nil && !errors.Is(err, unix.ESRCH) { // it may have ended meanwhile
				return fmt.Errorf("scheduling thread %d as a batch: %w", id, err)
			}
			changed = changed || did
		}
		if !changed {
			return nil
		}
	}
	return fmt.Errorf("scheduling as a batch: new threads in each of %d looks", looks)
}

func batchThread(id int, slice time.Duration) (changed bool, err error) {
	attr, err := unix.SchedGetAttr(id, 0)
	if err != nil || attr.Policy != schedOther {
		return false, err
	}
	attr.Policy, attr.Runtime = schedBatch, uint64(slice)
	err = unix.SchedSetAttr(id, attr, 0)
	return err == nil, err
}
