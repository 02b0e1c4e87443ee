package guest

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// SetClock sets the guest's wall clock by d, ahead or back. It is put right when the test
// ends. On the host it fails: that clock is others' too.
func SetClock(t testing.TB, d time.Duration) {
	t.Helper()
	if err := setClock(d); err != nil {
		t.Fatalf("set the clock by %v: %v", d, err)
	}
	t.Cleanup(func() {
		if err := setClock(-d); err != nil {
			t.Errorf("put the clock right: %v", err)
		}
	})
}

func setClock(d time.Duration) error {
	if os.Getenv("GOCSCF_GUEST") == "" {
		return os.ErrPermission
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return err
	}
	now = unix.NsecToTimespec(now.Nano() + int64(d))
	return unix.ClockSettime(unix.CLOCK_REALTIME, &now)
}
