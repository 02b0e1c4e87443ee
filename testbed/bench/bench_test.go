package bench

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// many is how many phones are busy at once in a closed loop.
const many = 40

var loads = []struct {
	name string
	busy int
}{{"one", 1}, {"many", many}}

// networks makes one for each benchmark.
var networks = []func() *network{memory, loopback}

// A procedure is done by two phones, once. The user is one who has never
// registered.
type procedure struct {
	name string
	// newUser: each turn takes a user of its own. Otherwise the phones have
	// registered before.
	newUser bool
	do      func(p pair, user string) error
}

type pair struct{ from, to *phone }

var procedures = []procedure{
	{"Registration", true, func(p pair, user string) error { return p.from.register(user) }},
	{"Call", false, func(p pair, _ string) error { return p.from.call(p.to) }},
	{"Message", false, func(p pair, _ string) error { return p.from.message(p.to) }},
}

func BenchmarkRegistration(b *testing.B) { throughCore(b, procedures[0]) }
func BenchmarkCall(b *testing.B)         { throughCore(b, procedures[1]) }
func BenchmarkMessage(b *testing.B)      { throughCore(b, procedures[2]) }

func throughCore(b *testing.B, what procedure) {
	for _, n := range networks {
		n := n()
		b.Run(n.name, func(b *testing.B) {
			c := startCore(b, n)
			pairs := newPairs(b, n, c.gm, func() string { return c.newUsers(b, 1)[0] }, what)
			for _, load := range loads {
				b.Run(load.name, func(b *testing.B) {
					var users []string
					if what.newUser {
						users = c.newUsers(b, b.N)
					}
					run(b, load.busy, pairs, what, users)
				})
			}
		})
	}
}

// BenchmarkPhones is what the phones themselves take, with what stands in place of
// the core: to be subtracted from the others.
func BenchmarkPhones(b *testing.B) {
	for _, what := range procedures {
		for _, n := range networks {
			n := n()
			b.Run(what.name+"/"+n.name, func(b *testing.B) {
				s := startStandIn(b, n)
				pairs := newPairs(b, n, s.addr(), func() string { return imsi(1) }, what)
				s.pairs(pairs)
				for _, load := range loads {
					b.Run(load.name, func(b *testing.B) {
						users := make([]string, b.N)
						for i := range users {
							users[i] = imsi(i)
						}
						run(b, load.busy, pairs, what, users)
					})
				}
			})
		}
	}
}

// newPairs makes phones, registered where the procedure wants that.
func newPairs(b *testing.B, n *network, gm netip.AddrPort, user func() string, what procedure) chan pair {
	pairs := make(chan pair, 2*many)
	for range cap(pairs) {
		p := pair{newPhone(b, n, gm), newPhone(b, n, gm)}
		if !what.newUser {
			for _, ph := range [...]*phone{p.from, p.to} {
				if err := ph.register(user()); err != nil {
					b.Fatal(err)
				}
			}
		}
		pairs <- p
	}
	return pairs
}

// run does a procedure b.N times, busy of them at once, with pairs in turn.
func run(b *testing.B, busy int, pairs chan pair, what procedure, users []string) {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	work := func(context.Context) {
		for failed.Load() == nil {
			i := int(next.Add(1)) - 1
			if i >= b.N {
				return
			}
			var user string
			if what.newUser {
				user = users[i]
			}
			p := <-pairs
			if err := what.do(p, user); err != nil {
				failed.Store(&err)
			}
			pairs <- p
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	cpu := processCPU()
	for range min(busy, b.N) {
		wg.Go(func() { pprof.Do(b.Context(), pprof.Labels("function", phonesName), work) })
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(processCPU()-cpu)/float64(b.N), "cpu-ns/op")
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}

func processCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// What is measured is what it says: the exchange with the HSS of each procedure.
func TestProcedures(t *testing.T) {
	for _, n := range networks {
		n := n()
		t.Run(n.name, func(t *testing.T) {
			c := startCore(t, n)
			p := pair{newPhone(t, n, c.gm), newPhone(t, n, c.gm)}
			users := c.newUsers(t, 2)
			if err := p.to.register(users[1]); err != nil {
				t.Fatal(err)
			}
			for i, want := range []string{"map[MAR:1 SAR:1 UAR:2]", "map[LIR:1]", "map[LIR:1]"} {
				what := procedures[i]
				before := c.hss.Counts()
				if err := what.do(p, users[0]); err != nil {
					t.Fatalf("%s: %v", what.name, err)
				}
				did := c.hss.Counts()
				for command, count := range before {
					if did[command] -= count; did[command] == 0 {
						delete(did, command)
					}
				}
				if fmt.Sprint(did) != want {
					t.Errorf("%s asked the HSS %v, want %s", what.name, did, want)
				}
			}
		})
	}
}
