//go:build integration

package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/chaos"
)

func TestMain(m *testing.M) {
	const ours = "github.com/gocscf/gocscf/"
	guest.Main(m, guest.Options{Build: []string{ours + "cmd/pcscf", ours + "cmd/icscf", ours + "cmd/scscf", ours + "testbed"}, Memory: 2048, Limit: 8 * time.Minute})
}

// disk is a file system of so many octets, for as long as the test runs.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("disk", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("take the disk away: %v", err)
		}
	})
	return dir
}

const filler = "filler"

// fill takes all that is left of a disk, the rest of the logs' last pages too.
func fill(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, filler), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) {
			break
		} else if err != nil {
			return err
		}
	}
	for _, name := range logs {
		if err := pad(name); err != nil {
			return err
		}
	}
	return nil
}

// pad writes an empty line up to the end of a file's last page.
func pad(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return err
	}
	page := int64(os.Getpagesize())
	if rest := (page - i.Size()%page) % page; rest > 0 {
		_, err = f.WriteString(strings.Repeat(" ", int(rest)-1) + "\n")
	}
	if errors.Is(err, unix.ENOSPC) { // somebody has written meanwhile
		return nil
	}
	return err
}

func free(dir string) error { return os.Remove(filepath.Join(dir, filler)) }

// holds waits until a file holds a text.
func holds(ctx context.Context, name, text string) error {
	for {
		b, err := os.ReadFile(name)
		if err != nil || strings.Contains(string(b), text) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not hold %q: %w", name, text, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tries is how often the load is begun anew where attempts have no answer while no fault
// is there: the emulated machine is then too slow for it, as its host is busy. An answer
// that is a failure is one at once.
const tries = 3

// The wall clock jumps under load, ahead and back, and then the disk with all logs and the
// HSS's state is full: no attempt fails, no phone and no call is lost, no connection is
// taken for dead. A full disk costs log lines, and those are counted, and named in the log
// when there is room again.
func TestFaultsOfTheMachine(t *testing.T) {
	r := strike(t, func() (chaos.Config, []chaos.Fault) {
		dir := disk(t, "8m")
		return chaos.Config{Dir: dir, Hold: 2500 * time.Millisecond}, ofTheMachine(t, dir)
	})
	for _, o := range r.Outcomes {
		for w := range o.Warned {
			if o.Fault != "no-space" || !strings.Contains(w, "log lines are missing here") {
				t.Errorf("%s: %s", o.Fault, w)
			}
		}
		if len(o.Unnamed) != 0 {
			t.Errorf("%s: not seen are %q; of failures the metrics tell %v", o.Fault, o.Unnamed, o.Metrics)
		}
	}
}

// strike has faults befall a core under load, anew for each try. No attempt may fail, no
// phone and no call be lost, and something must have been under way.
func strike(t *testing.T, begin func() (chaos.Config, []chaos.Fault)) (r *chaos.Report) {
	t.Helper()
	var faults []chaos.Fault
	for i := range tries {
		var cfg chaos.Config
		cfg, faults = begin()
		cfg.Bin, cfg.Phones, cfg.Rate, cfg.Leave = "/bin", 12, 4, true
		cfg.Quiet, cfg.Patience, cfg.Say = time.Second, 20*time.Second, t.Logf
		var err error
		if r, err = chaos.Run(t.Context(), cfg, faults); err != nil {
			t.Fatal(err)
		}
		t.Logf("try %d\n%s", i+1, r.Table())
		if r.Outside.Failed == 0 || !r.Outside.Unanswered() {
			break
		}
	}
	for _, f := range r.Faulty() {
		t.Error(f)
	}
	if r.All.Failed != 0 || r.All.Attempts == 0 || len(r.Outcomes) != len(faults) {
		t.Errorf("of %d attempts %d have failed, with %d faults of %d", r.All.Attempts, r.All.Failed, len(r.Outcomes), len(faults))
	}
	calls := uint64(0) // four each, but by chance
	for _, o := range r.Outcomes {
		if calls += o.Calls; o.Attempts == 0 {
			t.Errorf("%s: nothing was attempted", o.Fault)
		}
	}
	if calls == 0 {
		t.Error("no call was under way when a fault came")
	}
	return r
}

// ofTheMachine are the faults of a machine whose services write to dir.
func ofTheMachine(t *testing.T, dir string) []chaos.Fault {
	jump := func(name, what string, by time.Duration) chaos.Fault {
		return chaos.Own(name, what, nil,
			func(context.Context) error { guest.SetClock(t, by); return nil },
			func(context.Context) error { return nil })
	}
	// The I-CSCF has a line for each request; the others have some.
	signs := []chaos.Sign{{Service: "icscf", Log: "log lines are missing here"}, {Service: "icscf", Metric: "gocscf_log_lines_lost_total"}}
	return []chaos.Fault{
		jump("hour-ahead", "the clock is set an hour ahead", time.Hour),
		jump("hours-back", "the clock is set two hours back", -2*time.Hour),
		jump("day-ahead", "the clock is set a day ahead", 24*time.Hour),
		chaos.Own("no-space", "the disk of logs and state is full", signs,
			func(context.Context) error { return fill(dir) },
			func(ctx context.Context) error {
				if err := free(dir); err != nil {
					return err
				}
				return holds(ctx, filepath.Join(dir, "icscf.log"), signs[0].Log)
			}),
	}
}
