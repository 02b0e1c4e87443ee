package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Limits of a process that a fault lowers (getrlimit(2)).
const (
	limitFiles    = unix.RLIMIT_NOFILE // descriptors: one more than the highest
	limitFileSize = unix.RLIMIT_FSIZE  // octets of a file that is written
)

// noLimit is RLIM_INFINITY.
const noLimit = unix.RLIM_INFINITY

// die makes a process end with the one that starts it.
func die(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// setLimit changes the soft limit of a running process, which needs no privilege, and
// returns what it was.
func setLimit(pid, resource int, soft uint64) (was uint64, err error) {
	var old unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &old); err != nil {
		return 0, fmt.Errorf("reading a limit of process %d: %w", pid, err)
	}
	if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: min(soft, old.Max), Max: old.Max}, nil); err != nil {
		return 0, fmt.Errorf("setting a limit of process %d: %w", pid, err)
	}
	return old.Cur, nil
}

// descriptors counts the open ones of a process, -1 if it cannot be asked.
func descriptors(pid int) int {
	list, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		return -1
	}
	return len(list)
}
