package attack

import (
	"context"
	"runtime"
	"testing"
)

// processMetrics are those that every process has.
func processMetrics() map[string]float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return map[string]float64{
		"go_goroutines": float64(runtime.NumGoroutine()), "go_memstats_heap_inuse_bytes": float64(m.HeapInuse), "go_memstats_heap_alloc_bytes": float64(m.HeapAlloc),
	}
}

// TestMutation: after some hundred bent messages over Gm, Mw, ISC and Cx a
// registration and a call succeed, and goroutines and transactions are within bounds.
// The long form is `make attack`, with services of their own.
func TestMutation(t *testing.T) {
	target := startTarget(t, 8, 1)
	var rep *MutateReport
	for seed := uint64(1); seed <= 3; seed++ {
		var err error
		rep, err = Mutate(t.Context(), target, MutateConfig{Seed: seed, Messages: 1200, Each: 400, Crooks: 4, Out: t.Output()})
		if err != nil {
			t.Fatal(err)
		}
		if rep.Checks < 3 || rep.Messages < 1200 {
			t.Errorf("%d messages, %d checks", rep.Messages, rep.Checks)
		}
		// Some six calls are made in a run; that there is none, as when a bent frame has ended
		// Cx at the beginning, happens in one of some hundred.
		if rep.Registered > 0 && rep.Calls > 0 && rep.Diameter > 0 {
			break
		}
		if seed == 3 {
			t.Errorf("the attack does not come far: %d registrations, %d calls, %d frames of Cx", rep.Registered, rep.Calls, rep.Diameter)
		}
	}
	// One message in eight leaves a transaction open for a while: nobody answers what was bent
	// in the right places. If none ever ended it would be four in five.
	if g := rep.Peak["pcscf"]; g.Open > int(rep.Messages+rep.Asked)/4 {
		t.Errorf("the P-CSCF has %d transactions open after %d messages", g.Open, rep.Messages+rep.Asked)
	}
}

// TestCheckBesideALostConnection: a frame that ends the Cx connections while honest
// phones are checked is not held against the core; that they are not served for another
// reason is.
func TestCheckBesideALostConnection(t *testing.T) {
	target := startTarget(t, 1, 1)
	if err := target.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := append([]byte{9}, make([]byte, 19)...) // of no version that there is
	if n := target.Cx.Inject(late); n != 2 {
		t.Fatalf("%d connections took the frame", n)
	}
	if err := target.served(t.Context()); err != nil {
		t.Error(err)
	}
	if n := target.Cx.Ended(); n != 2 {
		t.Errorf("%d connections ended", n)
	}
	target.Domain = "elsewhere.test"
	if err := target.served(t.Context()); err == nil {
		t.Error("phones of another network are served")
	}
}

// TestCxIsUpWhenFunctionsSaySo: what stands before the HSS has seen the capabilities pass
// before a function has read them, which refuses an honest phone until then.
func TestCxIsUpWhenFunctionsSaySo(t *testing.T) {
	target := startTarget(t, 1, 1)
	reads := 0
	target.Services = append(target.Services, Service{Name: "late", Read: func(context.Context) (map[string]float64, error) {
		reads++
		return map[string]float64{"gocscf_diameter_peers_up": float64(reads / 3)}, nil
	}})
	if err := target.ready(t.Context()); err != nil || reads != 3 {
		t.Fatalf("ready after %d looks, want 3: %v", reads, err)
	}
}
