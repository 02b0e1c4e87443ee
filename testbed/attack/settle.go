package attack

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// settle waits until the core holds no more than before, and then looks at its memory.
func (m *mutation) settle(ctx context.Context, rep *MutateReport) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	late := time.Now().Add(m.cfg.Settle)
	for {
		now, err := m.target.gauges(ctx)
		if err != nil {
			return err
		}
		rep.After = now
		var left []string
		for name, g := range now {
			b := rep.Before[name]
			if g.Open > b.Open || g.Lingering > b.Lingering || g.Goroutines > b.Goroutines+10 {
				left = append(left, name)
			}
		}
		if left == nil {
			m.say("everything has come back: %s", show(now))
			return m.kept(ctx, rep)
		}
		if time.Now().After(late) {
			slices.Sort(left)
			return fmt.Errorf("%v after the last bent message %s hold more than before: %s, before %s", m.cfg.Settle, strings.Join(left, ", "), show(now), show(rep.Before))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// mostKept is by how many octets a service's live heap may have grown when no transaction
// of the run is left. What may be there then:
//   - dialogs that nobody has ended, 64 a phone at most, each with the texts that name it and
//     8 KiB of routes at most (ims/pcscf/dialogs.go);
//   - who was challenged in the last eight minutes and has not answered (ims/icscf/recent.go),
//     and which request an application server had in the last 200 s (ims/scscf/odi.go), both
//     of which go when the next one comes;
//   - 1024 records of transactions and of timers a shard, for the next ones, and the room that
//     maps and heaps had at their fullest: they do not shrink.
//
// After 208,000 bent messages that were 4.2 MiB at most, of the P-CSCF; this is four times as
// much. In half an hour some 1,800,000 messages are sent, of each of which that is nine octets.
const mostKept = 16 << 20

// kept fails where more of the heap lives than what may.
func (m *mutation) kept(ctx context.Context, rep *MutateReport) error {
	var err error
	if rep.LiveAfter, err = m.target.live(ctx); err != nil {
		return err
	}
	var grown []string
	for _, name := range slices.Sorted(maps.Keys(rep.LiveAfter)) {
		if rep.LiveAfter[name] > rep.LiveBefore[name]+mostKept {
			grown = append(grown, name)
		}
	}
	if grown != nil {
		return fmt.Errorf("the live heap of %s has grown by more than %d MiB, with no transaction left: %s; run it again, and read /debug/pprof/heap?gc=1 while it settles",
			strings.Join(grown, ", "), mostKept>>20, showLive(rep.LiveBefore, rep.LiveAfter))
	}
	return nil
}

// live is how much of the heap of each service a collection leaves.
func (t *Target) live(ctx context.Context) (map[string]uint64, error) {
	return ofEach(t, func(s Service) (uint64, error) { return s.Live(ctx) })
}

// showLive writes what lived before and after in one line.
func showLive(before, after map[string]uint64) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		list = append(list, fmt.Sprintf("%s %.1f → %.1f MiB", name, float64(before[name])/(1<<20), float64(after[name])/(1<<20)))
	}
	return strings.Join(list, ", ")
}
