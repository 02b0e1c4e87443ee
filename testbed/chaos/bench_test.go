package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

// struck has a core of stand-ins befallen by a fault; phones are those that S- and P-CSCF
// know, and deaf services do not tell.
func struck(t *testing.T, f Fault, phones *atomic.Int64, deaf *atomic.Bool) (o *Outcome, err error) {
	synctest.Test(t, func(t *testing.T) {
		c := coreOf(func(string) (string, error) {
			if deaf.Load() {
				return "", errors.New("refused")
			}
			n := phones.Load()
			return fmt.Sprintf("gocscf_scscf_registered_sets %d\ngocscf_pcscf_registered_contacts %d\n", n, n), nil
		})
		c.dir = t.TempDir()
		b := &bench{core: c, cfg: Config{Hold: 4 * time.Second, Quiet: time.Second, Say: t.Logf}}
		o, err = b.strike(t.Context(), f)
	})
	return o, err
}

// after runs f in a while.
func after(d time.Duration, f func()) { go func() { time.Sleep(d); f() }() }

// TestPhonesLost: phones that are missing at any time of a fault are lost, even if they
// are back when it is over; who cannot be asked is no reason to say that none is.
func TestPhonesLost(t *testing.T) {
	nothing := func(context.Context, *bench) error { return nil }
	var phones atomic.Int64
	var deaf atomic.Bool
	for name, tt := range map[string]struct {
		come, gone func()
		lost       int
		back       bool // after the fault
	}{
		"none":                    {nil, nil, 0, false},
		"while it lasts":          {func() { phones.Store(7); after(2*time.Second, func() { phones.Store(10) }) }, nil, 3, false},
		"and some have come back": {func() { phones.Store(2) }, func() { phones.Store(6); after(3*time.Second, func() { phones.Store(10) }) }, 8, true},
		"when it is over": {nil, func() {
			after(500*time.Millisecond, func() { phones.Store(9); after(2*time.Second, func() { phones.Store(10) }) })
		}, 1, true},
		"while nobody can be asked": {func() { deaf.Store(true); phones.Store(5) }, func() {
			after(time.Second, func() { deaf.Store(false) })
			after(3*time.Second, func() { phones.Store(10) })
		}, 5, true},
		"more than there were is none": {func() { phones.Store(12) }, nil, 0, false},
	} {
		phones.Store(10)
		deaf.Store(false)
		f := Fault{Name: name, come: nothing, gone: nothing}
		if tt.come != nil {
			f.come = func(context.Context, *bench) error { tt.come(); return nil }
		}
		if tt.gone != nil {
			f.gone = func(context.Context, *bench) error { tt.gone(); return nil }
		}
		o, err := struck(t, f, &phones, &deaf)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if o.Phones != 10 || o.PhonesLost != tt.lost || tt.back != (o.PhonesBack > 0) || !o.Recovered {
			t.Errorf("%s: %+v", name, o)
		}
	}
	// Without a number from before nobody can say what was lost.
	deaf.Store(true)
	if o, err := struck(t, Fault{Name: "rain", come: nothing, gone: nothing}, &phones, &deaf); err == nil {
		t.Errorf("nobody could be asked, and it came to %+v", o)
	}
}

// TestEnding: whoever ends a service goes on when its process is gone, so that nothing of
// it answers any more and its ports are free; one that does not go is told of.
func TestEnding(t *testing.T) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const nothing = syscall.Signal(0) // this process has to go on
	synctest.Test(t, func(t *testing.T) {
		p := &process{cmd: &exec.Cmd{Process: self}, ended: make(chan struct{})}
		c := &core{running: map[string]*process{pcscf: p}}
		over := make(chan error, 1)
		go func() { over <- c.end(t.Context(), pcscf, nothing) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case err := <-over:
			t.Fatalf("taken for ended while its process is there: %v", err)
		default:
		}
		close(p.ended)
		if err := <-over; err != nil {
			t.Error(err)
		}
		p.ended = make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.end(ctx, pcscf, nothing); err == nil || !strings.Contains(err.Error(), "does not end") {
			t.Errorf("its process stays, and that is told as: %v", err)
		}
	})
}

// TestDamage: a fault on Gm has come when a datagram was damaged.
func TestDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{}
		if err := damaged(load.Damage{Lost: 1})(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := afterDamage(t.Context(), b); err == nil {
			t.Error("nothing was damaged, and that is taken for a fault")
		}
	})
}
