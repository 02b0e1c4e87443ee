package node

import (
	"sync"
	"time"
)

// batchSlice is how long a service may work before another one of its kind gets the
// processor. A service is woken by each message, and where it then takes the processor from
// the one that sent it, both work on one message at a time with the caches that the other
// has filled. As a batch (sched(7), SCHED_BATCH) it waits until the sender rests, and finds
// all that the sender had to say; the slice keeps the turns whole on a busy processor. What
// is no batch, a base station beside it for one, still takes the processor at once.
const batchSlice = 20 * time.Millisecond

// batch makes the process one for batches of work, once. What its environment has chosen
// for it (chrt, CPUSchedulingPolicy= of systemd) stays, and a kernel that refuses, which is
// the error, changes nothing but the speed. Services that share a process share its threads.
var batch = sync.OnceValue(func() error { return batchThreads(batchSlice) })
