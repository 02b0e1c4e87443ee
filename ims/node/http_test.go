package node

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// handed is a listener whose connections somebody hands over.
type handed struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}
func (h *handed) Close() error   { h.once.Do(func() { close(h.closed) }); return nil }
func (h *handed) Addr() net.Addr { return &net.TCPAddr{} }

// Connections on which nothing comes, or no body, end; and there are not more of all than
// may be.
func TestAdminConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &handed{conns: make(chan net.Conn), closed: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- (&Admin{Ready: func() error { return nil }, Metrics: prometheus.NewRegistry(), Trace: &trace.Stream{}}).Serve(ctx, ln)
		}()
		for name, request := range map[string]string{
			"an answered request": "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "a body that never comes": "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
			"half a request": "GET /healthz", "nothing": "",
		} {
			here, there := net.Pipe()
			ln.conns <- there
			if request != "" {
				_, _ = here.Write([]byte(request))
			}
			began := time.Now()
			if _, err := io.Copy(io.Discard, here); err != nil || time.Since(began) > 3*time.Minute {
				t.Errorf("behind %s the connection ends after %v (%v)", name, time.Since(began), err)
			}
		}
		var all []net.Conn
		for range maxAdminConns {
			here, there := net.Pipe()
			ln.conns <- there
			all = append(all, here)
		}
		here, there := net.Pipe()
		select {
		case ln.conns <- there:
			t.Error("one more than may be is taken")
		case <-time.After(time.Second):
		}
		_ = all[0].Close()
		ln.conns <- there
		_ = here.Close()
		for _, c := range all {
			_ = c.Close()
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
