package node

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
)

// heapFloor is the size to which a service's heap grows before it is collected.
// The runtime's own floor is 4 MiB, and a service that holds little but turns over
// much (a registration leaves some 40 KiB of garbage in each) would collect many
// times a second. Once half of it is live, the runtime's rule is in force: collect
// when the heap has doubled.
const heapFloor = 32 << 20

// runtimeFloor is that of the runtime at 100 percent; it grows with the percentage.
const runtimeFloor = 4 << 20

// profileRate is after how many octets of allocation the heap profile has a sample, on
// average. At the runtime's own rate, 512 KiB, unwinding stacks for samples took 2 percent
// of a service's time in registrations. Whoever looks for something small sets the other
// rate (GODEBUG=memprofilerate=524288).
const profileRate = 4 << 20

// sampleHeap sets profileRate once, where the environment does not say otherwise: services
// that share a process share the runtime.
var sampleHeap = sync.OnceFunc(func() {
	if !strings.Contains(os.Getenv("GODEBUG"), "memprofilerate=") {
		runtime.MemProfileRate = profileRate
	}
})

// growHeap makes the runtime follow heapFloor until stop is called. Where the
// environment says when to collect (GOGC, GOMEMLIMIT), that stays in force.
func growHeap() (stop func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	h := &heap{sample: []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}}
	before := debug.SetGCPercent(percentFor(0, 0))
	h.percent = percentFor(0, 0)
	h.watch()
	return func() {
		h.stopped.Store(true)
		debug.SetGCPercent(before)
	}
}

// heap sets the runtime's percentage anew after each collection.
type heap struct {
	sample  []metrics.Sample
	percent int
	stopped atomic.Bool
}

// watch has the next collection find something that nobody can reach: it is of a
// size that the runtime gives a place of its own.
func (h *heap) watch() {
	runtime.AddCleanup(new([64]byte), func(h *heap) {
		if h.stopped.Load() {
			return
		}
		h.adjust()
		h.watch()
	}, h)
}

func (h *heap) adjust() {
	metrics.Read(h.sample)
	live := h.sample[0].Value.Uint64()
	p := percentFor(live, h.sample[1].Value.Uint64()+h.sample[2].Value.Uint64())
	// A change of a few percent moves nothing worth the lock.
	if p > h.percent*21/20 || p < h.percent*19/20 {
		h.percent = p
		debug.SetGCPercent(p)
	}
}

// percentFor returns by how much the heap may grow over what is live, and over what
// else is scanned, so that it is collected at heapFloor or at twice what is live.
func percentFor(live, scanned uint64) int {
	const least, most = 100, 100 * heapFloor / runtimeFloor
	if live >= heapFloor/2 {
		return least
	}
	return int(min(max(100*(heapFloor-live)/max(live+scanned, 1), least), most))
}
