package node

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/trace"
)

func TestTraceIsForReadersOnThisMachine(t *testing.T) {
	tests := []struct {
		remote string
		open   bool
		status int
	}{
		{"127.0.0.1:4000", false, http.StatusOK},
		{"[::1]:4000", false, http.StatusOK},
		{"[::ffff:127.0.0.1]:4000", false, http.StatusOK},
		{"192.0.2.7:4000", false, http.StatusForbidden},
		{"nonsense", false, http.StatusForbidden},
		{"192.0.2.7:4000", true, http.StatusOK},
	}
	for _, tt := range tests {
		a := &Admin{Trace: &trace.Stream{}, TraceRemote: tt.open}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/debug/trace", nil)
		r.RemoteAddr = tt.remote
		w := httptest.NewRecorder()
		a.Private(a.serveTrace)(w, r)
		cancel()
		if w.Code != tt.status {
			t.Errorf("%s, open %v: %d, want %d", tt.remote, tt.open, w.Code, tt.status)
		}
		if tt.status != http.StatusOK && !strings.Contains(w.Body.String(), "trace_remote") {
			t.Errorf("the refusal does not say what opens it: %s", w.Body)
		}
	}
}

// stalledReader takes the header and then nothing: writes wait for their deadline.
type stalledReader struct {
	httptest.ResponseRecorder
	deadline time.Time
}

func (w *stalledReader) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

func (w *stalledReader) Write([]byte) (int, error) {
	if w.deadline.IsZero() {
		select {} // as a socket does
	}
	time.Sleep(time.Until(w.deadline))
	return 0, os.ErrDeadlineExceeded
}

func traceRequest(ctx context.Context) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/debug/trace", nil)
	r.RemoteAddr = "127.0.0.1:4000"
	return r
}

func TestTraceReaderThatHasStoppedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Admin{Trace: &trace.Stream{}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.Private(a.serveTrace)(&stalledReader{ResponseRecorder: *httptest.NewRecorder()}, traceRequest(t.Context()))
		}()
		synctest.Wait()
		a.Trace.Emit(trace.Event{Kind: trace.Decision, Text: "hello"})
		<-done
		if a.Trace.On() {
			t.Error("it is still subscribed")
		}
	})
}

// Every reader costs the writing of every event.
func TestTraceReadersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Admin{Trace: &trace.Stream{}}
		ctx, cancel := context.WithCancel(t.Context())
		for range maxTraceReaders {
			go a.Private(a.serveTrace)(httptest.NewRecorder(), traceRequest(ctx))
		}
		synctest.Wait()
		status := func() int {
			one, end := context.WithTimeout(t.Context(), time.Second)
			defer end()
			w := httptest.NewRecorder()
			a.Private(a.serveTrace)(w, traceRequest(one))
			return w.Code
		}
		if got := status(); got != http.StatusServiceUnavailable {
			t.Errorf("one too many: %d, want 503", got)
		}
		cancel()
		synctest.Wait()
		if got := status(); got != http.StatusOK {
			t.Errorf("when the others have left: %d, want 200", got)
		}
	})
}
