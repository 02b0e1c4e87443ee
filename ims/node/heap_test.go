package node

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestPercentFor(t *testing.T) {
	for _, c := range []struct {
		name          string
		live, scanned uint64
		want          int
	}{
		{"a service that holds nothing gets the floor from the runtime's own", 0, 0, 800},
		{"so does one that holds less than the runtime's floor", 2 << 20, 1 << 20, 800},
		{"the floor is reached, not passed", 8 << 20, 0, 300},
		{"stacks and globals count, since the runtime adds its share of them", 7 << 20, 1 << 20, 312},
		{"half of the floor: twice what is live", 16 << 20, 0, 100},
		{"beyond it: the runtime's rule", 1 << 30, 1 << 20, 100},
	} {
		if got := percentFor(c.live, c.scanned); got != c.want {
			t.Errorf("%s: %d percent, want %d", c.name, got, c.want)
		}
	}
}

// A service that starts holding much is collected as the runtime would have it, and
// what was set before comes back with the end.
func TestGrowHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	stop := growHeap()
	if got := percent(); got != 800 {
		t.Errorf("%d percent at the start, want 800", got)
	}
	held := make([]byte, heapFloor)
	for range 100 { // the cleanup runs some time after the collection
		runtime.GC()
		runtime.Gosched()
		if percent() == 100 {
			break
		}
	}
	if got := percent(); got != 100 {
		t.Errorf("%d percent while %d MiB are live, want 100", got, len(held)>>20)
	}
	runtime.KeepAlive(held)
	stop()
	if got := percent(); got != 100 {
		t.Errorf("%d percent after the end, want the 100 of before", got)
	}

	t.Setenv("GOGC", "200")
	growHeap()()
	if got := percent(); got != 100 {
		t.Errorf("%d percent though GOGC is set", got)
	}
}

// percent reads the percentage, which can only be swapped.
func percent() int {
	p := debug.SetGCPercent(100)
	debug.SetGCPercent(p)
	return p
}

// The heap profile is there, with fewer samples than the runtime takes by itself.
func TestSampleHeap(t *testing.T) {
	sampleHeap()
	if got := runtime.MemProfileRate; got != profileRate {
		t.Errorf("a sample in %d octets, want %d", got, profileRate)
	}
}
