package ladder

import (
	"context"
	"errors"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/trace"
)

func TestFollowMergesStreamsByTime(t *testing.T) {
	var streams [2]trace.Stream
	var urls []string
	for i := range streams {
		a := &node.Admin{Ready: func() error { return nil }, Metrics: prometheus.NewRegistry(), Trace: &streams[i]}
		srv := httptest.NewServer(a.Mux())
		defer srv.Close()
		urls = append(urls, srv.URL)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var mu sync.Mutex
	var got []string
	done := make(chan error, 1)
	go func() {
		done <- Follow(ctx, urls, func(e trace.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if got = append(got, e.Text); len(got) == 3 {
				cancel()
			}
			return nil
		})
	}()
	for (!streams[0].On() || !streams[1].On()) && ctx.Err() == nil {
		runtime.Gosched() // until both have been opened
	}
	now := time.Now()
	streams[1].Emit(trace.Event{Node: "scscf", Text: "second", Time: now.Add(time.Millisecond)})
	streams[0].Emit(trace.Event{Node: "pcscf", Text: "first", Time: now})
	streams[0].Emit(trace.Event{Node: "pcscf", Text: "third", Time: now.Add(2 * time.Millisecond)})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if want := []string{"first", "second", "third"}; !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
}

func TestFollowSaysWhatToDoWhenNobodyListens(t *testing.T) {
	err := Follow(t.Context(), []string{"127.0.0.1:1"}, func(trace.Event) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "does the service run") {
		t.Errorf("error %v", err)
	}
}

func TestMergeEndsWithItsInputAndItsReader(t *testing.T) {
	c := make(chan trace.Event, 2)
	c <- trace.Event{Text: "late", Time: time.Now().Add(time.Hour)}
	close(c)
	n := 0
	if err := Merge(t.Context(), c, func(trace.Event) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d events, %v", n, err)
	}
	full := errors.New("full")
	c = make(chan trace.Event, 1)
	c <- trace.Event{}
	close(c)
	if err := Merge(t.Context(), c, func(trace.Event) error { return full }); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}

// Somebody sets the clock back: what came before that waits no longer than anything else.
func TestMergeWhenTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := make(chan trace.Event, 2)
		var got []string
		done := make(chan error)
		go func() {
			done <- Merge(t.Context(), c, func(e trace.Event) error { got = append(got, e.Text); return nil })
		}()
		c <- trace.Event{Text: "before", Time: time.Now().Add(time.Hour)}
		c <- trace.Event{Text: "after", Time: time.Now()}
		time.Sleep(3 * settle)
		synctest.Wait()
		if want := []string{"after", "before"}; !slices.Equal(got, want) {
			t.Errorf("after %v there is %q, want %q", 3*settle, got, want)
		}
		close(c)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
