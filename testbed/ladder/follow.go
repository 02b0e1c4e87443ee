package ladder

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/trace"
)

// settle is how long events wait for earlier ones of other processes, whose
// clocks are the same but whose streams are not equally quick.
const settle = 200 * time.Millisecond

// Follow reads the trace streams of services (their GET /debug/trace) until ctx
// ends, merges them by time and gives each event to yield. It returns the first
// error of a stream that could not be opened; a stream that ends later is told
// by a Failure event.
func Follow(ctx context.Context, urls []string, yield func(trace.Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	events := make(chan trace.Event, 1024)
	for _, u := range urls {
		resp, err := open(ctx, u)
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer resp.Body.Close()
			put := func(e trace.Event) bool {
				select {
				case events <- e:
					return true
				case <-ctx.Done():
					return false
				}
			}
			err := trace.ReadNDJSON(resp.Body, put)
			if ctx.Err() == nil {
				put(trace.Event{Time: time.Now(), Node: u, Kind: trace.Failure, Text: fmt.Sprintf("the trace of %s has ended (%v)", u, err)})
			}
		})
	}
	err := Merge(ctx, events, yield)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// open begins to read one stream.
func open(ctx context.Context, url string) (*http.Response, error) {
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	if strings.Count(url, "/") == 2 {
		url += "/debug/trace"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("reading a trace from %q: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading a trace: %w; does the service run, and is http set in its configuration?", err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("reading a trace from %s: %s", url, resp.Status)
	}
	return resp, nil
}

// arrived is an event that waits, since when.
type arrived struct {
	trace.Event
	at time.Time
}

// Merge gives the events of a channel to yield in the order of their times, late
// ones by up to a fifth of a second put in their place. It ends with ctx, with
// the channel, or with an error of yield.
func Merge(ctx context.Context, events <-chan trace.Event, yield func(trace.Event) error) error {
	var waiting []arrived
	tick := time.NewTicker(settle / 4)
	defer tick.Stop()
	flush := func(before time.Time) error {
		n := 0
		for n < len(waiting) && waiting[n].Time.Before(before) {
			n++
		}
		// Somebody has set the clock back: what bears times of before goes with what it has
		// come with, or it would wait until the clock shows them once more.
		for i := n; i < len(waiting); i++ {
			if time.Since(waiting[i].at) > 2*settle {
				n = i + 1
			}
		}
		for _, e := range waiting[:n] {
			if err := yield(e.Event); err != nil {
				return err
			}
		}
		waiting = slices.Delete(waiting, 0, n)
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-events:
			if !ok {
				return flush(time.Unix(1<<40, 0))
			}
			at, _ := slices.BinarySearchFunc(waiting, e, func(a arrived, b trace.Event) int {
				if c := a.Time.Compare(b.Time); c != 0 {
					return c
				}
				return -1 // equal times stay in the order of arrival
			})
			waiting = slices.Insert(waiting, at, arrived{e, time.Now()})
		case now := <-tick.C:
			if err := flush(now.Add(-settle)); err != nil {
				return err
			}
		}
	}
}
