package node

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
		a.serveTrace(w, r)
		cancel()
		if w.Code != tt.status {
			t.Errorf("%s, open %v: %d, want %d", tt.remote, tt.open, w.Code, tt.status)
		}
		if tt.status != http.StatusOK && !strings.Contains(w.Body.String(), "trace_remote") {
			t.Errorf("the refusal does not say what opens it: %s", w.Body)
		}
	}
}
