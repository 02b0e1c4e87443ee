package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// After a burst a Go process keeps what it needed at the peak: the next collection is
// due only when as much again has been allocated, and at rest that is hours away. So
// a service looks after its memory itself when little happens.
const (
	// tidyEvery is how often it is looked at.
	tidyEvery = 10 * time.Second
	// tidyRest is the least time between two collections of ours.
	tidyRest = 30 * time.Second
	// tidyWorth is the least that has to be gained, in octets.
	tidyWorth = 4 << 20
)

// memory is what the runtime says of the heap, in octets.
type memory struct {
	allocated uint64 // in all, since the start
	live      uint64 // found by the last collection
	held      uint64 // objects, dead ones included, and free pages that the system has not got back
}

// quiet reports whether so little was allocated since before that the next
// collection would be long in coming, while one would gain at least a fifth of what
// is held.
func (m memory) quiet(before memory) bool {
	slow := m.allocated-before.allocated < max(m.live/8, tidyWorth/4)
	return slow && m.held > m.live+max(m.live/4, tidyWorth)
}

func readMemory() memory {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return memory{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64() + s[3].Value.Uint64()}
}

// tidied keeps services of one process from doing the same at once.
var tidied struct {
	sync.Mutex
	at time.Time
}

// tidy gives back what a burst has left, until ctx ends.
func tidy(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	before := readMemory()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tidied.Lock()
		now := readMemory()
		if now.quiet(before) && time.Since(tidied.at) >= tidyRest {
			debug.FreeOSMemory()
			tidied.at = time.Now()
			now = readMemory()
		}
		tidied.Unlock()
		before = now
	}
}
